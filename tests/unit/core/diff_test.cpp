#include <catch2/catch.hpp>

#include <algorithm>
#include <cerrno>

#include "core/plan.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

namespace {

using Lines = std::vector<std::string>;

Ownership own() {
  Ownership own;
  own.networks = {prefix("10.244.0.0/16"), prefix("fd10::/48")};
  return own;
}

// A node of two peers in vxlan, as compose would make it.
DesiredState vxlan_node() {
  DesiredState want;
  NetState& net = want.net;
  net.links = {vxlan("knet.1", 1, "192.168.77.1", "eth0")};
  net.addresses = {address("knet.1", "10.244.1.0/32")};
  net.sysctls = {sysctl("net/ipv4/conf/knet.1/rp_filter", "2", "knet.1"), sysctl("net/ipv4/ip_forward", "1")};
  net.neighbors = {neighbor("knet.1", "10.244.2.0", "02:00:00:00:00:02"),
                   neighbor("knet.1", "10.244.3.0", "02:00:00:00:00:03")};
  net.fdb = {fdb("knet.1", "02:00:00:00:00:02", "192.168.77.2"), fdb("knet.1", "02:00:00:00:00:03", "192.168.77.3")};
  for (const char* via : {"10.244.2.0", "10.244.3.0"}) {
    net.nexthops.push_back(nexthop("knet.1", via, true));
    Route to_peer = route(std::string(via) + "/24", "knet.1", via);
    to_peer.onlink = true;
    to_peer.by_nexthop = true;
    net.routes.push_back(to_peer);
  }
  net.routes.push_back(blackhole("10.244.1.0/24", 65535));
  sort_by_key(net);
  return want;
}

FakeKernel host() {
  FakeKernel kernel;
  kernel.add_nic("eth0", "192.168.77.1/24");
  kernel.set_sysctl("net/ipv4/ip_forward", "0");
  return kernel;
}

Lines stages(const Plan& plan) {
  Lines names;
  for (const Stage& stage : plan.stages) names.emplace_back(stage.name);
  return names;
}

Lines plan_lines(const DesiredState& want, FakeKernel& kernel, const Ownership& ownership = own()) {
  const Observed seen = kernel.observe(all_kinds());
  return describe(diff(want, seen, ownership));
}

// Applies until nothing is to be done; how many plans it took.
int converge(const DesiredState& want, FakeKernel& kernel, const Ownership& ownership = own()) {
  for (int round = 0; round < 5; ++round) {
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, ownership);
    if (plan.empty()) return round;
    const auto failed = kernel.apply(plan);
    for (const OpResult& result : failed)
      UNSCOPED_INFO(describe(plan, plan.stages[result.stage].ops[result.op]) + ": " + result.reason);
    CHECK(failed.empty());
  }
  FAIL("does not converge");
  return 0;
}

