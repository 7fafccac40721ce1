// Traces over values: one node with a pod, two peers, and a kernel that is a table of routes.
#include "view/trace.h"

#include <catch2/catch.hpp>

#include <map>

#include "core/compose.h"

using namespace knet;

namespace {

// A mode that adds so many bytes to a packet; all else is of no interest here.
class Adds : public Mode {
 public:
  Adds(std::string_view name, uint32_t v4, uint32_t v6) : name_(name), v4_(v4), v6_(v6) {}
  std::string_view name() const override { return name_; }
  std::string_view summary() const override { return "for tests"; }
  std::string_view description() const override { return "for tests"; }
  std::span<const OptionSpec> options() const override { return {}; }
  bool carries(Family) const override { return true; }
  std::optional<std::string> unsupported(const KernelFeatures&, const NetworkConfig&) const override { return std::nullopt; }
  uint32_t overhead(const NetworkConfig&, Family family) const override { return family == Family::v6 ? v6_ : v4_; }
  ModeMtu mtu(const NetworkConfig&, const LocalNode&) const override { return {}; }
  LeaseData announce(const NetworkConfig&, const LocalNode&) const override { return {}; }
  void desired(const ClusterView&, const NetworkConfig&, PeerSpan, Receive, ModeState&) const override {}

 private:
  std::string_view name_;
  uint32_t v4_, v6_;
};

const ModeRegistry& modes() {
  static const Adds host_gw("host-gw", 0, 0), ipip("ipip", 20, 40), udp("udp", 28, 48), vxlan("vxlan", 50, 70), wireguard("wireguard", 60, 80);
  static const Mode* const kAll[]{&host_gw, &ipip, &udp, &vxlan, &wireguard};
  static const ModeRegistry registry(kAll);
  return registry;
}

IpAddr ip(const char* text) { return *IpAddr::parse(text); }
Prefix net(const char* text) { return *Prefix::parse(text); }

struct World {
  ClusterView view;
  DesiredState desired;
  Observed observed;
  std::vector<RouteRow> rows;
  std::map<std::string, KernelRoute> answers;
  std::optional<PodSide> pod = PodSide{true, true, true, 1450, ip("169.254.1.1")};
  bool agent = false;

  World() {
    view.config.network = net("10.244.0.0/16");
    view.self.name = "n1";
    view.self.public_ip = ip("192.168.77.1");
    view.self.uplink.dev = DevName("eth0");
    view.self.lease.subnet = net("10.244.1.0/24");
    for (int i = 2; i <= 3; ++i) {
      Lease lease;
      lease.subnet = net(("10.244." + std::to_string(i) + ".0/24").c_str());
      lease.public_ip = ip(("192.168.77." + std::to_string(i)).c_str());
      lease.mode = "vxlan";
      view.leases.push_back(lease);
      view.names.push_back("n" + std::to_string(i));
      answers[lease.public_ip.str()] = {DevName("eth0"), {}, RouteType::unicast, net("192.168.77.0/24")};
      const IpAddr gateway = lease.subnet.addr();
      Neighbor neighbor;
      neighbor.dev = DevName("knet.1");
      neighbor.ip = gateway;
      neighbor.mac = Mac{{2, 0, 0, 0, 0, static_cast<uint8_t>(i)}};
      observed.net.neighbors.push_back(neighbor);
      FdbEntry entry;
      entry.dev = neighbor.dev;
      entry.mac = neighbor.mac;
      entry.dst = lease.public_ip;
      observed.net.fdb.push_back(entry);
      const IpAddr pod_ip = lease.subnet.addr().plus(3);
      answers[pod_ip.str()] = {DevName("knet.1"), gateway, RouteType::unicast, lease.subnet};
      RouteRow row;
      row.dst = lease.subnet;
      row.via = gateway;
      row.dev = "knet.1";
      rows.push_back(row);
    }
    for (int i = 2; i <= 3; ++i) {
      Endpoint endpoint;
      endpoint.ifname = "eth0";
      endpoint.host_dev = DevName("knet0000000000" + std::to_string(i));
      endpoint.addresses = {ip(("10.244.1." + std::to_string(i)).c_str())};
      view.endpoints.push_back(endpoint);
      add_link(endpoint.host_dev.c_str(), 1450);
      answers[endpoint.addresses[0].str()] = {endpoint.host_dev, {}, RouteType::unicast, Prefix::host(endpoint.addresses[0])};
    }
    add_link("eth0", 1500);
    Link& tunnel = add_link("knet.1", 1450);
    tunnel.type = LinkType::vxlan;
    tunnel.vxlan = VxlanAttrs{1, 8472, ip("192.168.77.1"), DevName("eth0"), false};
    want(tunnel, "vxlan");
    add_sysctl("net/ipv4/ip_forward", "1");
    observed.complete = all_kinds();
    sort_by_key(observed.net);
  }

