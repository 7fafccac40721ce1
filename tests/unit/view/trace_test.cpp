// Traces over values: one node with a pod, two peers, and a kernel that is a table of routes.
#include "view/trace.h"

#include <catch2/catch.hpp>

#include <map>

#include "core/compose.h"

using namespace knet;

namespace {

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
    tunnel.vxlan = VxlanAttrs{1, 8472, ip("192.168.77.1"), DevName("eth0"), false};
    add_sysctl("net/ipv4/ip_forward", "1");
    observed.complete = all_kinds();
    sort_by_key(observed.net);
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
    const TraceWorld world{view, desired, observed, rows, agent, pod, [this](const IpAddr& dst) -> std::optional<KernelRoute> {
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