bool any(const Lines& lines, const std::string& text) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& l) { return l.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("on an empty host everything is created, each object after what it depends on") {
  FakeKernel kernel = host();
  const DesiredState want = vxlan_node();
  const Observed seen = kernel.observe(all_kinds());
  const Plan plan = diff(want, seen, own());
  CHECK(stages(plan) == Lines{"links", "sysctls", "addresses", "peers", "nexthops", "routes"});
  CHECK(kernel.apply(plan).empty());
  CHECK(plan_lines(want, kernel).empty());
}

TEST_CASE("what is gone by hand comes back with one plan, and nothing else is touched") {
  FakeKernel kernel = host();
  const DesiredState want = vxlan_node();
  converge(want, kernel);
  const Lines whole = [&] {
    Lines all;
    for (const Route& r : kernel.net().routes) all.push_back(describe(r));
    return all;
  }();

  SECTION("a neighbour") {
    kernel.remove(neighbor("knet.1", "10.244.2.0", "02:00:00:00:00:02"));
    CHECK(plan_lines(want, kernel) == Lines{"create neigh 10.244.2.0 dev knet.1 lladdr 02:00:00:00:00:02 (missing)"});
  }
  SECTION("an fdb entry") {
    kernel.remove(fdb("knet.1", "02:00:00:00:00:02", "192.168.77.2"));
    CHECK(plan_lines(want, kernel) == Lines{"create fdb 02:00:00:00:00:02 dev knet.1 dst 192.168.77.2 (missing)"});
  }
  SECTION("a nexthop takes its route along") {
    kernel.remove(nexthop("knet.1", "10.244.3.0"));
    CHECK(plan_lines(want, kernel) == Lines{"create nexthop via 10.244.3.0 dev knet.1 onlink (missing)",
                                            "create route 10.244.3.0/24 via 10.244.3.0 dev knet.1 onlink (missing)"});
  }
  SECTION("the device") { kernel.remove_link(dev("knet.1")); }
  SECTION("the underlay, and it comes back") {
    kernel.remove_link(dev("eth0"));
    kernel.add_nic("eth0", "192.168.77.1/24");
  }
  SECTION("the device set down loses neighbours, nexthops and routes, not its fdb") {
    kernel.set_up(dev("knet.1"), false);
    const Lines lines = plan_lines(want, kernel);
    CHECK(lines.front() == "replace " + describe(want.net.links[0]) + " (differs)");
    CHECK(lines.size() == 1 + 2 + 2 + 2);
    CHECK_FALSE(any(lines, "fdb"));
  }
  SECTION("the device set down and up") {
    kernel.set_up(dev("knet.1"), false);
    kernel.set_up(dev("knet.1"), true);
  }
  SECTION("another MAC costs the neighbours") { kernel.set_mac(dev("knet.1"), mac("02:00:00:00:00:99")); }
  SECTION("the device's address") { kernel.remove(address("knet.1", "10.244.1.0/32")); }
  SECTION("a sysctl") {
    kernel.set_sysctl("net/ipv4/conf/knet.1/rp_filter", "1");
    CHECK(plan_lines(want, kernel) == Lines{"replace sysctl net.ipv4.conf.knet/1.rp_filter=2 (differs)"});
  }
  CHECK(converge(want, kernel) == 1);
  Lines after;
  for (const Route& r : kernel.net().routes) after.push_back(describe(r));
  std::sort(after.begin(), after.end());
  Lines before = whole;
  std::sort(before.begin(), before.end());
  CHECK(after == before);
}

TEST_CASE("a wanted MAC that differs is set in place, and its neighbours are written again") {
  FakeKernel kernel = host();
  DesiredState want = vxlan_node();
  want.net.links[0].mac = mac("02:aa:00:00:00:01");
  converge(want, kernel);
  kernel.set_mac(dev("knet.1"), mac("02:00:00:00:00:99"));
  const Lines lines = plan_lines(want, kernel);
  CHECK(lines.size() == 3);
  CHECK(any(lines, "replace link knet.1"));
  CHECK(converge(want, kernel) == 1);
  CHECK(kernel.net().neighbors.size() == 2);
}

TEST_CASE("a recreate-only attribute makes the link anew, with all that hangs on it, in one plan") {
  FakeKernel kernel = host();
  kernel.add_nic("eth1", "10.9.0.5/24");
  converge(vxlan_node(), kernel);
  DesiredState want = vxlan_node();
  SECTION("port") { want.net.links[0].vxlan->port = 4789; }
  SECTION("local address") { want.net.links[0].vxlan->local = ip("192.168.77.9"); }
  SECTION("underlay") { want.net.links[0].vxlan->underlay = dev("eth1"); }
  const Observed seen = kernel.observe(all_kinds());
  const Plan plan = diff(want, seen, own());
  CHECK(stages(plan) == Lines{"remove links for recreation", "links", "sysctls", "addresses", "peers",
                              "nexthops", "routes"});
  CHECK(any(describe(plan), "remove link knet.1"));
  CHECK(any(describe(plan), "(recreate)"));
  CHECK(any(describe(plan), "create sysctl net.ipv4.conf.knet/1.rp_filter=2"));
  CHECK(converge(want, kernel) == 1);
}

TEST_CASE("an MTU differs: the link is changed in place") {
  FakeKernel kernel = host();
  DesiredState want = vxlan_node();
  converge(want, kernel);
  want.net.links[0].mtu = 1400;
  CHECK(plan_lines(want, kernel).size() == 1);
  CHECK(converge(want, kernel) == 1);
  CHECK(kernel.net().find_link(dev("knet.1"))->mtu == 1400);
}

TEST_CASE("what is ours and not wanted any more goes, in reverse order") {
  FakeKernel kernel = host();
  DesiredState want = vxlan_node();
  converge(want, kernel);
  SECTION("a peer that left") {
    NetState& net = want.net;
    net.neighbors.pop_back();
    net.fdb.pop_back();
    net.nexthops.pop_back();
    std::erase_if(net.routes, [](const Route& r) { return r.dst == prefix("10.244.3.0/24"); });
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, own());
    CHECK(stages(plan) == Lines{"remove routes", "remove nexthops", "remove peers"});
    CHECK(plan.size() == 4);
    CHECK(converge(want, kernel) == 1);
  }
  SECTION("the whole device: what hangs on it needs no op of its own") {
    want = DesiredState{};
    CHECK(plan_lines(want, kernel) ==
          Lines{"remove route blackhole 10.244.1.0/24 metric 65535 (unwanted)",
                "remove " + describe(*kernel.net().find_link(dev("knet.1"))) + " (unwanted)"});
    converge(want, kernel);
    CHECK(kernel.net().links.size() == 1);
    CHECK(kernel.net().nexthops.empty());
  }
  SECTION("vxlan gives way to plain routes: routes are replaced before the device goes") {
    want = DesiredState{};
    want.net.nexthops = {nexthop("eth0", "192.168.77.2")};
    Route plain = route("10.244.2.0/24", "eth0", "192.168.77.2");
    plain.by_nexthop = true;
    want.net.routes = {plain};
    const Lines lines = plan_lines(want, kernel);
    CHECK(lines[1] == "replace route 10.244.2.0/24 via 192.168.77.2 dev eth0 (differs)");
    CHECK(lines.back().starts_with("remove link knet.1"));
    CHECK(converge(want, kernel) == 1);
  }
}