  void want(Link link, const char* mode) {
    link.origin.producer = static_cast<uint16_t>(desired.producers.size());
    desired.producers.push_back(mode);
    desired.net.links.push_back(link);
    sort_by_key(desired.net);
  }
  /// n3 is reached by this mode over this device, instead of by vxlan.
  Link& by(const char* mode, const char* device, LinkType type, uint32_t mtu, const char* via = nullptr) {
    view.leases[1].mode = mode;
    Link link;
    link.name = DevName(device);
    link.type = type;
    link.mtu = mtu;
    if (type == LinkType::ipip) link.ipip = IpipAttrs{ip("192.168.77.1"), DevName("eth0")};
    want(link, mode);
    observed.net.links.push_back(link);
    sort_by_key(observed.net);
    rows[1].dev = device;
    rows[1].via = via ? ip(via) : IpAddr{};
    answers["10.244.3.3"] = {link.name, rows[1].via, RouteType::unicast, net("10.244.3.0/24")};
    return this->link(device);
  }
  /// By a TUN, with BPF's filters and map or without.
  void by_tun(bool bpf, TunnelWire wire = TunnelWire::udp) {
    const uint16_t port = wire == TunnelWire::udp ? 8285 : 0;
    const char* device = wire == TunnelWire::udp ? "knet.udp" : "knet.ipip";
    by(wire == TunnelWire::udp ? "udp" : "ipip", device, LinkType::tun, 1472);
    TunnelPeer peer;
    peer.dev = DevName(device);
    peer.inner = net("10.244.3.0/24");
    peer.outer = ip("192.168.77.3");
    peer.port = port;
    TunnelPump pump;
    pump.dev = peer.dev;
    pump.wire = wire;
    pump.port = port;
    pump.fast_path = bpf;
    pump.peers = {peer};
    desired.pumps = {pump};
    if (!bpf) return;
    for (const TunnelEnd end : {TunnelEnd::encap, TunnelEnd::decap}) {
      Filter filter;
      filter.dev = end == TunnelEnd::encap ? peer.dev : DevName("eth0");
      filter.end = end;
      filter.tunnel = peer.dev;
      filter.wire = wire;
      filter.port = port;
      filter.digest = digest(filter);
      desired.net.filters.push_back(filter);
    }
    desired.net.tunnel_peers = {peer};
    sort_by_key(desired.net);
    observed.net.filters = desired.net.filters;
    observed.net.tunnel_peers = desired.net.tunnel_peers;
  }
  Link& add_link(const char* name, uint32_t mtu) {
    Link link;
    link.name = DevName(name);
    link.mtu = mtu;
    observed.net.links.push_back(link);
    return observed.net.links.back();
  }
  void add_sysctl(const char* path, const char* value) {
    Sysctl sysctl;
    sysctl.path = path;
    sysctl.value = value;
    observed.net.sysctls = {sysctl};
  }
  Link& link(const char* name) {
    for (Link& link : observed.net.links)
      if (link.name.view() == name) return link;
    throw std::out_of_range(name);
  }

