#include "agent/mode_change.h"

#include <catch2/catch.hpp>

#include "agent/reconciler.h"
#include "base/error.h"
#include "core/membership.h"
#include "core/rollover.h"
#include "modes_table.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/make.h"
#include "tests/support/mem_store.h"

using namespace knet;
using namespace knet::test;
using namespace std::chrono_literals;

namespace {

using Lines = std::vector<std::string>;

// A cluster in vxlan with nodes n1, n2, as their agents keep it in the store.
struct Cluster {
  MemStore store;
  ClusterStore cluster{store, StorePaths{}};
  std::map<std::string, Lease> leases;
  std::map<std::string, Presence> presences;
  std::map<std::string, NodeRecord> records;

  Cluster() {
    cluster.create_config(R"({"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":7}})");
    join("n1", 1);
    join("n2", 2);
  }
  NetworkConfig config() { return parse_network_config(cluster.load_config()->json, mode_registry()); }
  AcquireRequest request(const std::string& name, int number) {
    AcquireRequest request;
    request.node.name = name;
    request.node.machine_id = "m-" + name;
    request.node.public_ip = ip("192.168.77." + std::to_string(number));
    request.config = config();
    request.mode = "vxlan";
    request.data.v4 = R"({"VNI":7,"VtepMAC":"02:00:00:00:00:0)" + std::to_string(number) + "\"}";
    return request;
  }
  void join(const std::string& name, int number) {
    Acquired acquired = cluster.acquire(request(name, number));
    leases[name] = acquired.lease;
    presences[name] = acquired.presence;
    records[name] = request(name, number).node;
    tell(name, 0);
  }
  void tell(const std::string& name, Revision seen, const Lines& receives = {},
            std::vector<std::pair<std::string, std::string>> modes = {}) {
    NodeRecord& record = records[name];
    record.subnets = {leases[name].subnet};
    record.seen_rev = seen;
    record.receives = receives;
    record.modes = std::move(modes);
    cluster.refresh(record, presences[name]);
  }
  Lease announce(const std::string& name, const std::string& mode) {
    Lease content = leases[name];
    content.mode = mode;
    content.data = {};
    leases[name] = cluster.update_lease(leases[name], content).value();
    return leases[name];
  }
  ModeSetReport set(const std::string& mode, const Lines& options = {}, bool force = false, bool dry_run = false) {
    return set_mode(cluster, mode_registry(), {mode, options, force, dry_run});
  }
  std::string refusal(const std::string& mode, const Lines& options = {}) {
    try {
      set(mode, options);
    } catch (const Error& error) {
      return error.text;
    }
    return {};
  }
  Membership membership() {
    Membership all(StorePaths{}, mode_registry());
    std::vector<StoreEvent> events;
    const Revision rev = store.for_each(StorePaths{}.prefix + "/", [&](KeyValue&& item) {
      events.push_back({item.key, item.value, false, item.lease, item.mod_rev});
    });
    all.replace(std::move(events), rev, {});
    return all;
  }
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("mode set holds the datapath that is asked for against what the nodes told") {
  Cluster cluster;
  cluster.tell("n1", 0, {}, {{"ipip", ""}, {"ipip/kernel", "Datapath kernel: this kernel has no ipip driver"}});
  CHECK(has(cluster.refusal("ipip", {"Datapath=kernel"}), "n1 can't run it: Datapath kernel: this kernel has no ipip driver"));
  CHECK(cluster.config().mode == "vxlan");
  CHECK(cluster.refusal("ipip", {"Datapath=user"}).empty());
  CHECK(cluster.config().mode == "ipip");
}

TEST_CASE("mode set writes the new mode and keeps the one before with its options") {
  Cluster cluster;
  const ModeSetReport dry = cluster.set("host-gw", {}, false, true);
  CHECK(dry.changes);
  CHECK(cluster.config().mode == "vxlan");
  const ModeSetReport report = cluster.set("host-gw");
  CHECK(report.nodes == 2);
  const NetworkConfig config = cluster.config();
  CHECK(config.mode == "host-gw");
  REQUIRE(config.earlier.size() == 1);
  CHECK(config.earlier[0].first == "vxlan");
  CHECK(config.as_mode("vxlan").option_int("VNI", 1) == 7);

  // On to a third one while n2 is still in the first: both are kept, the latest first; what nobody uses is not.
  cluster.announce("n1", "host-gw");
  cluster.set("alloc");
  REQUIRE(cluster.config().earlier.size() == 2);
  CHECK(cluster.config().earlier[0].first == "host-gw");
  cluster.announce("n2", "host-gw");
  cluster.set("vxlan", {"VNI=7"});
  REQUIRE(cluster.config().earlier.size() == 2);
  CHECK(cluster.config().earlier[1].first == "host-gw");
}

TEST_CASE("mode set refuses what can't go well, and names it") {
  Cluster cluster;
  CHECK_FALSE(cluster.set("vxlan").changes);
  CHECK(has(cluster.refusal("vxlan", {"VNI=8"}), "can't be changed over one by one"));
  CHECK(has(cluster.refusal("vxlan", {"VNI=7", "DirectRouting=true"}), "knet config set"));
  CHECK(has(cluster.refusal("vxlam"), "did you mean vxlan"));
  CHECK(has(cluster.refusal("host-gw", {"VNI=8"}), "has no option VNI"));

  cluster.tell("n2", 0, {}, {{"host-gw", "no uplink in the world"}, {"vxlan", ""}});
  CHECK(has(cluster.refusal("host-gw"), "n2 can't run it: no uplink in the world"));
  CHECK(has(cluster.refusal("alloc"), "n2 has no mode alloc"));
  CHECK(cluster.config().mode == "vxlan");
  cluster.tell("n2", 0);

  Lease flannel;
  flannel.subnet = prefix("10.244.99.0/24");
  flannel.public_ip = ip("192.168.77.99");
  flannel.mode = "vxlan";
  flannel.data.v4 = R"({"VNI":7,"VtepMAC":"02:00:00:00:00:99"})";
  REQUIRE(cluster.store.create(StorePaths{}.subnet("10.244.99.0-24"), format_lease(flannel), 0));
  const std::string why = cluster.refusal("host-gw");
  CHECK(has(why, "192.168.77.99"));
  CHECK(has(why, "--force"));
  const ModeSetReport forced = cluster.set("host-gw", {}, true);
  REQUIRE(forced.notices.size() == 1);
  CHECK(cluster.config().mode == "host-gw");
}

TEST_CASE("progress, and the end by hand") {
  Cluster cluster;
  CHECK(finish_mode(cluster.cluster, mode_registry(), false, false).finished.empty());
  cluster.set("host-gw");
  cluster.announce("n1", "host-gw");
  cluster.tell("n1", 0, {"vxlan"});
  ModeProgress progress = mode_progress(cluster.cluster, cluster.config());
  REQUIRE(progress.nodes.size() == 2);
  CHECK(progress.nodes[0].announced == "host-gw");
  CHECK(progress.nodes[0].why == "still receives vxlan");
  CHECK(progress.nodes[1].why == "announces vxlan");
  CHECK_FALSE(progress.over());
  CHECK_THROWS_WITH(finish_mode(cluster.cluster, mode_registry(), false, false), Catch::Contains("n2 still announces vxlan"));
  CHECK_FALSE(cluster.config().earlier.empty());

  cluster.announce("n2", "host-gw");
  cluster.tell("n1", 0);
  CHECK(mode_progress(cluster.cluster, cluster.config()).over());
  CHECK_FALSE(finish_mode(cluster.cluster, mode_registry(), false, true).finished.empty());
  CHECK_FALSE(cluster.config().earlier.empty());
  CHECK(finish_mode(cluster.cluster, mode_registry(), false, false).finished == Lines{"vxlan"});
  CHECK(cluster.config().earlier.empty());
  CHECK(cluster.config().mode == "host-gw");
}

TEST_CASE("the order: the receiving side stands, is announced, the other follows, the one before goes") {
  Cluster cluster;
  FakeKernel kernel;
  kernel.add_nic("eth0", "192.168.77.1/24");
  kernel.set_sysctl("net/ipv4/ip_forward", "0");
  Reconciler reconciler(kernel, mode_registry());
  Reconciler::Time now{1000s};
  Rollover rollover;
  const auto look = [&] {
    auto view = std::make_shared<ClusterView>(view_of("host-gw"));
    view->config = cluster.config();
    view->self.lease = cluster.leases["n1"];
    view->self.receive = rollover.modes();
    cluster.membership().fill(*view);
    reconciler.set_view(view, true);
    for (int turns = 0; turns == 0 || (reconciler.dirty() && turns < 10); ++turns) reconciler.run(now);
  };
  const auto to_n2 = [&] {
    for (const Route& route : kernel.net().routes)
      if (route.dst == cluster.leases["n2"].subnet) return route.dev.str();
    return std::string("nowhere");
  };
  const auto device_there = [&] { return kernel.net().find_link(dev("knet.7")) != nullptr; };

  // From host-gw to vxlan, whose device can't be made at first.
  cluster.announce("n1", "host-gw");
  cluster.announce("n2", "host-gw");
  cluster.cluster.force_config(R"({"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}})");
  look();
  CHECK(reconciler.stands("host-gw"));
  CHECK(reconciler.peers_stand());
  CHECK(to_n2() == "eth0");
  cluster.set("vxlan", {"VNI=7"});
  kernel.fail("knet.7", EBUSY);
  look();
  CHECK_FALSE(device_there());
  CHECK_FALSE(reconciler.stands("vxlan"));
  CHECK(reconciler.peers_stand());  // n2 is sent to as ever
  CHECK(Rollover::to_announce(cluster.config(), cluster.leases["n1"].mode, reconciler.stands("vxlan")) == "host-gw");
  now += 100ms;  // it has to wait for its next try: held back is not standing either
  reconciler.mark(only(Kind::route), now);
  reconciler.run(now);
  CHECK_FALSE(reconciler.stands("vxlan"));
  kernel.heal();
  now += 10s;
  reconciler.mark(all_kinds(), now);
  for (int turns = 0; turns == 0 || (reconciler.dirty() && turns < 10); ++turns) reconciler.run(now);
  CHECK(device_there());
  CHECK(reconciler.stands("vxlan"));
  CHECK(to_n2() == "eth0");  // who announces host-gw is sent to by it
  REQUIRE(Rollover::to_announce(cluster.config(), cluster.leases["n1"].mode, reconciler.stands("vxlan")) == "vxlan");

  const std::string before = cluster.leases["n1"].mode;
  const Lease announced = cluster.announce("n1", "vxlan");
  rollover.announced(before, announced.mode, announced.rev, 1);
  look();
  CHECK(reconciler.view()->self.receive == Lines{"host-gw"});
  CHECK(rollover.reap(cluster.config(), cluster.membership().seen_by_all(announced), now).empty());

  // n2 follows: its route changes over; a route that can't be made is nothing that n1 has acted on.
  Lease other = cluster.leases["n2"];
  other.mode = "vxlan";
  other.data.v4 = R"({"VNI":7,"VtepMAC":"02:00:00:00:00:02"})";
  cluster.leases["n2"] = cluster.cluster.update_lease(cluster.leases["n2"], other).value();
  kernel.fail("route " + other.subnet.str(), ENOBUFS, 1);
  look();
  CHECK_FALSE(reconciler.peers_stand());
  CHECK(reconciler.stands("vxlan"));
  CHECK(to_n2() != "knet.7");
  now += 10s;
  reconciler.mark(all_kinds(), now);
  for (int turns = 0; turns == 0 || (reconciler.dirty() && turns < 10); ++turns) reconciler.run(now);
  CHECK(reconciler.peers_stand());
  CHECK(to_n2() == "knet.7");

  cluster.tell("n2", announced.rev);
  CHECK(rollover.reap(cluster.config(), cluster.membership().seen_by_all(announced), now).empty());
  CHECK(rollover.reap(cluster.config(), cluster.membership().seen_by_all(announced), now + 5s) == Lines{"host-gw"});
}

TEST_CASE("a mode that is blocked does not stand; lines about a pod's link keep nobody") {
  FakeKernel kernel;
  kernel.add_nic("eth0", "192.168.77.1/24");
  Reconciler reconciler(kernel, mode_registry());
  auto view = std::make_shared<ClusterView>(view_of("vxlan"));
  view->config.earlier = {{"host-gw", {}}};
  view->config.mode = "host-gw";
  view->config.earlier = {{"vxlan", {}}};
  view->self.public_ip = ip("203.0.113.1");  // not the interface's: host-gw can't be
  reconciler.set_view(view, true);
  Reconciler::Time now{1000s};
  for (int turns = 0; turns == 0 || (reconciler.dirty() && turns < 10); ++turns) reconciler.run(now);
  CHECK_FALSE(reconciler.desired()->blockers.empty());
  CHECK_FALSE(reconciler.stands("host-gw"));
  CHECK(reconciler.stands("vxlan"));

  CHECK(waits_for_pod("1 object waits for knet5e1c0a9b7d2, which is not there"));
  CHECK(waits_for_pod("3 objects wait for knet5e1c0a9b7d2, which is down"));
  CHECK_FALSE(waits_for_pod("knet.7 waits for eth0, which is not there"));
}
