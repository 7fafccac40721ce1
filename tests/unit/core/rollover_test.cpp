#include "core/rollover.h"

#include <catch2/catch.hpp>

#include <limits>

#include "core/membership.h"
#include "tests/support/make.h"
#include "tests/unit/core/test_modes.h"

using namespace knet;
using namespace knet::test;
using namespace std::chrono_literals;

namespace {

const Rollover::Time kStart{1000s};

NetworkConfig changing(const std::string& to, const std::vector<std::string>& earlier) {
  NetworkConfig config;
  config.mode = to;
  for (const std::string& mode : earlier) config.earlier.emplace_back(mode, ModeOptions{});
  return config;
}

}  // namespace

TEST_CASE("a node without a lease announces the config's mode, another one its own until the new one stands") {
  const NetworkConfig config = changing("host-gw", {"vxlan"});
  CHECK(Rollover::to_announce(config, "", false) == "host-gw");
  CHECK(Rollover::to_announce(config, "vxlan", false) == "vxlan");
  CHECK(Rollover::to_announce(config, "vxlan", true) == "host-gw");
  CHECK(Rollover::to_announce(config, "host-gw", false) == "host-gw");
  // What the config has done with, or never knew (knet init --force), is not held on to.
  CHECK(Rollover::to_announce(changing("host-gw", {}), "vxlan", false) == "host-gw");
}