TEST_CASE("nothing foreign is touched") {
  FakeKernel kernel = host();
  const DesiredState want = vxlan_node();
  Route bird = route("10.244.9.0/24", "eth0", "192.168.77.9");
  bird.protocol = 12;
  kernel.add(bird);
  kernel.add(route("10.99.0.0/24", "eth0", "192.168.77.9"));  // our protocol, not our network
  Nexthop theirs = nexthop("eth0", "192.168.77.9");
  theirs.protocol = 12;
  kernel.add(theirs);
  converge(want, kernel);
  CHECK(converge(DesiredState{}, kernel) == 1);
  CHECK(kernel.net().routes.size() == 3);  // theirs and the connected one
  CHECK(kernel.net().nexthops.size() == 1);
}

TEST_CASE("a foreign object at a wanted key is named and left") {
  FakeKernel kernel = host();
  const DesiredState want = vxlan_node();
  SECTION("a route of bird's") {
    Route bird = route("10.244.2.0/24", "eth0", "192.168.77.9");
    bird.protocol = 12;
    kernel.add(bird);
    converge(want, kernel);
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, own());
    REQUIRE(plan.foreign.size() == 1);
    CHECK(plan.foreign[0].text == "route 10.244.2.0/24 via 192.168.77.9 dev eth0 proto bird");
    CHECK(want.net.routes[plan.foreign[0].wanted.index].dst == prefix("10.244.2.0/24"));
    CHECK(std::count_if(kernel.net().routes.begin(), kernel.net().routes.end(),
                        [](const Route& r) { return r.dst == prefix("10.244.2.0/24") && r.protocol == 12; }) == 1);
  }
  SECTION("a device of our name without our mark: nothing is put on it") {
    Link theirs = vxlan("knet.1", 7, "192.168.77.1", "eth0");
    kernel.add(theirs);
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, own());
    REQUIRE(plan.foreign.size() == 1);
    CHECK(plan.foreign[0].wanted.kind == Kind::link);
    CHECK_FALSE(any(describe(plan), "knet.1"));
    CHECK(any(plan.waiting, "objects wait for knet.1, which is not ours"));
    CHECK(converge(want, kernel) == 1);  // the rest of the node's part
    CHECK(kernel.net().find_link(dev("knet.1"))->vxlan == theirs.vxlan);
  }
  SECTION("a foreign vxlan of the same VNI and port") {
    kernel.add(vxlan("vx", 1, "192.168.77.1", "eth0"));
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, own());
    REQUIRE(plan.foreign.size() == 1);
    CHECK(plan.foreign[0].text.starts_with("link vx type vxlan id 1"));
    CHECK(kernel.apply(plan).empty());
    CHECK(plan_lines(want, kernel).empty());
  }
}

TEST_CASE("a vxlan of the same VNI over the other family, or of another port, is not in the way") {
  FakeKernel kernel = host();
  kernel.add(vxlan("vx", 1, "192.168.77.1", "eth0", 4789));
  kernel.add(vxlan("vx6", 1, "fd00:77::1", "eth0"));
  CHECK(converge(vxlan_node(), kernel) == 1);
  CHECK(kernel.net().links.size() == 4);
}

TEST_CASE("adoption: flannel's leftovers give way, in one plan") {
  FakeKernel kernel = host();
  const DesiredState want = vxlan_node();
  kernel.add(vxlan("flannel.1", 1, "192.168.77.1", "eth0"));
  kernel.add(address("flannel.1", "10.244.1.0/32"));
  Route old = route("10.244.2.0/24", "flannel.1", "10.244.2.0");
  old.onlink = true;
  old.protocol = 3;
  kernel.add(old);
  old = route("10.244.7.0/24", "flannel.1", "10.244.7.0");
  old.onlink = true;
  old.protocol = 3;
  kernel.add(old);
  Route by_hand = route("10.244.8.0/24", "eth0", "192.168.77.200");
  by_hand.protocol = 3;
  kernel.add(by_hand);

  SECTION("without it they are foreign") {
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, own());
    CHECK(any(plan.waiting, "whose place another device holds"));
    CHECK_FALSE(any(describe(plan), "flannel"));
    CHECK(plan.foreign.size() == 2);
  }
  SECTION("the device and its routes go; a route made by hand stays") {
    Ownership adopt = own();
    adopt.adopt_flannel = true;
    adopt.peer_addresses = {ip("192.168.77.2"), ip("192.168.77.3")};
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, adopt);
    CHECK(plan.stages[0].name == "remove links for recreation");
    CHECK(any(describe(plan), "remove link flannel.1"));
    CHECK(converge(want, kernel, adopt) == 1);
    CHECK(kernel.net().find_link(dev("flannel.1")) == nullptr);
    CHECK(std::count_if(kernel.net().routes.begin(), kernel.net().routes.end(),
                        [](const Route& r) { return r.protocol == 3; }) == 1);
  }
  SECTION("flannel's host-gw route at a wanted key is replaced, one of a peer that left is removed") {
    Ownership adopt = own();
    adopt.adopt_flannel = true;
    adopt.peer_addresses = {ip("192.168.77.2"), ip("192.168.77.3")};
    kernel.remove_link(dev("flannel.1"));
    for (const char* dst : {"10.244.3.0/24", "10.244.4.0/24"}) {
      Route gw = route(dst, "eth0", "192.168.77.3");
      gw.protocol = 3;
      kernel.add(gw);
    }
    const Lines lines = plan_lines(want, kernel, adopt);
    CHECK(any(lines, "replace route 10.244.3.0/24 via 10.244.3.0 dev knet.1"));
    CHECK(any(lines, "remove route 10.244.4.0/24 via 192.168.77.3 dev eth0 proto boot (unwanted)"));
    CHECK(converge(want, kernel, adopt) == 1);
  }
}

