#include "tests/support/plane_contract.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>

#include "core/nft.h"
#include "tests/support/make.h"

namespace knet::test {

namespace {

constexpr int kPeers = 3;

std::string number(int n) { return std::to_string(n); }

NftTable masquerade() {
  NftTable table;
  table.name = "knet";
  NftChain chain;
  chain.name = "postrouting";
  chain.nat = true;
  chain.hook = NftHook::postrouting;
  chain.priority = 100;
  chain.rules.push_back({"mark", {NftMarkIs{0x4000, 0x4000}, NftReturn{}}});
  chain.rules.push_back({"masquerade4",
                         {NftAddressIn{true, false, {prefix("10.244.1.0/24")}},
                          NftAddressIn{false, true, {prefix("10.244.0.0/16"), prefix("10.9.0.0/16")}},
                          NftMulticastDestination{true, Family::v4}, NftCounter{}, NftMasquerade{true}}});
  table.rules.chains.push_back(chain);
  table.digest = digest(table.rules);
  return table;
}

/// A vxlan node with three peers, a blackhole and masquerading, over eth0.
DesiredState node() {
  DesiredState desired;
  desired.producers = {"test"};
  NetState& net = desired.net;
  Link link = vxlan("knet.1", 1, "192.168.77.1", "eth0");
  link.mac = mac("02:00:00:00:00:01");
  net.links.push_back(link);
  net.addresses.push_back(address("knet.1", "10.244.1.0/32"));
  net.sysctls.push_back(sysctl("net/ipv4/conf/knet.1/rp_filter", "2", "knet.1"));
  for (int peer = 2; peer < 2 + kPeers; ++peer) {
    std::string gateway = "10.244." + number(peer) + ".0", lladdr = "02:00:00:00:01:0" + number(peer);
    net.neighbors.push_back(neighbor("knet.1", gateway, lladdr));
    net.fdb.push_back(fdb("knet.1", lladdr, "192.168.77." + number(peer)));
    net.nexthops.push_back(nexthop("knet.1", gateway, true));
    Route to_peer = route(gateway + "/24", "knet.1", gateway);
    to_peer.onlink = to_peer.by_nexthop = true;
    net.routes.push_back(to_peer);
  }
  net.routes.push_back(blackhole("10.244.1.0/24", 1000));
  net.nft_tables.push_back(masquerade());
  sort_by_key(net);
  return desired;
}

Ownership own() {
  Ownership own;
  own.networks = {prefix("10.244.0.0/16"), prefix("fd10::/48")};
  return own;
}

std::string text(const Plan& plan) {
  std::string all;
  for (const std::string& line : describe(plan)) all += line + "\n";
  for (const Foreign& foreign : plan.foreign) all += "foreign " + foreign.text + "\n";
  return all;
}

std::string text(const Plan& plan, const std::vector<OpResult>& failures) {
  std::string all;
  for (const OpResult& failure : failures)
    all += describe(plan, plan.stages[failure.stage].ops[failure.op]) + ": " + failure.reason + "\n";
  return all;
}

/// One plan must be enough, and every kind must have been read whole.
void converge(PlaneRig& rig, const DesiredState& desired) {
  rig.watch(desired.net);
  Observed before = rig.plane().observe(all_kinds());
  REQUIRE(before.complete == all_kinds());
  Plan plan = diff(desired, before, own());
  REQUIRE(text(plan, rig.plane().apply(plan)) == "");
  Observed after = rig.plane().observe(all_kinds());
  REQUIRE(text(diff(desired, after, own())) == "");
}

std::string drift(PlaneRig& rig, const DesiredState& desired) {
  Observed seen = rig.plane().observe(all_kinds());
  return text(diff(desired, seen, own()));
}

std::unique_ptr<PlaneRig> converged(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  auto rig = make_rig();
  rig->add_nic("eth0", "192.168.77.1/24");
  converge(*rig, node());
  return rig;
}

void check_what_is_seen(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  auto rig = converged(make_rig);
  Observed seen = rig->plane().observe(all_kinds());
  const Link* link = seen.net.find_link(dev("knet.1"));
  REQUIRE(link != nullptr);
  CHECK(link->ours);
  CHECK(link->up);
  CHECK(link->mtu == 1450);
  CHECK(link->vxlan == node().net.links[0].vxlan);
  REQUIRE(seen.net.nexthops.size() == kPeers);
  for (const Nexthop& nexthop : seen.net.nexthops) CHECK(nexthop.id != 0);
  CHECK(seen.net.neighbors.size() == kPeers);
  CHECK(seen.net.fdb.size() == kPeers);
  // Only what was asked for is read.
  Observed routes = rig->plane().observe(only(Kind::route));
  CHECK(routes.complete == only(Kind::route));
  CHECK(routes.net.links.empty());
  CHECK(routes.net.nexthops.empty());
  auto at = std::find_if(routes.net.routes.begin(), routes.net.routes.end(),
                         [](const Route& r) { return r.dst == prefix("10.244.3.0/24"); });
  REQUIRE(at != routes.net.routes.end());
  CHECK(at->by_nexthop);
  CHECK(at->via == ip("10.244.3.0"));
  CHECK(at->dev == dev("knet.1"));
  CHECK(at->protocol == Route::kProtocol);
}

/// Everything of the node is gone, the NIC's own things are not.
void check_removal(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  auto rig = converged(make_rig);
  converge(*rig, DesiredState{});
  Observed seen = rig->plane().observe(all_kinds());
  CHECK(seen.net.find_link(dev("knet.1")) == nullptr);
  CHECK(seen.net.find_link(dev("eth0")) != nullptr);
  CHECK(seen.net.nexthops.empty());
  CHECK(seen.net.nft_tables.empty());
  CHECK(std::none_of(seen.net.routes.begin(), seen.net.routes.end(),
                     [](const Route& r) { return r.protocol == Route::kProtocol; }));
}

void check_cascades(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  auto rig = converged(make_rig);
  auto seen_on_tunnel = [&] {
    Observed seen = rig->plane().observe(all_kinds());
    auto on_tunnel = [](const auto& object) { return object.dev == dev("knet.1"); };
    const NetState& net = seen.net;
    return std::array<size_t, 4>{net.neighbors.size(), net.fdb.size(), net.nexthops.size(),
                                 static_cast<size_t>(std::count_if(net.routes.begin(), net.routes.end(), on_tunnel))};
  };
  using Counts = std::array<size_t, 4>;
  SECTION("a link set down loses neighbours, nexthops and routes, not its fdb") {
    rig->set_up("knet.1", false);
    CHECK(seen_on_tunnel() == Counts{0, kPeers, 0, 0});
  }
  SECTION("so does one set down and up") {
    rig->set_up("knet.1", false);
    rig->set_up("knet.1", true);
    CHECK(seen_on_tunnel() == Counts{0, kPeers, 0, 0});
  }
  SECTION("a changed MAC loses the neighbours") {
    rig->set_mac("knet.1", "02:00:00:00:00:77");
    CHECK(seen_on_tunnel() == Counts{0, kPeers, kPeers, kPeers});
  }
  SECTION("a removed nexthop takes its route along") {
    Observed seen = rig->plane().observe(only(Kind::nexthop));
    rig->remove(seen.net.nexthops.at(1));
    CHECK(seen_on_tunnel() == Counts{kPeers, kPeers, kPeers - 1, kPeers - 1});
  }
  SECTION("a removed link takes everything on it") {
    rig->remove_link("knet.1");
    CHECK(seen_on_tunnel() == Counts{0, 0, 0, 0});
  }
  converge(*rig, node());
}

void check_underlay(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  auto rig = converged(make_rig);
  rig->remove_link("eth0");
  Observed seen = rig->plane().observe(all_kinds());
  CHECK(seen.net.find_link(dev("knet.1")) == nullptr);
  rig->add_nic("eth0", "192.168.77.1/24");
  converge(*rig, node());
}

void check_repairs(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  auto rig = converged(make_rig);
  DesiredState desired = node();
  SECTION("a neighbour") { rig->remove(desired.net.neighbors[0]); }
  SECTION("an fdb entry") { rig->remove(desired.net.fdb[0]); }
  SECTION("a route") { rig->remove(desired.net.routes.back()); }
  SECTION("every route, the nexthops being left") {
    for (const Route& route : desired.net.routes) rig->remove(route);
  }
  SECTION("an address") { rig->remove(desired.net.addresses[0]); }
  SECTION("an nft table that was deleted") { rig->remove_table("knet"); }
  SECTION("an nft table that was edited") { rig->spoil_table("knet"); }
  CHECK(drift(*rig, desired) != "");
  converge(*rig, desired);
}

/// Each change of an attribute, applied over what is there.
void check_replacing(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  auto rig = converged(make_rig);
  DesiredState desired = node();
  NetState& net = desired.net;
  SECTION("a peer's MAC and outer address") {
    net.neighbors[0].mac = mac("02:00:00:00:02:02");
    net.fdb[1].dst = ip("192.168.77.99");
  }
  SECTION("mtu and MAC of the link") {
    net.links[0].mtu = 1400;
    net.links[0].mac = mac("02:00:00:00:00:09");
  }
  SECTION("a recreate-only attribute of the link") { net.links[0].vxlan->port = 4789; }
  SECTION("the mtu of a route") { net.routes.back().mtu = 1300; }
  SECTION("a route from a nexthop object to a gateway of its own and to on-link") {
    for (Route& changed : net.routes)
      if (changed.dst == prefix("10.244.2.0/24") || changed.dst == prefix("10.244.3.0/24")) {
        changed.by_nexthop = false;
        if (changed.dst == prefix("10.244.3.0/24")) {
          changed.via = {};
          changed.onlink = false;
        }
      }
  }
  SECTION("the rules of a table") {
    net.nft_tables[0].rules.chains[0].rules.pop_back();
    net.nft_tables[0].digest = digest(net.nft_tables[0].rules);
  }
  SECTION("a sysctl") { net.sysctls[0].value = "0"; }
  CHECK(drift(*rig, desired) != "");
  converge(*rig, desired);
}

void check_ipv6(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  auto rig = make_rig();
  rig->add_nic("eth0", "fd00:77::1/64");
  DesiredState desired;
  NetState& net = desired.net;
  net.links.push_back(vxlan("knet6.1", 1, "fd00:77::1", "eth0"));
  net.links[0].mtu = 1430;
  net.addresses.push_back(address("knet6.1", "fd10:0:0:1::/128"));
  net.neighbors.push_back(neighbor("knet6.1", "fd10:0:0:2::", "02:00:00:00:01:02"));
  net.fdb.push_back(fdb("knet6.1", "02:00:00:00:01:02", "fd00:77::2"));
  net.routes.push_back(route("fd10:0:0:2::/64", "knet6.1", "fd10:0:0:2::"));
  net.routes[0].onlink = true;
  net.routes.push_back(route("fd10:0:0:3::/64", "eth0", "fd00:77::3"));
  net.routes.push_back(blackhole("fd10:0:0:1::/64", 2048));
  sort_by_key(net);
  converge(*rig, desired);
  SECTION("a gateway route becomes an on-link one and back") {
    DesiredState changed = desired;
    for (Route& route : changed.net.routes)
      if (route.dst == prefix("fd10:0:0:3::/64")) route.via = {};
    converge(*rig, changed);
    converge(*rig, desired);
  }
  SECTION("another gateway") {
    for (Route& route : net.routes)
      if (route.dst == prefix("fd10:0:0:3::/64")) route.via = ip("fd00:77::4");
    converge(*rig, desired);
  }
}

/// Several next hops, over two NICs: every change of a route between one, several and none of them.
void check_multipath(const std::function<std::unique_ptr<PlaneRig>()>& make_rig, bool v6) {
  auto rig = make_rig();
  rig->add_nic("eth0", v6 ? "fd00:77::1/64" : "192.168.77.1/24");
  rig->add_nic("eth1", v6 ? "fd00:78::1/64" : "192.168.78.1/24");
  const std::string dst = v6 ? "fd10:0:0:9::/64" : "10.244.9.0/24";
  const auto near = [&](int n) { return (v6 ? "fd00:77::" : "192.168.77.") + number(n); };
  const auto far = [&](int n) { return (v6 ? "fd00:78::" : "192.168.78.") + number(n); };
  const auto state = [&](Route route) {
    DesiredState desired;
    if (route.by_nexthop) desired.net.nexthops = {nexthop(route.dev.str(), route.via.str())};
    desired.net.routes = {std::move(route)};
    return desired;
  };
  const DesiredState one = state(route(dst, "eth0", near(5)));
  const DesiredState two = state(with_hop(route(dst, "eth0", near(3)), "eth1", far(2)));
  const DesiredState three = state(with_hop(with_hop(route(dst, "eth0", near(2)), "eth0", near(3)), "eth1", far(9)));
  const DesiredState on_link = state(route(dst, "eth1"));
  DesiredState other_mtu = three;
  other_mtu.net.routes[0].mtu = 1400;
  std::vector<DesiredState> all{one, two, three, on_link, other_mtu};
  if (!v6) {
    Route object = route(dst, "eth0", near(5));
    object.by_nexthop = true;
    all.push_back(state(object));
  }
  SECTION("from each to each") {
    for (const DesiredState& from : all)
      for (const DesiredState& to : all) {
        converge(*rig, from);
        converge(*rig, to);
        Observed seen = rig->plane().observe(only(Kind::route));
        const auto ours = std::count_if(seen.net.routes.begin(), seen.net.routes.end(),
                                        [&](const Route& r) { return r.dst == prefix(dst); });
        CHECK(ours == 1);
      }
    converge(*rig, DesiredState{});
  }
  SECTION("one of several metrics") {
    DesiredState metrics = two;
    for (uint32_t metric : {50u, 2000u}) {
      Route more = three.net.routes[0];
      more.metric = metric;
      metrics.net.routes.push_back(more);
    }
    sort_by_key(metrics.net);
    converge(*rig, metrics);
    metrics.net.routes[1].others = {};
    converge(*rig, metrics);
    converge(*rig, one);
  }
  SECTION("a device of one next hop set down, and up again") {
    converge(*rig, three);
    rig->set_up("eth1", false);
    CHECK(drift(*rig, three) == "");  // dead, but there: the kernel takes the others
    rig->set_up("eth1", true);
    CHECK(drift(*rig, three) == "");
    converge(*rig, DesiredState{});
  }
  SECTION("a device of one next hop removed") {
    converge(*rig, three);
    rig->remove_link("eth1");
    Observed seen = rig->plane().observe(only(Kind::route));
    const auto left = std::find_if(seen.net.routes.begin(), seen.net.routes.end(),
                                   [&](const Route& r) { return r.dst == prefix(dst); });
    REQUIRE((left != seen.net.routes.end()) == v6);
    if (v6) CHECK(left->others.size() == 1);
    rig->add_nic("eth1", v6 ? "fd00:78::1/64" : "192.168.78.1/24");
    converge(*rig, three);
  }
}

/// Ops that can't be: told one by one, and the others done.
void check_failures(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  auto rig = make_rig();
  rig->add_nic("eth0", "192.168.77.1/24");
  Observed nothing;
  DesiredState desired;
  NetState& net = desired.net;
  Plan plan;
  plan.desired = &net;
  plan.observed = &nothing.net;
  auto create = [](Kind kind, uint32_t index) { return Op{Verb::create, Why::missing, {kind, false, index}}; };
  SECTION("a route whose key somebody else holds is not overwritten") {
    Route foreign = route("10.244.2.0/24", "eth0", "192.168.77.9");
    foreign.protocol = 186;
    rig->add(foreign);
    net.routes = {route("10.244.2.0/24", "eth0", "192.168.77.2"), route("10.244.3.0/24", "eth0", "192.168.77.3")};
    plan.stages = {{"routes", {create(Kind::route, 0), create(Kind::route, 1)}}};
    auto failures = rig->plane().apply(plan);
    REQUIRE(failures.size() == 1);
    CHECK(failures[0].stage == 0);
    CHECK(failures[0].op == 0);
    CHECK(failures[0].error == EEXIST);
    CHECK(failures[0].reason != "");
    Observed seen = rig->plane().observe(only(Kind::route));
    auto count = [&](const char* via) {
      return std::count_if(seen.net.routes.begin(), seen.net.routes.end(),
                           [&](const Route& r) { return r.via == ip(via); });
    };
    CHECK(count("192.168.77.9") == 1);
    CHECK(count("192.168.77.2") == 0);
    CHECK(count("192.168.77.3") == 1);
  }
  SECTION("what hangs on a link that can't be made is skipped") {
    net.links = {vxlan("knet.1", 1, "192.168.77.1", "eth9")};
    net.addresses = {address("knet.1", "10.244.1.0/32")};
    net.neighbors = {neighbor("knet.1", "10.244.2.0", "02:00:00:00:01:02")};
    net.routes = {route("10.244.2.0/24", "knet.1"), route("10.244.3.0/24", "eth0", "192.168.77.3")};
    plan.stages = {{"links", {create(Kind::link, 0)}},
                   {"addresses", {create(Kind::address, 0)}},
                   {"neighbors and fdb", {create(Kind::neighbor, 0)}},
                   {"routes", {create(Kind::route, 0), create(Kind::route, 1)}}};
    auto failures = rig->plane().apply(plan);
    REQUIRE(failures.size() == 4);
    CHECK(failures[0].error == ENODEV);
    for (size_t i = 1; i < 4; ++i) CHECK(failures[i].error == ECANCELED);
    CHECK(failures[3].stage == 3);
    CHECK(failures[3].op == 0);
  }
  SECTION("a gateway that is not on link") {
    net.routes = {route("10.244.2.0/24", "eth0", "10.1.2.3")};
    plan.stages = {{"routes", {create(Kind::route, 0)}}};
    auto failures = rig->plane().apply(plan);
    REQUIRE(failures.size() == 1);
    CHECK((failures[0].error == ENETUNREACH || failures[0].error == EHOSTUNREACH));
  }
}

/// Tunnel devices without peers of their own: what befalls them, and each change of an attribute.
void check_tunnel_device(const std::function<std::unique_ptr<PlaneRig>()>& make_rig, const Link& link) {
  auto rig = make_rig();
  if (!rig->makes(link.type)) return;
  rig->add_nic("eth0", "192.168.77.1/24");
  const std::string name = link.name.str();
  DesiredState desired;
  NetState& net = desired.net;
  net.links = {link};
  net.addresses = {address(name, "10.244.1.0/32")};
  net.routes = {route("10.244.2.0/24", name), route("10.244.3.0/24", name)};
  converge(*rig, desired);
  const Observed seen = rig->plane().observe(only(Kind::link));
  const Link* made = seen.net.find_link(link.name);
  REQUIRE(made != nullptr);
  CHECK(made->ours);
  CHECK(made->same_make(link));
  SECTION("deleted") {
    rig->remove_link(name);
    CHECK(drift(*rig, desired) != "");
  }
  SECTION("set down") {
    rig->set_up(name, false);
    CHECK(drift(*rig, desired) != "");
  }
  SECTION("another MTU") { net.links[0].mtu -= 100; }
  SECTION("not wanted any more") { desired = {}; }
  converge(*rig, desired);
}

void check_pod_mtus(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  auto rig = make_rig();
  DesiredState desired;
  desired.net.pod_mtus = {rig->add_pod_link("knet0123456789a", 1500, 1450),
                          rig->add_pod_link("knet0123456789b", 1400, 1450)};
  converge(*rig, desired);
  Observed seen = rig->plane().observe(only(Kind::pod_mtu));
  REQUIRE(seen.net.pod_mtus.size() == 2);
  CHECK(seen.net.pod_mtus[0].mtu == 1450);
  CHECK(seen.net.pod_mtus[1].mtu == 1400);  // never raised
  converge(*rig, DesiredState{});
  seen = rig->plane().observe(only(Kind::pod_mtu));
  CHECK(seen.net.pod_mtus.size() == 2);  // not ours to remove
}

void check_forward_accepts(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  auto rig = make_rig();
  rig->add_nic("eth0", "192.168.77.1/24");
  for (const ForeignChain& chain :
       {ForeignChain{Family::v4, "filter", "FORWARD"}, ForeignChain{Family::none, "fw", "forward"}})
    rig->add_forward_drop(chain);
  Observed seen = rig->plane().observe(only(Kind::forward_accept));
  REQUIRE(seen.forward_drops.size() == 2);
  DesiredState desired;
  for (const ForeignChain& chain : seen.forward_drops)
    for (bool source : {true, false}) {
      ForwardAccept accept;
      accept.chain = chain;
      accept.network = prefix("10.244.0.0/16");
      accept.source = source;
      desired.net.forward_accepts.push_back(accept);
    }
  sort_by_key(desired.net);
  converge(*rig, desired);
  seen = rig->plane().observe(only(Kind::forward_accept));
  CHECK(seen.net.forward_accepts.size() == 4);
  CHECK(seen.forward_drops.size() == 2);
  converge(*rig, DesiredState{});
  seen = rig->plane().observe(only(Kind::forward_accept));
  CHECK(seen.net.forward_accepts.empty());
}

}  // namespace

void plane_contract(const std::function<std::unique_ptr<PlaneRig>()>& make_rig) {
  SECTION("what was applied is seen") { check_what_is_seen(make_rig); }
  SECTION("nothing of ours stays when nothing is wanted") { check_removal(make_rig); }
  SECTION("what the kernel takes along") { check_cascades(make_rig); }
  SECTION("the underlay takes the tunnel along") { check_underlay(make_rig); }
  SECTION("what was taken away comes back") { check_repairs(make_rig); }
  SECTION("what differs is replaced") { check_replacing(make_rig); }
  SECTION("IPv6") { check_ipv6(make_rig); }
  SECTION("several next hops, IPv4") { check_multipath(make_rig, false); }
  SECTION("several next hops, IPv6") { check_multipath(make_rig, true); }
  SECTION("failures") { check_failures(make_rig); }
  SECTION("forward accepts") { check_forward_accepts(make_rig); }
  SECTION("a TUN device") { check_tunnel_device(make_rig, tun("knet.udp")); }
  SECTION("an ipip device") { check_tunnel_device(make_rig, ipip("knet.ipip", "192.168.77.1", "eth0")); }
  SECTION("pods' MTUs") { check_pod_mtus(make_rig); }
}

}  // namespace knet::test