TEST_CASE("the mode before is received until all have acted on the announcement, and 5 s more") {
  const NetworkConfig config = changing("host-gw", {"vxlan"});
  Rollover rollover;
  rollover.announced("vxlan", "host-gw", 20, 1'700'000'000);
  CHECK(rollover.modes() == std::vector<std::string>{"vxlan"});
  CHECK(rollover.awaited() == 20);
  CHECK(rollover.reap(config, 19, kStart).empty());
  CHECK_FALSE(rollover.due());
  CHECK(rollover.reap(config, 20, kStart + 1s).empty());
  REQUIRE(rollover.due());
  CHECK(*rollover.due() == kStart + 6s);
  CHECK(rollover.reap(config, 25, kStart + 5999ms).empty());

  SECTION("then no more") {
    CHECK(rollover.reap(config, 25, kStart + 6s) == std::vector<std::string>{"vxlan"});
    CHECK(rollover.empty());
  }
  SECTION("a node that began anew, or gives no sign of life any more, is waited for again") {
    CHECK(rollover.reap(config, 0, kStart + 6s).empty());
    CHECK_FALSE(rollover.due());
    CHECK(rollover.reap(config, 30, kStart + 60s).empty());
    CHECK(rollover.reap(config, 30, kStart + 65s).size() == 1);
  }
  SECTION("knet mode finish ends it at once") {
    CHECK(rollover.reap(changing("host-gw", {}), 0, kStart + 2s).size() == 1);
  }
  SECTION("a store that was restored from a backup counts from there") {
    rollover.went_back(7);
    CHECK(rollover.awaited() == 7);
    CHECK(rollover.reap(config, 7, kStart + 10s).empty());
    CHECK(rollover.reap(config, 7, kStart + 15s).size() == 1);
  }
  SECTION("it is kept over a restart") {
    Rollover next;
    next.restore(rollover.received());
    CHECK(next.modes() == rollover.modes());
    CHECK(next.reap(config, 25, kStart + 6s).empty());  // its 5 s begin anew
    CHECK(next.reap(config, 25, kStart + 11s).size() == 1);
  }
}

TEST_CASE("a second change in the middle, and one back") {
  Rollover rollover;
  rollover.announced("vxlan", "host-gw", 20, 1);
  rollover.announced("host-gw", "udp", 30, 2);
  CHECK(rollover.modes() == std::vector<std::string>{"vxlan", "host-gw"});
  const NetworkConfig config = changing("udp", {"host-gw", "vxlan"});
  CHECK(rollover.reap(config, 25, kStart).empty());
  CHECK(rollover.reap(config, 25, kStart + 5s) == std::vector<std::string>{"vxlan"});
  // Back: what is announced again is no earlier one any more.
  rollover.announced("udp", "host-gw", 40, 3);
  CHECK(rollover.modes() == std::vector<std::string>{"udp"});
}

TEST_CASE("what all others have seen: by presence, none for who gives no sign of life") {
  Membership cluster(StorePaths{}, test::modes());
  const StorePaths paths;
  Revision rev = 10;
  const auto put = [&](const std::string& key, const std::string& value) {
    cluster.apply({key, value, false, 1, ++rev}, {});
  };
  const auto lease = [&](int number) {
    Lease lease;
    lease.subnet = prefix("10.244." + std::to_string(number) + ".0/24");
    lease.public_ip = ip("192.168.77." + std::to_string(number));
    lease.mode = "host-gw";
    put(paths.subnet(format_subnet_key(lease.subnet, {})), format_lease(lease));
    return lease;
  };
  const auto seen = [&](int number, Revision revision) {
    NodeRecord node;
    node.name = "n" + std::to_string(number);
    node.subnets = {prefix("10.244." + std::to_string(number) + ".0/24")};
    node.seen_rev = revision;
    node.receives = {"vxlan"};
    node.modes = {{"vxlan", ""}};
    put(paths.node(node.name), format_node(node));
  };
  const Lease own = lease(1);
  CHECK(cluster.seen_by_all(own) == std::numeric_limits<Revision>::max());
  lease(2);
  lease(3);
  seen(1, 3);
  seen(2, 40);
  CHECK(cluster.seen_by_all(own) == 0);
  seen(3, 30);
  CHECK(cluster.seen_by_all(own) == 30);
  CHECK(cluster.nodes().at("n2").receives.empty());  // display is not kept
  CHECK(cluster.nodes().at("n2").modes.empty());
  cluster.apply({paths.node("n3"), "", true, 0, ++rev}, {});
  CHECK(cluster.seen_by_all(own) == 0);
  cluster.apply({paths.subnet("10.244.3.0-24"), "", true, 0, ++rev}, {});
  CHECK(cluster.seen_by_all(own) == 40);
}

TEST_CASE("a node's record tells what it receives and what its kernel runs; odd values are passed over") {
  NodeRecord node;
  node.name = "n1";
  node.receives = {"vxlan"};
  node.modes = {{"udp", ""}, {"wireguard", "this kernel has no wireguard driver"}};
  CHECK(parse_node(format_node(node)) == node);
  const NodeRecord odd = parse_node(R"({"schema":1,"name":"n1","receives":[1,"vxlan",null],"modes":{"udp":true,"vxlan":""}})");
  CHECK(odd.receives == std::vector<std::string>{"vxlan"});
  CHECK(odd.modes == std::vector<std::pair<std::string, std::string>>{{"vxlan", ""}});
  CHECK(parse_node(R"({"schema":1,"name":"n1","receives":"vxlan","modes":[]})").receives.empty());
}

namespace {

// n1 sees n2 and n3, which announce bgp at revisions 20 and 21.
ClusterView learning_view() {
  ClusterView view = view_of("host-gw");
  view.config = changing("bgp", {"host-gw"});
  view.config.network = prefix("10.244.0.0/16");
  add_peer(view, 2, "bgp").rev = 20;
  add_peer(view, 3, "bgp").rev = 21;
  return view;
}

void learn(ClusterView& view, const std::vector<std::string>& prefixes) {
  auto routes = std::make_shared<std::vector<LearnedRoute>>();
  for (const std::string& text : prefixes) routes->push_back({prefix(text), ip("192.168.77.2"), ip("192.168.77.2"), {}});
  view.learned = routes;
}

std::string modes_of(const ClusterView& view) {
  std::string text;
  for (const Lease& lease : view.leases) text += (text.empty() ? "" : " ") + lease.mode;
  return text;
}

}  // namespace

TEST_CASE("peers that announce bgp are reached as before until their routes are learned") {
  ClusterView view = learning_view();
  std::vector<Lease> before = view.leases;
  for (Lease& lease : before) lease.mode = "host-gw";

  SECTION("none is learned") {
    CHECK(keep_former_ways(view, before) == 20);
    CHECK(modes_of(view) == "host-gw host-gw");
    CHECK(view.bgp.joined == std::vector<IpAddr>{ip("192.168.77.2"), ip("192.168.77.3")});
  }
  SECTION("one is; a route for the whole network is not for its subnet") {
    learn(view, {"10.244.0.0/16", "10.244.2.0/24"});
    CHECK(keep_former_ways(view, before) == 21);
    CHECK(modes_of(view) == "bgp host-gw");
    CHECK(view.bgp.joined == std::vector<IpAddr>{ip("192.168.77.3")});
  }
  SECTION("an aggregate of some subnets will do") {
    learn(view, {"10.244.2.0/23"});
    CHECK(keep_former_ways(view, before) == 0);
    CHECK(modes_of(view) == "bgp bgp");
    CHECK(view.bgp.joined.empty());
  }
  SECTION("who was reached by bgp once, is new, has moved, or was reached by a mode that is finished is not") {
    before[0].mode = "bgp";
    before[1].public_ip = ip("192.168.77.33");
    CHECK(keep_former_ways(view, before) == 0);
    before[1].public_ip = ip("192.168.77.3");
    before[1].mode = "vxlan";
    CHECK(keep_former_ways(view, before) == 0);
    CHECK(keep_former_ways(view, {}) == 0);
    CHECK(modes_of(view) == "bgp bgp");
  }
  SECTION("both subnets of a dual-stack peer must be learned") {
    view.config.enable_v6 = true;
    view.config.network6 = prefix("fd10::/48");
    for (auto* leases : {&view.leases, &before}) (*leases)[0].subnet6 = prefix("fd10:0:0:2::/64");
    learn(view, {"10.244.2.0/24"});
    CHECK(keep_former_ways(view, before) == 20);
    learn(view, {"10.244.2.0/24", "fd10:0:0:2::/64"});
    for (Lease& lease : view.leases) lease.mode = "bgp";
    view.leases[0].rev = 20;
    view.leases[1].rev = 21;
    CHECK(keep_former_ways(view, before) == 21);
  }
  SECTION("when the cluster changes away from bgp, those who went on still speak to the others") {
    view.config = changing("host-gw", {"bgp"});
    view.config.network = prefix("10.244.0.0/16");
    for (Lease& lease : before) lease.mode = "bgp";
    view.leases[0].mode = "host-gw";
    learn(view, {"10.244.2.0/24", "10.244.3.0/24"});
    CHECK(keep_former_ways(view, before) == 0);
    CHECK(modes_of(view) == "host-gw bgp");
    CHECK(view.bgp.joined == std::vector<IpAddr>{ip("192.168.77.2")});
    take_learned_ways(view);
    CHECK(modes_of(view) == "host-gw bgp");
    CHECK(view.bgp.joined.size() == 1);
  }
  SECTION("without the store, those that have joined are taken over as they are learned") {
    keep_former_ways(view, before);
    learn(view, {"10.244.3.0/24"});
    take_learned_ways(view);
    CHECK(modes_of(view) == "host-gw bgp");
    CHECK(view.bgp.joined == std::vector<IpAddr>{ip("192.168.77.2")});
  }
}