TEST_CASE("a kind that was not read whole is never deleted from") {
  FakeKernel kernel = host();
  converge(vxlan_node(), kernel);
  const Kind kind = GENERATE(Kind::link, Kind::address, Kind::neighbor, Kind::fdb, Kind::nexthop, Kind::route);
  Observed seen = kernel.observe(all_kinds());
  seen.complete.reset(static_cast<size_t>(kind));
  const DesiredState nothing;
  const Plan plan = diff(nothing, seen, own());
  for (const Stage& stage : plan.stages)
    for (const Op& op : stage.ops) CHECK(op.object.kind != kind);
}

TEST_CASE("a kind that was not read at all is left out; what depends on links is then taken to have them") {
  FakeKernel kernel = host();
  const DesiredState want = vxlan_node();
  converge(want, kernel);
  kernel.remove(want.net.routes.back());
  const Observed seen = kernel.observe(only(Kind::route));
  const Plan plan = diff(want, seen, own(), only(Kind::route));
  CHECK(plan.size() == 1);
  CHECK(plan.stages[0].name == "routes");
  CHECK(diff(want, Observed{}, own()).empty());
}

TEST_CASE("kinds outside of those asked for are left out") {
  FakeKernel kernel = host();
  const DesiredState want = vxlan_node();
  const Observed seen = kernel.observe(all_kinds());
  Kinds kinds = only(Kind::link) | only(Kind::sysctl);
  CHECK(stages(diff(want, seen, own(), kinds)) == Lines{"links", "sysctls"});
}

TEST_CASE("what can't be made now waits, is said, and is not planned") {
  FakeKernel kernel = host();
  const DesiredState want = vxlan_node();
  SECTION("no underlay") {
    kernel.remove_link(dev("eth0"));
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, own());
    CHECK(plan.waiting ==
          Lines{"knet.1 waits for eth0, which is not there", "10 objects wait for eth0, which is not there"});
    CHECK(stages(plan) == Lines{"sysctls", "routes"});  // ip_forward and the blackhole
    CHECK(kernel.apply(plan).empty());
    CHECK(plan_lines(want, kernel).empty());
  }
  SECTION("an underlay that is down carries no plain routes; a vxlan may stand on it") {
    kernel.set_up(dev("eth0"), false);
    DesiredState plain = vxlan_node();
    plain.net.nexthops.insert(plain.net.nexthops.begin(), nexthop("eth0", "192.168.77.4"));
    Route gw = route("10.244.4.0/24", "eth0", "192.168.77.4");
    gw.by_nexthop = true;
    plain.net.routes.push_back(gw);
    sort_by_key(plain.net);
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(plain, seen, own());
    CHECK(plan.waiting == Lines{"2 objects wait for eth0, which is down"});
    CHECK(converge(plain, kernel) == 1);
    kernel.set_up(dev("eth0"), true);
    CHECK(plan_lines(plain, kernel).size() == 2);
  }
  SECTION("a pod's link that is gone") {
    DesiredState pods;
    pods.net.routes = {route("10.244.1.2/32", "knet0123456789a")};
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(pods, seen, own());
    CHECK(plan.empty());
    CHECK(plan.waiting == Lines{"1 object waits for knet0123456789a, which is not there"});
  }
  SECTION("the wanted underlay of a device that stands is gone: better the old one than none") {
    converge(want, kernel);
    DesiredState moved = want;
    moved.net.links[0].vxlan->underlay = dev("eth1");
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(moved, seen, own());
    CHECK(plan.empty());
    CHECK(plan.waiting == Lines{"knet.1 waits for eth1, which is not there"});
  }
}

TEST_CASE("a pod's host route is mended, and never removed: it is CNI's and goes with its link") {
  FakeKernel kernel = host();
  kernel.add_pod_link(dev("knet0123456789a"));
  kernel.add_pod_link(dev("knetfedcba98765"));
  DesiredState want;
  want.net.routes = {route("10.244.1.2/32", "knet0123456789a")};
  converge(want, kernel);
  SECTION("a pod that the agent has not heard of yet") { CHECK(plan_lines(DesiredState{}, kernel).empty()); }
  SECTION("its address moved to another pod") {
    want.net.routes[0].dev = dev("knetfedcba98765");
    CHECK(plan_lines(want, kernel) == Lines{"replace route 10.244.1.2 dev knetfedcba98765 (differs)"});
    CHECK(converge(want, kernel) == 1);
  }
}