  Trace go(const TraceEnd& to) const {
    const TraceEnd from{ip("10.244.1.2"), "n1-p1", "n1", true, "eth0", "knet00000000002"};
    const TraceWorld world{view, desired, observed, rows, modes(), agent, pod, [this](const IpAddr& dst) -> std::optional<KernelRoute> {
                             const auto found = answers.find(dst.str());
                             return found == answers.end() ? std::nullopt : std::optional(found->second);
                           }};
    return trace(world, from, to);
  }
  Trace to_remote() const { return go({ip("10.244.3.3"), "n3-p2", "n3", true, "eth0", "knet09ab31c7e4f"}); }
};

std::string last(const Trace& trace) { return trace.hops.back().text; }

}  // namespace

TEST_CASE("a vxlan way: every hop with device, encapsulation and MTU") {
  const Trace t = World().to_remote();
  CHECK(headline(t) == "ok  10.244.1.2 -> 10.244.3.3  vxlan  path MTU 1450");
  REQUIRE(t.hops.size() == 6);
  CHECK(t.hops[0].where == "n1-p1");
  CHECK(t.hops[0].text == "default via 169.254.1.1");
  CHECK(t.hops[1].device == "knet00000000002");
  CHECK(t.hops[1].text == "10.244.3.0/24 via 10.244.3.0");
  CHECK(t.hops[2].text == "vxlan 1 to 192.168.77.3, udp 8472");
  CHECK(t.hops[3].text == "192.168.77.3 on link");
  CHECK(t.hops[3].mtu == 1500);
  CHECK(t.hops[3].how == TraceHop::How::seen);
  CHECK(t.hops[4].where == "n3");
  CHECK(t.hops[4].text == "decapsulated");
  CHECK(t.hops[4].how == TraceHop::How::assumed);
  CHECK(last(t) == "10.244.3.3 -> n3-p2 eth0");
}

TEST_CASE("a small underlay narrows the path by the encapsulation") {
  World world;
  world.link("eth0").mtu = 1400;
  CHECK(world.to_remote().path_mtu == 1350);
}

TEST_CASE("pods of one node need no tunnel") {
  const Trace t = World().go({ip("10.244.1.3"), "n1-p2", "n1", true, "eth0", "knet00000000003"});
  CHECK_FALSE(t.broken);
  CHECK(t.mode == "local");
  CHECK(last(t) == "10.244.1.3 -> n1-p2 eth0");
}

TEST_CASE("where it breaks is named with what is missing") {
  World world;
  std::string broken_at, text;
  SECTION("fdb") {
    world.observed.net.fdb.pop_back();
    broken_at = "BROKEN at n1 knet.1  10.244.1.2 -> 10.244.3.3  vxlan";
    text = "no fdb entry for 02:00:00:00:00:03 (n3)";
  }
  SECTION("neighbour") {
    world.observed.net.neighbors.pop_back();
    broken_at = "BROKEN at n1 knet.1  10.244.1.2 -> 10.244.3.3  vxlan";
    text = "no neighbour entry for 10.244.3.0 (n3)";
  }
  SECTION("fdb that leads to the old address") {
    world.observed.net.fdb.back().dst = ip("192.168.77.99");
    broken_at = "BROKEN at n1 knet.1  10.244.1.2 -> 10.244.3.3  vxlan";
    text = "the fdb sends to 192.168.77.99, but n3 is at 192.168.77.3";
  }
  SECTION("route") {
    world.answers.erase("10.244.3.3");
    broken_at = "BROKEN at n1 knet00000000002  10.244.1.2 -> 10.244.3.3  vxlan";
    text = "no route to 10.244.3.0/24";
  }
  SECTION("forwarding") {
    world.add_sysctl("net/ipv4/ip_forward", "0");
    broken_at = "BROKEN at n1 knet00000000002  10.244.1.2 -> 10.244.3.3  vxlan";
    text = "net/ipv4/ip_forward is 0: this node forwards nothing";
  }
  SECTION("device down") {
    world.link("knet.1").up = false;
    broken_at = "BROKEN at n1 knet.1  10.244.1.2 -> 10.244.3.3  vxlan";
    text = "the device is down";
  }
  SECTION("underlay without a route") {
    world.answers.erase("192.168.77.3");
    broken_at = "BROKEN at n1 eth0  10.244.1.2 -> 10.244.3.3  vxlan";
    text = "no route to 192.168.77.3 (n3)";
  }
  SECTION("the pod's own side") {
    world.pod->gateway = {};
    broken_at = "BROKEN at n1-p1 eth0  10.244.1.2 -> 10.244.3.3  vxlan";
    text = "no route to 10.244.3.3";
  }
  const Trace t = world.to_remote();
  CHECK(headline(t) == broken_at);
  CHECK(last(t) == text);
  CHECK_FALSE(t.fix.empty());
}

