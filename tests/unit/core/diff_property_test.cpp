// Random desired states against random hosts: one plan is enough, nothing foreign changes, nothing that was not read
// whole is deleted. Failures print the seed.
#include <catch2/catch.hpp>

#include <algorithm>
#include <random>

#include "core/plan.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

namespace {

constexpr int kSeeds = 4000;
const char* const kPods[] = {"knet00000000001", "knet00000000002", "knet00000000003"};

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  int below(int n) { return static_cast<int>(engine_() % static_cast<uint32_t>(n)); }
  bool chance(int percent) { return below(100) < percent; }

 private:
  std::mt19937 engine_;
};

Ownership own() {
  Ownership own;
  own.networks = {prefix("10.244.0.0/16"), prefix("fd10::/48")};
  return own;
}

std::string subnet(int n) { return "10.244." + std::to_string(n) + ".0"; }
std::string subnet6(int n) { return "fd10:0:0:" + std::to_string(n) + "::"; }
std::string lladdr(int n) { return "02:00:00:00:00:0" + std::to_string(n); }

void add_tunnel(Random& random, int vni, NetState& net) {
  const bool v6 = random.chance(30);
  const bool first = random.chance(70);
  const std::string name = (v6 ? "knet6." : "knet.") + std::to_string(vni);
  Link link = vxlan(name, static_cast<uint32_t>(vni),
                    v6 ? (first ? "fd00:77::1" : "fd00:9::5") : (first ? "192.168.77.1" : "10.9.0.5"),
                    first ? "eth0" : "eth1", random.chance(70) ? 8472 : 4789);
  link.mtu = random.chance(50) ? 1450 : 1400;
  if (random.chance(60)) link.mac = mac("02:00:00:00:01:0" + std::to_string(random.below(3)));
  net.links.push_back(link);
  net.addresses.push_back(address(name, v6 ? subnet6(vni) + "/128" : subnet(vni) + "/32"));
  net.sysctls.push_back(sysctl("net/ipv4/conf/" + name + "/rp_filter", random.chance(50) ? "2" : "0", name));
  Sysctl ra = sysctl("net/ipv6/conf/" + name + "/accept_ra", "0", name);
  ra.optional = true;
  net.sysctls.push_back(ra);
  for (int peer = 1; peer < 10; ++peer) {
    if (!random.chance(35)) continue;
    const std::string via = v6 ? "fe80::" + std::to_string(peer) : subnet(10 * vni + peer);
    net.neighbors.push_back(neighbor(name, via, lladdr(peer)));
    net.fdb.push_back(fdb(name, lladdr(peer), v6 ? "fd00:77::9" : "192.168.77." + std::to_string(random.below(3) + 2)));
    Route to_peer = route(v6 ? subnet6(10 * (random.below(3) + 1) + peer) + "/64" : via + "/24", name, via);
    to_peer.onlink = to_peer.by_nexthop = !v6;
    if (!v6) net.nexthops.push_back(nexthop(name, via, true));
    net.routes.push_back(to_peer);
  }
}

// A TUN with a route to each peer, and BPF's filters and map or userspace.
void add_tun(Random& random, const std::string& name, uint16_t port, NetState& net) {
  const bool first = random.chance(70);
  const std::string local = first ? "192.168.77.1" : "10.9.0.5";
  net.links.push_back(tun(name, random.chance(50) ? 1472 : 1400));
  net.addresses.push_back(address(name, subnet(1) + "/32"));
  const bool bpf = random.chance(70);
  if (bpf) {
    net.filters.push_back(filter(name, TunnelEnd::encap, name, local, port));
    net.filters.push_back(filter(first ? "eth0" : "eth1", TunnelEnd::decap, name, local, port));
    if (random.chance(20)) net.filters.push_back(filter(first ? "eth1" : "eth0", TunnelEnd::decap, name, local, port));
  }
  for (int peer = 1; peer < 10; ++peer) {
    if (!random.chance(35)) continue;
    const std::string dst = subnet(100 + peer) + "/24";
    if (bpf) net.tunnel_peers.push_back(tunnel_peer(name, dst, "192.168.77." + std::to_string(random.below(3) + 2), port));
    if (random.chance(70)) net.routes.push_back(route(dst, name));
  }
}