TEST_CASE("an IPv6 route without a metric is the kernel's 1024") {
  FakeKernel kernel = host();
  kernel.add_pod_link(dev("knet0123456789a"));
  DesiredState want;
  want.net.routes = {route("fd10:0:0:1::2/128", "knet0123456789a")};
  converge(want, kernel);
  CHECK(kernel.net().routes.back().metric == 1024);
  CHECK(plan_lines(want, kernel).empty());
}

TEST_CASE("sysctls: an equally good value is left alone, an optional one that is not there too") {
  FakeKernel kernel = host();
  DesiredState want;
  Sysctl loose = sysctl("net/ipv4/conf/eth0/rp_filter", "2", "eth0");
  loose.also = "0";
  want.net.sysctls = {loose};
  CHECK(plan_lines(want, kernel).empty());
  kernel.set_sysctl(loose.path, "1\n");
  CHECK(plan_lines(want, kernel) == Lines{"replace sysctl net.ipv4.conf.eth0.rp_filter=2 (differs)"});
  kernel.set_sysctl(loose.path, "2\n");
  CHECK(plan_lines(want, kernel).empty());

  Sysctl absent = sysctl("net/ipv6/conf/all/forwarding", "1");
  want.net.sysctls = {absent};
  CHECK(plan_lines(want, kernel) == Lines{"create sysctl net.ipv6.conf.all.forwarding=1 (missing)"});
  want.net.sysctls[0].optional = true;
  CHECK(plan_lines(want, kernel).empty());
}

TEST_CASE("our nft table is replaced when it is not what was made, and removed when not wanted") {
  FakeKernel kernel = host();
  DesiredState want;
  NftTable table;
  table.name = "knet";
  table.digest = 7;
  want.net.nft_tables = {table};
  NftTable hostports;
  hostports.name = "knet-hostports";
  hostports.digest = 9;
  DesiredState cni;
  cni.net.nft_tables = {hostports};
  converge(cni, kernel);

  CHECK(plan_lines(want, kernel) == Lines{"create table inet knet (missing)"});
  converge(want, kernel);
  kernel.spoil_table("knet");
  CHECK(plan_lines(want, kernel) == Lines{"replace table inet knet (differs)"});
  converge(want, kernel);
  want.net.nft_tables[0].digest = 8;
  CHECK(plan_lines(want, kernel) == Lines{"replace table inet knet (differs)"});
  converge(DesiredState{}, kernel);
  CHECK(kernel.net().nft_tables.size() == 1);  // portmap's
}

TEST_CASE("forward accepts come and go") {
  FakeKernel kernel = host();
  ForwardAccept rule;
  rule.chain = {Family::v4, "filter", "DOCKER-USER"};
  rule.network = prefix("10.244.0.0/16");
  kernel.add_forward_drop(rule.chain);
  DesiredState want;
  want.net.forward_accepts = {rule};
  CHECK(plan_lines(want, kernel) == Lines{"create accept from 10.244.0.0/16 in chain ip filter DOCKER-USER (missing)"});
  converge(want, kernel);
  CHECK(plan_lines(DesiredState{}, kernel).size() == 1);
  CHECK(converge(DesiredState{}, kernel) == 1);
}

TEST_CASE("two of ours at one key: one stays, the other goes") {
  DesiredState want;
  want.net.routes = {route("10.244.2.0/24", "eth0", "192.168.77.2")};
  Observed seen;
  seen.complete = all_kinds();
  seen.net.links = {nic("eth0")};
  seen.net.routes = {route("10.244.2.0/24", "eth0", "192.168.77.3"), route("10.244.2.0/24", "eth0", "192.168.77.2")};
  const Plan plan = diff(want, seen, own());
  CHECK(describe(plan) == Lines{"remove route 10.244.2.0/24 via 192.168.77.3 dev eth0 (unwanted)"});
}

TEST_CASE("a failed op is planned again, and what hung on it was skipped") {
  FakeKernel kernel = host();
  const DesiredState want = vxlan_node();
  kernel.fail("link knet.1", ENOBUFS, 1);
  const Observed seen = kernel.observe(all_kinds());
  const Plan plan = diff(want, seen, own());
  const auto failed = kernel.apply(plan);
  CHECK(failed.front().error == ENOBUFS);
  CHECK(std::count_if(failed.begin(), failed.end(), [](const OpResult& r) { return r.error == ECANCELED; }) == 10);
  CHECK(converge(want, kernel) == 1);
}