TEST_CASE("the route that another one outranks is said so") {
  World world;
  world.answers["10.244.3.3"] = {DevName("eth0"), ip("192.168.77.254"), RouteType::unicast, net("0.0.0.0/0")};
  const Trace t = world.to_remote();
  CHECK(t.broken);
  CHECK(last(t) == "10.244.3.3 goes to eth0 by default via 192.168.77.254, not over knet.1");
}

TEST_CASE("the fix depends on whether the agent runs") {
  World world;
  world.observed.net.fdb.clear();
  CHECK(world.to_remote().fix == "knet agent is not running on n1 (systemctl start knet), or: knet agent --once");
  world.agent = true;
  CHECK(world.to_remote().fix.find("knet status") != std::string::npos);
}

TEST_CASE("what was not read is not called missing") {
  World world;
  world.observed.net.fdb.clear();
  world.observed.complete.reset(static_cast<size_t>(Kind::fdb));
  const Trace t = world.to_remote();
  CHECK_FALSE(t.broken);
  CHECK(t.hops[2].text == "vxlan 1 to 192.168.77.3, udp 8472");
}

TEST_CASE("an address that nobody holds") {
  World world;
  world.answers["10.244.9.9"] = {DevName("eth0"), ip("192.168.77.254"), RouteType::unicast, net("0.0.0.0/0")};
  const Trace t = world.go({ip("10.244.9.9"), "10.244.9.9", "", false, "", ""});
  CHECK(t.broken);
  CHECK(last(t) == "no node holds a subnet with 10.244.9.9");
}

TEST_CASE("out of the cluster, masqueraded") {
  World world;
  world.answers["8.8.8.8"] = {DevName("eth0"), ip("192.168.77.254"), RouteType::unicast, net("0.0.0.0/0")};
  const Trace t = world.go({ip("8.8.8.8"), "8.8.8.8", "", false, "", ""});
  CHECK_FALSE(t.broken);
  CHECK(t.mode == "outside");
  CHECK(last(t) == "192.168.77.254 on link, masqueraded");
}

TEST_CASE("a node's own address is outside the pods' network, so masqueraded too") {
  World world;
  world.answers["192.168.77.3"] = {DevName("eth0"), {}, RouteType::unicast, net("192.168.77.0/24")};
  const Trace t = world.go({ip("192.168.77.3"), "n3", "n3", false, "", ""});
  CHECK_FALSE(t.broken);
  CHECK(t.hops[2].text == "192.168.77.3 on link, masqueraded");
}

TEST_CASE("the subnet's blackhole where the route to a peer is gone") {
  World world;
  world.rows[1].why = "knet.1 is down";
  world.answers["10.244.3.3"] = {DevName(), {}, RouteType::blackhole, net("10.244.0.0/16")};
  const Trace t = world.to_remote();
  CHECK(t.broken);
  CHECK(last(t) == "10.244.3.3 is a blackhole here, not over knet.1: knet.1 is down");
}

TEST_CASE("a udp way by BPF: the entry of the map, and the overhead") {
  World world;
  world.by_tun(true);
  world.pod->mtu = 1472;
  world.link("knet00000000002").mtu = 1472;
  const Trace t = world.to_remote();
  CHECK(headline(t) == "ok  10.244.1.2 -> 10.244.3.3  udp  path MTU 1472");
  REQUIRE(t.hops.size() == 6);
  CHECK(t.hops[1].text == "10.244.3.0/24 dev knet.udp");
  CHECK(t.hops[2].device == "knet.udp");
  CHECK(t.hops[2].text == "bpf to 192.168.77.3, udp 8285");
  CHECK(t.hops[3].text == "192.168.77.3 on link");
  CHECK(t.hops[4].device == "eth0 -> knet.udp");
  world.link("eth0").mtu = 1400;
  CHECK(world.to_remote().path_mtu == 1372);
}