void add_ipip(Random& random, NetState& net) {
  const bool first = random.chance(70);
  net.links.push_back(ipip("knet.ipip", first ? "192.168.77.1" : "10.9.0.5", first ? "eth0" : "eth1"));
  net.addresses.push_back(address("knet.ipip", subnet(1) + "/32"));
  for (int peer = 1; peer < 10; ++peer) {
    if (!random.chance(35)) continue;
    const std::string via = "192.168.77." + std::to_string(random.below(3) + 2);
    Route to_peer = route(subnet(110 + peer) + "/24", "knet.ipip", via);
    to_peer.onlink = to_peer.by_nexthop = true;
    net.nexthops.push_back(nexthop("knet.ipip", via, true));
    net.routes.push_back(to_peer);
  }
}

void add_wireguard(Random& random, NetState& net) {
  net.links.push_back(wireguard("knet.wg", random.chance(70) ? 51820 : 51999, static_cast<uint8_t>(random.below(2) + 1)));
  net.addresses.push_back(address("knet.wg", subnet(1) + "/32"));
  for (int peer = 1; peer < 10; ++peer) {
    if (!random.chance(35)) continue;
    // A node that came anew has another key for the same subnet.
    const auto key = static_cast<uint8_t>(10 + peer + (random.chance(30) ? 20 : 0));
    const std::string dst = subnet(120 + peer) + "/24";
    net.wireguard_peers.push_back(wireguard_peer("knet.wg", key, dst, "192.168.77." + std::to_string(random.below(3) + 2)));
    net.wireguard_peers.back().keepalive = random.chance(50) ? 25 : 0;
    net.routes.push_back(route(dst, "knet.wg"));
  }
}

// One to four next hops, over both NICs and a tunnel of the state.
void add_multipath(Random& random, NetState& net) {
  for (int n = 1; n < 8; ++n) {
    if (!random.chance(35)) continue;
    const bool v6 = random.chance(40);
    // Link-local: a device that was down has lost its IPv6 addresses.
    const std::string gateway = v6 ? "fe80::" : "192.168.77.";
    Route made = route(v6 ? subnet6(130 + n) + "/64" : subnet(130 + n) + "/24", "eth0", gateway + std::to_string(20 + random.below(3)));
    for (int more = random.below(4); more > 0; --more) {
      const int way = random.below(3);
      const std::string tunnel = v6 ? "knet6.1" : "knet.1";
      RouteHop hop{dev("eth0"), ip(gateway + std::to_string(30 + random.below(9))), false};
      if (way == 1 && !v6) hop = {dev("eth1"), ip("10.9.0." + std::to_string(30 + random.below(9))), false};
      if (way == 2 && net.links.size() > 0 && net.links[0].name == dev(tunnel))
        hop = {dev(tunnel), ip(v6 ? "fe80::99" : "10.244.199.0"), true};
      if (std::find(made.others.begin(), made.others.end(), hop) == made.others.end()) made.others.push_back(hop);
    }
    order_hops(made);
    net.routes.push_back(made);
  }
}