namespace {

// A node of two peers by a BPF tunnel.
DesiredState tunnel_node(const std::string& uplink = "eth0", const std::string& local = "192.168.77.1") {
  DesiredState want;
  NetState& net = want.net;
  net.links = {tun("knet.udp")};
  net.addresses = {address("knet.udp", "10.244.1.0/32")};
  net.filters = {filter("knet.udp", TunnelEnd::encap, "knet.udp", local), filter(uplink, TunnelEnd::decap, "knet.udp", local)};
  for (const char* peer : {"2", "3"}) {
    const std::string subnet = std::string("10.244.") + peer + ".0/24";
    net.tunnel_peers.push_back(tunnel_peer("knet.udp", subnet, std::string("192.168.77.") + peer));
    net.routes.push_back(route(subnet, "knet.udp"));
  }
  sort_by_key(net);
  return want;
}

}  // namespace

TEST_CASE("a tunnel: device, filters, then who is in its map, then routes; gone with nothing left") {
  FakeKernel kernel = host();
  const DesiredState want = tunnel_node();
  const Observed seen = kernel.observe(all_kinds());
  const Plan plan = diff(want, seen, own());
  CHECK(stages(plan) == Lines{"links", "addresses", "filters", "peers", "routes"});
  CHECK(kernel.apply(plan).empty());
  CHECK(plan_lines(want, kernel).empty());
  CHECK(converge({}, kernel) == 1);
  CHECK(kernel.net().filters.empty());
  CHECK(kernel.net().tunnel_peers.empty());
  CHECK(kernel.net().find_link(dev("knet.udp")) == nullptr);
  CHECK(kernel.net().find_link(dev("eth0")) != nullptr);
}

TEST_CASE("a tunnel: what is taken away or changed is mended with one plan") {
  FakeKernel kernel = host();
  DesiredState want = tunnel_node();
  converge(want, kernel);
  SECTION("an entry of the map") {
    kernel.remove(want.net.tunnel_peers[0]);
    CHECK(plan_lines(want, kernel) == Lines{"create " + describe(want.net.tunnel_peers[0]) + " (missing)"});
  }
  SECTION("one filter: the other holds the map") {
    kernel.remove(filter("eth0", TunnelEnd::decap));
    CHECK(plan_lines(want, kernel).size() == 1);
  }
  SECTION("both filters, and the map with them") {
    kernel.remove(filter("eth0", TunnelEnd::decap));
    kernel.remove(filter("knet.udp", TunnelEnd::encap));
    CHECK(plan_lines(want, kernel).size() == 4);
  }
  SECTION("another program in a filter's place") { kernel.spoil_filter(filter("eth0", TunnelEnd::decap).key()); }
  SECTION("the device, while a peer leaves: the map lives on in the other end, and is cleared too") {
    kernel.remove_link(dev("knet.udp"));
    want.net.tunnel_peers.pop_back();
    want.net.routes.pop_back();
    const Lines lines = plan_lines(want, kernel);
    CHECK(any(lines, "replace filter dev eth0 ingress"));
    CHECK(any(lines, "remove tunnel peer 10.244.3.0/24"));
    CHECK_FALSE(any(lines, "tunnel peer 10.244.2.0/24"));
  }
  SECTION("the uplink is another NIC") {
    kernel.add_nic("eth1", "10.9.0.5/24");
    want = tunnel_node("eth1", "10.9.0.5");
    const Lines lines = plan_lines(want, kernel);
    CHECK(any(lines, "create filter dev eth1 ingress"));
    CHECK(any(lines, "remove filter dev eth0 ingress"));
    CHECK(any(lines, "replace filter dev knet.udp egress"));
    CHECK_FALSE(any(lines, "tunnel peer"));
  }
  SECTION("the underlay was replaced by one of the same name") {
    kernel.remove_link(dev("eth0"));
    kernel.add_nic("eth0", "192.168.77.1/24");
    const Lines lines = plan_lines(want, kernel);
    CHECK(any(lines, "create filter dev eth0 ingress"));
    CHECK(any(lines, "replace filter dev knet.udp egress"));
  }
  SECTION("userspace carries from now on") {
    want.net.filters.clear();
    want.net.tunnel_peers.clear();
  }
  CHECK(converge(want, kernel) == 1);
}

TEST_CASE("a stranger's TUN of our name: nothing is attached to it, nothing leads into it") {
  FakeKernel kernel = host();
  CHECK(kernel.add(tun("knet.udp", 1000)) == 0);
  const DesiredState want = tunnel_node();
  const Observed seen = kernel.observe(all_kinds());
  const Plan plan = diff(want, seen, own());
  CHECK(plan.empty());
  REQUIRE(plan.foreign.size() == 1);
  CHECK(plan.foreign[0].text.starts_with("link knet.udp type tun mtu 1000"));
  CHECK(plan.waiting == Lines{"7 objects wait for knet.udp, which is not ours"});
}