TEST_CASE("the other ways of a tunnel") {
  World world;
  std::string hop;
  uint32_t mtu = 0;
  SECTION("udp in user space") {
    world.by_tun(false);
    hop = "user space to 192.168.77.3, udp 8285";
    mtu = 1372;
  }
  SECTION("ipip by BPF") {
    world.by_tun(true, TunnelWire::ipip);
    hop = "bpf to 192.168.77.3, IP protocol 4";
    mtu = 1380;
  }
  SECTION("ipip in user space") {
    world.by_tun(false, TunnelWire::ipip);
    hop = "user space to 192.168.77.3, IP protocol 4";
    mtu = 1380;
  }
  SECTION("the kernel's ipip: the gateway is the outer address") {
    world.by("ipip", "knet.ipip", LinkType::ipip, 1480, "192.168.77.3");
    hop = "ipip to 192.168.77.3, IP protocol 4";
    mtu = 1380;
  }
  SECTION("wireguard") {
    world.by("wireguard", "knet.wg", LinkType::wireguard, 1420);
    WireguardPeer peer;
    peer.dev = DevName("knet.wg");
    peer.allowed = {net("10.244.3.0/24")};
    peer.endpoint = ip("192.168.77.3");
    peer.port = 51820;
    world.observed.net.wireguard_peers = {peer};
    hop = "wireguard to 192.168.77.3, udp 51820";
    mtu = 1340;
  }
  world.link("eth0").mtu = 1400;
  const Trace t = world.to_remote();
  CHECK_FALSE(t.broken);
  CHECK(t.hops[2].text == hop);
  CHECK(t.path_mtu == mtu);
}

TEST_CASE("what a tunnel lacks is named at the device that lacks it") {
  World world;
  std::string headline_, text;
  const std::string end = "  10.244.1.2 -> 10.244.3.3  ";
  SECTION("udp") {
    world.by_tun(true);
    headline_ = "BROKEN at n1 knet.udp" + end + "udp";
    SECTION("the filter that sends") {
      world.observed.net.filters = {world.desired.net.filters[0]};  // sorted: eth0's
      text = "the BPF filter that sends is not there";
    }
    SECTION("the filter that receives") {
      world.observed.net.filters[0].digest = 0;
      headline_ = "BROKEN at n1 eth0" + end + "udp";
      text = "the BPF filter that takes answers into knet.udp is not the one that is wanted";
    }
    SECTION("the map's entry") {
      world.observed.net.tunnel_peers.clear();
      text = "no entry for 10.244.3.3 in the BPF map (n3)";
    }
    SECTION("the map's entry leads elsewhere") {
      world.observed.net.tunnel_peers[0].outer = ip("192.168.77.99");
      text = "the BPF map sends to 192.168.77.99, but n3 is at 192.168.77.3";
    }
    SECTION("the underlay leads back into the tunnel") {
      world.answers["192.168.77.3"] = {DevName("knet.udp"), {}, RouteType::unicast, net("192.168.77.3/32")};
      text = "192.168.77.3 itself is routed into the tunnel";
    }
  }
  SECTION("udp in user space, and nobody reads") {
    world.by_tun(false);
    world.link("knet.udp").running = false;
    headline_ = "BROKEN at n1 knet.udp" + end + "udp";
    text = "nobody carries its packets: they need a running agent";
  }
  SECTION("wireguard") {
    world.by("wireguard", "knet.wg", LinkType::wireguard, 1420);
    headline_ = "BROKEN at n1 knet.wg" + end + "wireguard";
    SECTION("peer") { text = "no wireguard peer may be sent 10.244.3.3 (n3)"; }
    SECTION("its address") {
      WireguardPeer peer;
      peer.dev = DevName("knet.wg");
      peer.allowed = {net("10.244.3.0/24")};
      world.observed.net.wireguard_peers = {peer};
      text = "the wireguard peer n3 has no address yet: it must speak first";
    }
  }
  SECTION("ipip by an old address") {
    world.by("ipip", "knet.ipip", LinkType::ipip, 1480, "192.168.77.99");
    headline_ = "BROKEN at n1 knet.ipip" + end + "ipip";
    text = "the route sends to 192.168.77.99, but n3 is at 192.168.77.3";
  }
  const Trace t = world.to_remote();
  CHECK(headline(t) == headline_);
  CHECK(last(t) == text);
  CHECK_FALSE(t.fix.empty());
}