DesiredState random_desired(Random& random) {
  DesiredState want;
  NetState& net = want.net;
  for (int vni = 1; vni <= 3; ++vni)
    if (random.chance(50)) add_tunnel(random, vni, net);
  if (random.chance(60)) add_multipath(random, net);
  if (random.chance(40)) add_tun(random, "knet.udp", random.chance(80) ? 8285 : 9000, net);
  if (random.chance(40)) random.chance(50) ? add_ipip(random, net) : add_tun(random, "knet.ipip", 0, net);
  if (random.chance(40)) add_wireguard(random, net);
  if (random.chance(50)) net.shortcuts.push_back(shortcut("eth0"));
  for (const char* pod : kPods)
    if (random.chance(50)) net.shortcuts.push_back(shortcut(pod));
  for (const char* pod : kPods)
    if (random.chance(50)) net.pod_mtus.push_back(pod_mtu(pod, 1400 + static_cast<uint32_t>(random.below(3)) * 36));
  for (int peer = 1; peer < 8; ++peer) {
    if (!random.chance(30)) continue;
    const std::string via = "192.168.77." + std::to_string(10 + random.below(4));
    Route plain = route(subnet((random.below(3) + 1) * 10 + peer) + "/24", "eth0", via);
    plain.by_nexthop = random.chance(80);
    if (plain.by_nexthop) net.nexthops.push_back(nexthop("eth0", via));
    if (random.chance(20)) plain.mtu = 1400;
    net.routes.push_back(plain);
  }
  if (random.chance(60)) net.routes.push_back(blackhole("10.244.1.0/24", random.chance(50) ? 65535 : 0));
  for (const char* pod : kPods)
    if (random.chance(50)) net.routes.push_back(route("10.244.1." + std::to_string(random.below(4) + 2) + "/32", pod));
  net.sysctls.push_back(sysctl("net/ipv4/ip_forward", "1"));
  if (random.chance(60)) {
    NftTable table;
    table.name = "knet";
    table.digest = static_cast<uint64_t>(random.below(2)) + 1;
    net.nft_tables.push_back(table);
  }
  if (random.chance(50)) {
    ForwardAccept rule;
    rule.chain = {Family::v4, "filter", "FORWARD"};
    rule.network = prefix("10.244.0.0/16");
    net.forward_accepts.push_back(rule);
  }
  sort_by_key(net);
  for_each_kind(net, [](auto& objects) {
    const auto same = [](const auto& a, const auto& b) { return a.key() == b.key(); };
    objects.erase(std::unique(objects.begin(), objects.end(), same), objects.end());
  });
  // A shared gateway may have lost its nexthop's twin only, never itself: unique() keeps one of each.
  return want;
}

void add_foreign(Random& random, FakeKernel& kernel) {
  for (int i = 0; i < 6; ++i) {
    if (!random.chance(40)) continue;
    Route theirs = route(subnet((random.below(3) + 1) * 10 + random.below(9) + 1) + "/24", "eth0", "192.168.77.200");
    theirs.protocol = random.chance(50) ? 12 : 4;
    kernel.add(theirs);
  }
  kernel.add(route("10.99.0.0/16", "eth1", "10.9.0.1"));  // protocol 107 by chance, elsewhere
  if (random.chance(50)) kernel.add(vxlan("vx", 3, "192.168.77.1", "eth0"));
  if (random.chance(20)) kernel.add(vxlan("knet.2", 77, "192.168.77.1", "eth0"));
  if (random.chance(15)) kernel.add(tun("knet.udp"));
  if (random.chance(15)) {
    kernel.add(wireguard("wg0", random.chance(50) ? 51820 : 51999));
    kernel.add(wireguard_peer("wg0", 99, "10.244.121.0/24", "10.9.0.9"));
  }
  Nexthop theirs = nexthop("eth0", "192.168.77.11");
  theirs.protocol = 12;
  if (random.chance(50)) kernel.add(theirs);
  NftTable docker;
  docker.name = "knet-hostports";
  docker.digest = 5;
  DesiredState other;
  other.net.nft_tables = {docker};
  const Observed seen = kernel.observe(only(Kind::nft_table));
  kernel.apply(diff(other, seen, Ownership{}, only(Kind::nft_table)));
}

template <typename T>
T pick(Random& random, const std::vector<T>& objects) {
  return objects[static_cast<size_t>(random.below(static_cast<int>(objects.size())))];
}