TEST_CASE("the kernel's ipip loses its underlay, and is made anew when there is one again") {
  FakeKernel kernel = host();
  DesiredState want;
  want.net.links = {ipip("knet.ipip", "192.168.77.1", "eth0")};
  converge(want, kernel);
  kernel.remove_link(dev("eth0"));
  CHECK(plan_lines(want, kernel).empty());  // one that stands is better than none
  CHECK(kernel.net().find_link(dev("knet.ipip")) != nullptr);
  kernel.add_nic("eth0", "192.168.77.1/24");
  CHECK(converge(want, kernel) == 1);
  SECTION("from the driver to a TUN of the same name") {
    want.net.links = {tun("knet.ipip")};
    CHECK(any(plan_lines(want, kernel), "(recreate)"));
    CHECK(converge(want, kernel) == 1);
  }
}

TEST_CASE("wireguard: keys, ports and peers change in place; a subnet goes from one peer to another") {
  FakeKernel kernel = host();
  DesiredState want;
  want.net.links = {wireguard("knet.wg")};
  want.net.wireguard_peers = {wireguard_peer("knet.wg", 2, "10.244.2.0/24", "192.168.77.2"),
                              wireguard_peer("knet.wg", 3, "10.244.3.0/24", "192.168.77.3")};
  converge(want, kernel);
  const int index = kernel.net().find_link(dev("knet.wg"))->index;
  SECTION("port") { want.net.links[0].wireguard->port = 4000; }
  SECTION("key") { want.net.links[0].wireguard->public_key.fill(9); }
  SECTION("a node that came anew has another key and the same subnet") {
    want.net.wireguard_peers[0] = wireguard_peer("knet.wg", 7, "10.244.2.0/24", "192.168.77.2");
    sort_by_key(want.net);
  }
  SECTION("subnets swapped") { std::swap(want.net.wireguard_peers[0].allowed, want.net.wireguard_peers[1].allowed); }
  SECTION("another address") { want.net.wireguard_peers[0].endpoint = ip("192.168.77.9"); }
  CHECK(converge(want, kernel) == 1);
  CHECK(kernel.net().find_link(dev("knet.wg"))->index == index);
}

TEST_CASE("a wireguard peer that told by itself where it is, is left there") {
  FakeKernel kernel = host();
  DesiredState want;
  want.net.links = {wireguard("knet.wg")};
  want.net.wireguard_peers = {wireguard_peer("knet.wg", 2, "10.244.2.0/24", "192.168.77.2")};
  converge(want, kernel);
  Observed seen = kernel.observe(all_kinds());
  seen.net.wireguard_peers[0].endpoint = ip("100.64.0.9");
  CHECK_FALSE(diff(want, seen, own()).empty());
  seen.net.wireguard_peers[0].roamed = true;
  CHECK(diff(want, seen, own()).empty());
}

TEST_CASE("a pod's MTU is lowered before anything goes another way, never raised") {
  FakeKernel kernel = host();
  kernel.add_pod_link(dev("knet00000000001"), 1500);
  DesiredState want = tunnel_node();
  want.net.pod_mtus = {pod_mtu("knet00000000001", 1472), pod_mtu("knet00000000002", 1472)};
  const Observed seen = kernel.observe(all_kinds());
  const Plan plan = diff(want, seen, own());
  CHECK(plan.stages.front().name == "pods' MTUs");
  CHECK(plan.stages.front().ops.size() == 1);  // the other pod is gone
  converge(want, kernel);
  CHECK(kernel.net().find_link(dev("knet00000000001"))->mtu == 1472);
  want.net.pod_mtus[0].mtu = 1500;
  CHECK(plan_lines(want, kernel).empty());
  want.net.pod_mtus.clear();
  CHECK(plan_lines(want, kernel).empty());
}

TEST_CASE("a shortcut comes last, goes first, is mended, and gives way where somebody else's filters stand") {
  FakeKernel kernel = host();
  DesiredState want = tunnel_node();
  want.net.shortcuts = {shortcut("eth0")};
  Observed seen = kernel.observe(all_kinds());
  CHECK(diff(want, seen, own()).stages.back().name == "shortcuts");
  converge(want, kernel);
  CHECK(kernel.net().shortcuts.size() == 1);
  SECTION("another knet's") {
    kernel.spoil_shortcut(dev("eth0"));
    CHECK(plan_lines(want, kernel) == Lines{"replace shortcut dev eth0 (differs)"});
    converge(want, kernel);
  }
  SECTION("filters of somebody's come") {
    kernel.hinder_shortcut(dev("eth0"));
    CHECK(plan_lines(want, kernel) == Lines{"replace shortcut dev eth0 (differs)"});
    converge(want, kernel);
    CHECK(kernel.net().shortcuts[0].hindered);
    want.net.shortcuts.clear();
    CHECK(plan_lines(want, kernel).empty());
  }
  SECTION("its device is not there") {
    want.net.shortcuts = {shortcut("eth0"), shortcut("knet00000000001")};
    CHECK(plan_lines(want, kernel).empty());
  }
  SECTION("not wanted any more") {
    want.net.shortcuts.clear();
    seen = kernel.observe(all_kinds());
    CHECK(diff(want, seen, own()).stages.front().name == "remove shortcuts");
    want.hold.set(static_cast<size_t>(Kind::shortcut));
    CHECK(plan_lines(want, kernel).empty());
  }
}