TEST_CASE("a tunnel whose parts were not read is not called broken") {
  World world;
  world.by_tun(true);
  world.observed.net.filters.clear();
  world.observed.net.tunnel_peers.clear();
  world.observed.complete.reset(static_cast<size_t>(Kind::filter)).reset(static_cast<size_t>(Kind::tunnel_peer));
  const Trace t = world.to_remote();
  CHECK_FALSE(t.broken);
  CHECK(t.hops[2].text == "bpf to 192.168.77.3, udp 8285");
}

TEST_CASE("what the whole network leads into is nobody's") {
  World world;
  world.by_tun(true);
  RouteRow rest;
  rest.dst = net("10.244.0.0/16");
  rest.dev = "knet.udp";
  rest.node = "-";
  world.rows.push_back(rest);
  world.answers["10.244.9.9"] = {DevName("knet.udp"), {}, RouteType::unicast, net("10.244.0.0/16")};
  const Trace t = world.go({ip("10.244.9.9"), "10.244.9.9", "", false, "", ""});
  CHECK(t.broken);
  CHECK(last(t) == "no node holds a subnet with 10.244.9.9");
}

TEST_CASE("somebody else's tunnel is a device like any other") {
  World world;
  world.view.leases[1].mode = "host-gw";
  Link& vpn = world.add_link("wg0", 1420);
  vpn.type = LinkType::wireguard;
  sort_by_key(world.observed.net);
  world.rows[1].dev = "wg0";
  world.answers["10.244.3.3"] = {DevName("wg0"), ip("192.168.77.3"), RouteType::unicast, net("10.244.3.0/24")};
  const Trace t = world.to_remote();
  CHECK_FALSE(t.broken);
  CHECK(t.path_mtu == 1420);
}

TEST_CASE("host-gw goes on link to the peer's address") {
  World world;
  world.view.leases[1].mode = "host-gw";
  world.rows[1].dev = "eth0";
  world.rows[1].via = ip("192.168.77.3");
  world.answers["10.244.3.3"] = {DevName("eth0"), ip("192.168.77.3"), RouteType::unicast, net("10.244.3.0/24")};
  const Trace t = world.to_remote();
  CHECK(headline(t) == "ok  10.244.1.2 -> 10.244.3.3  host-gw  path MTU 1450");
  CHECK(t.hops[2].text == "192.168.77.3 on link");
  CHECK(t.hops[3].text == "forwarded");
}

TEST_CASE("of several next hops the kernel's choice is followed") {
  World world;
  world.view.leases[1].mode = "host-gw";
  world.rows[1].dev = "eth1";
  world.rows[1].via = ip("10.9.0.7");
  world.rows[1].others = {{DevName("eth0"), ip("192.168.77.9"), false}, {DevName("eth1"), ip("10.9.0.8"), false}};
  world.answers["10.244.3.3"] = {DevName("eth0"), ip("192.168.77.9"), RouteType::unicast, net("10.244.3.0/24")};
  Trace t = world.to_remote();
  CHECK_FALSE(t.broken);
  CHECK(t.hops[1].text == "10.244.3.0/24 via 192.168.77.9, one of 3 next hops");
  world.answers["10.244.3.3"].dev = DevName("eth9");
  CHECK(world.to_remote().broken);
}