void vandalise(Random& random, FakeKernel& kernel) {
  const NetState& net = kernel.net();
  switch (random.below(18)) {
    case 0:
      if (!net.links.empty()) {
        const Link l = pick(random, net.links);
        if (l.ours) kernel.remove_link(l.name);
      }
      break;
    case 1:
      if (!net.links.empty()) kernel.set_up(pick(random, net.links).name, false);
      break;
    case 2:
      if (!net.links.empty()) kernel.set_up(pick(random, net.links).name, true);
      break;
    case 3:
      if (!net.links.empty())
        kernel.set_mac(pick(random, net.links).name, mac("02:00:00:00:02:0" + std::to_string(random.below(9))));
      break;
    case 4:
      if (!net.addresses.empty()) {
        const Address a = pick(random, net.addresses);
        kernel.remove(a);
        if (!Ownership{}.inside(a.prefix) && a.dev.view().starts_with("eth")) kernel.add(a);  // DHCP gives it back
      }
      break;
    case 5:
      if (!net.neighbors.empty()) kernel.remove(pick(random, net.neighbors));
      break;
    case 6:
      if (!net.fdb.empty()) kernel.remove(pick(random, net.fdb));
      break;
    case 7:
      if (!net.nexthops.empty()) kernel.remove(pick(random, net.nexthops));
      break;
    case 8:
      if (!net.routes.empty()) {
        const Route r = pick(random, net.routes);
        if (r.protocol == 107) kernel.remove(r);
      }
      break;
    case 11:
      if (!net.filters.empty()) {
        const Filter f = pick(random, net.filters);
        random.chance(50) ? static_cast<void>(kernel.remove(f)) : kernel.spoil_filter(f.key());
      }
      break;
    case 12:
      if (!net.tunnel_peers.empty()) kernel.remove(pick(random, net.tunnel_peers));
      break;
    case 13:
      if (!net.wireguard_peers.empty()) {
        const WireguardPeer peer = pick(random, net.wireguard_peers);
        if (peer.dev.view() != "wg0") kernel.remove(peer);
      }
      break;
    case 14:
      if (!net.links.empty()) {
        const Link l = pick(random, net.links);
        if (l.type == LinkType::tun && l.ours) kernel.set_running(l.name, false);
      }
      break;
    case 15:
      for (const Route& r : std::vector<Route>(net.routes))
        if (!r.others.empty() && random.chance(50)) kernel.remove_hop(r, pick(random, r.others));
      break;
    case 16:
      if (!net.shortcuts.empty()) {
        const Shortcut s = pick(random, net.shortcuts);
        random.chance(50) ? static_cast<void>(kernel.remove(s)) : kernel.spoil_shortcut(s.dev);
      }
      break;
    case 17:
      if (!net.links.empty() && random.chance(20)) kernel.hinder_shortcut(pick(random, net.links).name);
      break;
    case 9:
      kernel.spoil_table("knet");
      break;
    case 10:
      kernel.set_sysctl("net/ipv4/ip_forward", "0");
      break;
  }
}

// Everything that is not ours, as text with what text leaves out.
std::vector<std::string> foreign_objects(const NetState& net, const Ownership& own) {
  std::vector<std::string> lines;
  for (Link l : net.links) {
    if (Ownership::is_pod_link(l.name.view())) l.mtu = 0;  // lowered where a mode needs it
    if (!own.owns(l)) lines.push_back(describe(l) + (l.up ? " up" : " down") + std::to_string(l.index) + l.mac.str());
  }
  for (const Address& a : net.addresses)
    if (!own.owns(a, net)) lines.push_back(describe(a));
  for (const Neighbor& n : net.neighbors)
    if (!own.owns(n, net)) lines.push_back(describe(n));
  for (const FdbEntry& e : net.fdb)
    if (!own.owns(e, net)) lines.push_back(describe(e));
  for (const WireguardPeer& p : net.wireguard_peers)
    if (!own.owns(p, net)) lines.push_back(describe(p));
  for (const Filter& f : net.filters)
    if (const Link* tunnel = net.find_link(f.tunnel); tunnel != nullptr && !own.owns(*tunnel)) lines.push_back(describe(f));
  for (const Nexthop& n : net.nexthops)
    if (!own.owns(n)) lines.push_back(describe(n) + std::to_string(n.id));
  for (const Route& r : net.routes)
    if (!own.owns(r)) lines.push_back(describe(r) + (r.by_nexthop ? " nh" : ""));
  for (const NftTable& t : net.nft_tables)
    if (!own.owns(t)) lines.push_back(describe(t) + std::to_string(t.digest));
  return lines;
}