TEST_CASE("a route over several next hops: what makes it differ, and what it waits for") {
  FakeKernel kernel;
  kernel.add_nic("eth0", "192.168.77.1/24");
  kernel.add_nic("eth1", "10.9.0.5/24");
  DesiredState want;
  want.net.routes = {with_hop(route("10.244.2.0/24", "eth1", "10.9.0.7"), "eth0", "192.168.77.7")};
  const auto plan_lines = [&] {
    const Observed seen = kernel.observe(all_kinds());
    return describe(diff(want, seen, own()));
  };
  const auto mend = [&] {
    const Observed seen = kernel.observe(all_kinds());
    CHECK(kernel.apply(diff(want, seen, own())).empty());
    CHECK(plan_lines().empty());
  };
  const std::string text =
      "route 10.244.2.0/24 nexthop via 192.168.77.7 dev eth0 nexthop via 10.9.0.7 dev eth1";
  CHECK(plan_lines() == Lines{"create " + text + " (missing)"});
  mend();
  SECTION("each part of each next hop counts") {
    Route& mine = want.net.routes[0];
    const Route before = mine;
    for (int part = 0; part < 6; ++part) {
      mine = before;
      if (part == 0) mine.others[0].via = ip("10.9.0.8");
      if (part == 1) mine.others[0].dev = dev("eth0");
      if (part == 2) mine.others[0].onlink = true;
      if (part == 3) mine.others.clear();
      if (part == 4) mine.others.push_back({dev("eth1"), ip("10.9.0.9"), false});
      if (part == 5) mine.via = ip("192.168.77.6");
      INFO("part " << part);
      CHECK(plan_lines().size() == 1);
      CHECK(plan_lines()[0].starts_with("replace route 10.244.2.0/24"));
    }
  }
  SECTION("one of its devices is down: its next hop is dead, the route stays") {
    kernel.set_up(dev("eth1"), false);
    CHECK(plan_lines().empty());
    CHECK(std::any_of(kernel.net().routes.begin(), kernel.net().routes.end(),
                      [](const Route& r) { return r.others.size() == 1; }));
  }
  SECTION("one of its devices is gone: it waits for it") {
    kernel.remove_link(dev("eth1"));
    const Observed seen = kernel.observe(all_kinds());
    const Plan plan = diff(want, seen, own());
    CHECK(plan.empty());
    CHECK(plan.waiting == Lines{"1 object waits for eth1, which is not there"});
    kernel.add_nic("eth1", "10.9.0.5/24");
    CHECK(plan_lines() == Lines{"create " + text + " (missing)"});
  }
  SECTION("not wanted any more, while one of its devices comes up again") {
    kernel.set_up(dev("eth1"), false);
    want.net.routes.clear();
    CHECK(plan_lines() == Lines{"remove " + text + " (unwanted)"});
    mend();
  }
}

TEST_CASE("kinds on hold: nothing is removed as unwanted, all else goes on") {
  FakeKernel kernel = host();
  DesiredState want = vxlan_node();
  Observed seen = kernel.observe(all_kinds());
  kernel.apply(diff(want, seen, own()));
  DesiredState fewer = want;
  std::erase_if(fewer.net.routes, [](const Route& r) { return r.dst == prefix("10.244.3.0/24"); });
  std::erase_if(fewer.net.nexthops, [](const Nexthop& n) { return n.via == ip("10.244.3.0"); });
  std::erase_if(fewer.net.neighbors, [](const Neighbor& n) { return n.ip == ip("10.244.3.0"); });
  for (Route& r : fewer.net.routes)
    if (r.dst == prefix("10.244.2.0/24")) r.mtu = 1300;
  fewer.hold = only(Kind::route) | only(Kind::nexthop);
  seen = kernel.observe(all_kinds());
  CHECK(describe(diff(fewer, seen, own())) ==
        Lines{"replace route 10.244.2.0/24 via 10.244.2.0 dev knet.1 mtu 1300 onlink (differs)",
              "remove neigh 10.244.3.0 dev knet.1 lladdr 02:00:00:00:00:03 (unwanted)"});
  SECTION("a device that is made anew still goes first") {
    fewer.net.links[0].vxlan->port = 4789;
    kernel.apply(diff(fewer, seen, own()));
    seen = kernel.observe(all_kinds());
    CHECK(describe(diff(fewer, seen, own())).empty());
  }
  SECTION("a device that is not wanted stays with what goes over it") {
    fewer.hold.set(static_cast<size_t>(Kind::link));
    fewer.net = {};
    for (const std::string& line : describe(diff(fewer, seen, own()))) CHECK(line.find(" link ") == std::string::npos);
  }
  SECTION("released") {
    fewer.hold = {};
    kernel.apply(diff(fewer, seen, own()));
    CHECK(std::none_of(kernel.net().routes.begin(), kernel.net().routes.end(),
                       [](const Route& r) { return r.dst == prefix("10.244.3.0/24"); }));
  }
}