FakeKernel random_host(Random& random) {
  FakeKernel kernel;
  kernel.add_nic("eth0", "192.168.77.1/24");
  kernel.add_nic("eth0", "fd00:77::1/64");
  kernel.add_nic("eth1", "10.9.0.5/24");
  for (const char* pod : kPods)
    if (random.chance(80)) kernel.add_pod_link(dev(pod), random.chance(50) ? 1500 : 1400);
  kernel.set_sysctl("net/ipv4/ip_forward", "0");
  kernel.add_forward_drop({Family::v4, "filter", "FORWARD"});
  add_foreign(random, kernel);
  for (int rounds = random.below(3); rounds > 0; --rounds) {
    const DesiredState before = random_desired(random);
    const Observed seen = kernel.observe(all_kinds());
    kernel.apply(diff(before, seen, own()));
    for (int i = random.below(6); i > 0; --i) vandalise(random, kernel);
  }
  kernel.forget_log();
  return kernel;
}

}  // namespace

TEST_CASE("diff(d, after(apply(diff(d, o)))) is empty, for random d and o, and nothing foreign changes") {
  for (uint32_t seed = 1; seed <= kSeeds; ++seed) {
    Random random(seed);
    FakeKernel kernel = random_host(random);
    const DesiredState want = random_desired(random);
    const auto foreign = foreign_objects(kernel.net(), own());
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, own());
    const auto failed = kernel.apply(plan);

    INFO("seed " << seed);
    for (const std::string& line : kernel.log()) UNSCOPED_INFO(line);
    for (const std::string& line : plan.waiting) UNSCOPED_INFO(line);
    REQUIRE(failed.empty());
    const Observed after = kernel.observe(all_kinds());
    const Plan rest = diff(want, after, own());
    for (const std::string& line : describe(rest)) UNSCOPED_INFO("left: " + line);
    REQUIRE(rest.empty());
    REQUIRE(rest.waiting == plan.waiting);
    REQUIRE(foreign_objects(kernel.net(), own()) == foreign);
  }
}

TEST_CASE("a plan names each object once") {
  for (uint32_t seed = 1; seed <= kSeeds / 5; ++seed) {
    Random random(seed);
    FakeKernel kernel = random_host(random);
    const DesiredState want = random_desired(random);
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, own());
    std::vector<std::tuple<Kind, bool, uint32_t>> objects;
    for (const Stage& stage : plan.stages) {
      REQUIRE_FALSE(stage.ops.empty());
      for (const Op& op : stage.ops) {
        objects.emplace_back(op.object.kind, op.object.observed, op.object.index);
        REQUIRE(op.object.observed == (op.verb == Verb::remove));
      }
    }
    std::sort(objects.begin(), objects.end());
    REQUIRE(std::adjacent_find(objects.begin(), objects.end()) == objects.end());
  }
}

TEST_CASE("kinds that were cut short are never deleted from, and nothing foreign changes") {
  for (uint32_t seed = 1; seed <= kSeeds / 3; ++seed) {
    Random random(seed);
    FakeKernel kernel = random_host(random);
    const DesiredState want = random_desired(random);
    for (size_t kind = 0; kind < kKinds; ++kind)
      if (random.chance(30)) kernel.cut_short(static_cast<Kind>(kind));
    const auto foreign = foreign_objects(kernel.net(), own());
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, own());
    INFO("seed " << seed);
    for (const Stage& stage : plan.stages)
      for (const Op& op : stage.ops)
        if (op.verb == Verb::remove && op.why == Why::unwanted)
          REQUIRE(seen.complete.test(static_cast<size_t>(op.object.kind)));
    kernel.apply(plan);
    REQUIRE(foreign_objects(kernel.net(), own()) == foreign);
  }
}

TEST_CASE("with failures at random the rest is done, and the next plan mends what failed") {
  for (uint32_t seed = 1; seed <= kSeeds / 5; ++seed) {
    Random random(seed);
    FakeKernel kernel = random_host(random);
    const DesiredState want = random_desired(random);
    const char* const victims[] = {"link knet.1", "nexthop", "neigh", "10.244.1", "fdb", "route",
                                   "link knet.udp", "filter", "tunnel peer", "wireguard peer", "pod link"};
    kernel.fail(victims[random.below(11)], 105, 1 + random.below(3));
    for (int round = 0; round < 4; ++round) {
      const Observed seen = kernel.observe(all_kinds());
      kernel.apply(diff(want, seen, own()));
      kernel.heal();
    }
    const Observed seen = kernel.observe(all_kinds());
    INFO("seed " << seed);
    REQUIRE(diff(want, seen, own()).empty());
  }
}
