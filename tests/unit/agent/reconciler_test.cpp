#include "agent/reconciler.h"

#include <catch2/catch.hpp>

#include "base/error.h"
#include "modes_table.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;
using namespace std::chrono_literals;

namespace {

// Node n1 in host-gw with two peers on link, on a kernel in memory, at a time that stands still until moved.
struct Bench {
  FakeKernel kernel;
  Reconciler reconciler{kernel, mode_registry()};
  Reconciler::Time now{1000s};
  std::shared_ptr<ClusterView> view;

  explicit Bench(const std::string& mode = "host-gw") {
    kernel.add_nic("eth0", "192.168.77.1/24");
    kernel.set_sysctl("net/ipv4/ip_forward", "0");
    view = std::make_shared<ClusterView>(view_of(mode));
    add_peer(*view, 2, mode);
    add_peer(*view, 3, mode);
  }
  void give(bool complete = true) { reconciler.set_view(view, complete); }
  Reconciler::Turn run() { return reconciler.run(now); }
  /// Until nothing is dirty any more; the last turn.
  Reconciler::Turn settle() {
    Reconciler::Turn turn = run();
    for (int i = 0; i < 10 && reconciler.dirty(); ++i) turn = run();
    REQUIRE_FALSE(reconciler.dirty());
    return turn;
  }
  bool has_route(const std::string& dst) const {
    for (const Route& route : kernel.net().routes)
      if (route.dst == prefix(dst)) return true;
    return false;
  }
  int drop_route(const std::string& dst) {
    for (const Route& route : kernel.net().routes)
      if (route.dst == prefix(dst)) return kernel.remove(Route(route));
    return -1;
  }
};

}  // namespace

TEST_CASE("a view is put into the kernel, and then nothing is left to do") {
  Bench bench;
  bench.give();
  const auto turn = bench.run();
  CHECK(turn.applied > 0);
  CAPTURE(turn.failures);
  CHECK(turn.failed == 0);
  CHECK(turn.converged);
  CHECK_FALSE(turn.repair);
  CHECK(bench.has_route("10.244.2.0/24"));
  CHECK(bench.has_route("10.244.3.0/24"));
  CHECK(bench.has_route("10.244.1.0/24"));
  bench.settle();
  bench.kernel.forget_log();
  bench.reconciler.mark(all_kinds(), bench.now);
  CHECK(bench.run().applied == 0);
  CHECK(bench.kernel.log().empty());
}

TEST_CASE("without a view nothing is touched") {
  Bench bench;
  CHECK(bench.run().applied == 0);
  CHECK(bench.kernel.log().empty());
  CHECK(bench.reconciler.desired() == nullptr);
}

TEST_CASE("a peer that left is taken away, and what others did is a repair") {
  Bench bench;
  bench.give();
  bench.settle();
  REQUIRE(bench.drop_route("10.244.2.0/24") == 0);
  bench.reconciler.mark(only(Kind::route), bench.now);
  const auto repair = bench.run();
  CHECK(repair.repair);
  CHECK(repair.applied == 1);
  CHECK(bench.has_route("10.244.2.0/24"));

  bench.view = std::make_shared<ClusterView>(*bench.view);
  bench.view->leases.pop_back();
  bench.view->names.pop_back();
  bench.give();
  const auto change = bench.run();
  CHECK_FALSE(change.repair);
  CHECK_FALSE(bench.has_route("10.244.3.0/24"));
  CHECK(bench.has_route("10.244.2.0/24"));
}

TEST_CASE("where a peer is reached another way, the old one stays for what is on its way") {
  Bench bench("vxlan");
  bench.view->leases.clear();
  bench.view->names.clear();
  add_peer(*bench.view, 2, "vxlan", R"({"VNI":1,"VtepMAC":"02:00:00:00:00:02"})");
  add_peer(*bench.view, 3, "vxlan", R"({"VNI":1,"VtepMAC":"02:00:00:00:00:03"})");
  bench.view->self.lease.data.v4 = R"({"VNI":1,"VtepMAC":"02:00:00:00:00:01"})";
  bench.give();
  bench.settle();
  REQUIRE(bench.kernel.net().fdb.size() == 2);
  auto other = std::make_shared<ClusterView>(*bench.view);
  other->leases[0].mode = "host-gw";
  bench.view = other;
  bench.give();
  bench.settle();
  CHECK(std::any_of(bench.kernel.net().routes.begin(), bench.kernel.net().routes.end(), [](const Route& route) {
    return route.dst == prefix("10.244.2.0/24") && route.dev.view() == "eth0";
  }));
  CHECK(bench.kernel.net().fdb.size() == 2);
  CHECK(bench.kernel.net().neighbors.size() == 2);
  REQUIRE(bench.reconciler.due() == bench.now + Reconciler::kOldWays);
  bench.now = bench.reconciler.due();
  const auto turn = bench.run();
  CHECK(turn.applied > 0);
  CHECK_FALSE(turn.repair);
  CHECK(bench.kernel.net().fdb.size() == 1);
  CHECK(bench.kernel.net().neighbors.size() == 1);
  CHECK(bench.reconciler.due() > bench.now + Reconciler::kOldWays);
}

TEST_CASE("the cached view adds, and neither removes nor replaces what peers have") {
  Bench bench;
  // From an earlier life: a peer that the cache lacks, and one with another gateway.
  REQUIRE(bench.kernel.add(route("10.244.9.0/24", "eth0", "192.168.77.9")) == 0);
  REQUIRE(bench.kernel.add(route("10.244.2.0/24", "eth0", "192.168.77.22")) == 0);
  bench.give(false);
  bench.run();
  CHECK(bench.has_route("10.244.3.0/24"));
  CHECK(bench.has_route("10.244.9.0/24"));
  for (const Route& route : bench.kernel.net().routes)
    if (route.dst == prefix("10.244.2.0/24")) CHECK(route.via == ip("192.168.77.22"));

  bench.give(true);
  bench.settle();
  CHECK_FALSE(bench.has_route("10.244.9.0/24"));
  for (const Route& route : bench.kernel.net().routes)
    if (route.dst == prefix("10.244.2.0/24")) CHECK(route.via == ip("192.168.77.2"));
}

TEST_CASE("a failed object is tried again, each time later, and the others stand meanwhile") {
  Bench bench;
  bench.kernel.fail("route 10.244.2.0/24", ENOBUFS);
  bench.give();
  auto turn = bench.run();
  CHECK(turn.failed >= 1);
  CHECK_FALSE(turn.converged);
  CHECK(bench.has_route("10.244.3.0/24"));
  const auto failures = bench.reconciler.holdback().failures(bench.now);
  REQUIRE_FALSE(failures.empty());
  CHECK(failures.begin()->second.find("buffer space") != std::string::npos);

  // Not before its time.
  bench.kernel.forget_log();
  bench.now += 100ms;
  bench.reconciler.mark(only(Kind::route), bench.now);
  bench.run();
  CHECK(bench.kernel.log().empty());

  auto wait = 200ms;
  for (int tries = 0; tries < 5; ++tries) {
    const auto due = bench.reconciler.holdback().due();
    REQUIRE(due);
    CHECK(*due <= bench.now + wait);
    bench.now = *due;
    bench.kernel.forget_log();
    CHECK(bench.run().failed >= 1);
    CHECK_FALSE(bench.kernel.log().empty());
    wait *= 2;
  }
  const auto long_wait = *bench.reconciler.holdback().due() - bench.now;
  CHECK(long_wait > 5s);

  // The link came back, say: what failed is tried at once, and is forgotten when it works.
  bench.kernel.heal();
  bench.reconciler.mark(all_kinds(), bench.now);
  turn = bench.run();
  CHECK(turn.converged);
  CHECK(bench.has_route("10.244.2.0/24"));
  CHECK(bench.reconciler.holdback().failing() == 0);
}

TEST_CASE("a turn that breaks off is made up for by the next") {
  struct Breaking : Plane {
    FakeKernel kernel;
    bool broken = true;
    Observed observe(Kinds kinds) override { return kernel.observe(kinds); }
    std::vector<OpResult> apply(const Plan& plan) override {
      if (broken) knet::fail(ErrorKind::kernel, "no buffer space");
      return kernel.apply(plan);
    }
  } plane;
  plane.kernel.add_nic("eth0", "192.168.77.1/24");
  plane.kernel.set_sysctl("net/ipv4/ip_forward", "0");
  auto view = std::make_shared<ClusterView>(view_of("host-gw"));
  add_peer(*view, 2, "host-gw");
  Reconciler reconciler(plane, mode_registry());
  reconciler.set_view(view, true);
  const Reconciler::Time now(1000s);
  CHECK_THROWS_AS(reconciler.run(now), Error);
  CHECK(reconciler.dirty());
  plane.broken = false;
  CHECK(reconciler.run(now + 1s).applied > 0);
}

TEST_CASE("what waits for a held device does not ask for a turn of its own") {
  Bench bench("vxlan");
  bench.view->leases.clear();
  bench.view->names.clear();
  add_peer(*bench.view, 2, "vxlan", R"({"VNI":1,"VtepMAC":"02:00:00:00:00:02"})");
  bench.give();
  bench.kernel.fail("route 10.244.2.0/24", EINVAL);
  bench.settle();
  for (int tries = 0; tries < 10; ++tries) {
    bench.now = *bench.reconciler.holdback().due();
    bench.settle();
  }
  const auto route_due = *bench.reconciler.holdback().due();
  bench.now = route_due - 1s;

  // The device is to be changed, and can't be.
  bench.view = std::make_shared<ClusterView>(*bench.view);
  bench.view->self.uplink.mtu = 1400;
  bench.kernel.fail("link knet.1", EBUSY);
  bench.give();
  bench.settle();
  while (bench.now < route_due) {
    bench.now = *bench.reconciler.holdback().due();
    bench.settle();
    REQUIRE(bench.reconciler.due() > bench.now);
  }
  bench.kernel.heal();
  bench.now = *bench.reconciler.holdback().due();
  CHECK(bench.settle().converged);
  CHECK(bench.has_route("10.244.2.0/24"));
}

TEST_CASE("the wait for a failing object ends at half a minute") {
  Bench bench;
  bench.kernel.fail("route 10.244.2.0/24", EINVAL);
  bench.give();
  bench.run();
  for (int tries = 0; tries < 20; ++tries) {
    bench.now = *bench.reconciler.holdback().due();
    bench.run();
  }
  CHECK(*bench.reconciler.holdback().due() - bench.now == 30s);
}

TEST_CASE("a failure is forgotten when the object is not wanted any more") {
  Bench bench;
  bench.kernel.fail("route 10.244.3.0/24", EINVAL);
  bench.give();
  bench.run();
  REQUIRE(bench.reconciler.holdback().failing() > 0);
  bench.view = std::make_shared<ClusterView>(*bench.view);
  bench.view->leases.pop_back();
  bench.view->names.pop_back();
  bench.give();
  CHECK(bench.settle().converged);
  CHECK(bench.reconciler.holdback().failing() == 0);
}

TEST_CASE("what somebody keeps undoing is left alone for a minute, and told") {
  Bench bench;
  bench.give();
  bench.settle();
  size_t repairs = 0;
  for (int i = 0; i < 20; ++i) {
    bench.now += 1s;
    if (bench.has_route("10.244.2.0/24")) REQUIRE(bench.drop_route("10.244.2.0/24") == 0);
    bench.reconciler.mark(only(Kind::route), bench.now);
    repairs += bench.run().applied;
  }
  CHECK(repairs == 6);
  CHECK_FALSE(bench.has_route("10.244.2.0/24"));
  CHECK(bench.has_route("10.244.3.0/24"));
  REQUIRE(bench.reconciler.holdback().fought_over(bench.now).size() == 1);
  CHECK(bench.reconciler.holdback().fought_over(bench.now)[0].find("10.244.2.0/24") != std::string::npos);

  bench.now += 60s;
  bench.run();
  CHECK(bench.has_route("10.244.2.0/24"));
  CHECK(bench.reconciler.holdback().fought_over(bench.now).empty());
}

TEST_CASE("repairs that lie apart are no fight") {
  Bench bench;
  bench.give();
  bench.settle();
  for (int i = 0; i < 20; ++i) {
    bench.now += 15s;
    REQUIRE(bench.drop_route("10.244.2.0/24") == 0);
    bench.reconciler.mark(only(Kind::route), bench.now);
    CHECK(bench.run().applied == 1);
  }
  CHECK(bench.reconciler.holdback().fought_over(bench.now).empty());
}

TEST_CASE("what the kernel takes along with a device is nobody's fight") {
  Bench bench;
  bench.give();
  bench.settle();
  for (int i = 0; i < 20; ++i) {
    bench.now += 1s;
    REQUIRE(bench.drop_route("10.244.2.0/24") == 0);
    bench.reconciler.mark(only(Kind::link) | only(Kind::route), bench.now);
    CHECK(bench.run().applied == 1);
  }
  CHECK(bench.reconciler.holdback().fought_over(bench.now).empty());
}

TEST_CASE("without any event the full scan finds what is missing") {
  Bench bench;
  bench.give();
  bench.settle();
  REQUIRE(bench.drop_route("10.244.2.0/24") == 0);
  bench.now += 59s;
  CHECK(bench.run().applied == 0);
  CHECK_FALSE(bench.has_route("10.244.2.0/24"));
  bench.now += 1s;
  CHECK(bench.reconciler.due() <= bench.now);
  CHECK(bench.run().applied == 1);
  CHECK(bench.has_route("10.244.2.0/24"));
}

TEST_CASE("a kind cut short allows no removal") {
  Bench bench;
  REQUIRE(bench.kernel.add(route("10.244.9.0/24", "eth0", "192.168.77.9")) == 0);
  bench.kernel.cut_short(Kind::route);
  bench.give();
  bench.run();
  CHECK(bench.has_route("10.244.9.0/24"));
}

TEST_CASE("a foreign route at a place that we want is named and left") {
  Bench bench;
  Route foreign = route("10.244.2.0/24", "eth0", "192.168.77.99");
  foreign.protocol = 4;  // static
  REQUIRE(bench.kernel.add(foreign) == 0);
  bench.give();
  bench.settle();
  REQUIRE(bench.reconciler.foreign().size() == 1);
  CHECK(bench.reconciler.foreign()[0].find("10.244.2.0/24") != std::string::npos);
  for (const Route& route : bench.kernel.net().routes)
    if (route.dst == prefix("10.244.2.0/24")) CHECK(route.via == ip("192.168.77.99"));
}

TEST_CASE("the routes of a network that the cluster had before are still ours") {
  Bench bench;
  bench.give();
  bench.settle();
  auto moved = std::make_shared<ClusterView>(*bench.view);
  moved->config.network = prefix("10.99.0.0/16");
  moved->self.lease.subnet = prefix("10.99.1.0/24");
  moved->leases.clear();
  moved->names.clear();
  bench.view = moved;
  bench.give();
  bench.settle();
  CHECK_FALSE(bench.has_route("10.244.2.0/24"));
  CHECK(bench.has_route("10.99.1.0/24"));
}

TEST_CASE("the owner's hook may change the view within a turn") {
  FakeKernel kernel;
  kernel.add_nic("eth0", "192.168.77.1/24");
  kernel.set_sysctl("net/ipv4/ip_forward", "0");
  auto view = std::make_shared<ClusterView>(view_of("host-gw"));
  add_peer(*view, 2, "host-gw");
  Reconciler* self = nullptr;
  int looks = 0;
  Reconciler reconciler(kernel, mode_registry(),
                        {[&](const Observed&, Kinds) {
                           if (looks++ == 0) self->set_view(view, true);
                         },
                         {}});
  self = &reconciler;
  reconciler.mark(only(Kind::address), Reconciler::Time(1s));
  const auto turn = reconciler.run(Reconciler::Time(1s));
  CHECK(turn.converged);
  CHECK(looks >= 1);
  bool found = false;
  for (const Route& route : kernel.net().routes) found = found || route.dst == prefix("10.244.2.0/24");
  CHECK(found);
}

TEST_CASE("a dry run says what a turn would do and does nothing") {
  Bench bench;
  bench.give();
  const auto lines = bench.reconciler.dry_run();
  bool named = false;
  for (const std::string& line : lines) named = named || line.find("10.244.2.0/24") != std::string::npos;
  CHECK(named);
  CHECK(bench.kernel.log().empty());
  CHECK_FALSE(bench.has_route("10.244.2.0/24"));
}

TEST_CASE("a vxlan device deleted by hand comes back with all that hung on it") {
  Bench bench("vxlan");
  bench.view->leases.clear();
  bench.view->names.clear();
  add_peer(*bench.view, 2, "vxlan", R"({"VNI":1,"VtepMAC":"02:00:00:00:00:02"})");
  bench.view->self.lease.data.v4 = R"({"VNI":1,"VtepMAC":"02:00:00:00:00:01"})";
  bench.give();
  bench.settle();
  REQUIRE(bench.has_route("10.244.2.0/24"));
  const size_t neighbors = bench.kernel.net().neighbors.size();
  const size_t entries = bench.kernel.net().fdb.size();
  REQUIRE(neighbors > 0);
  REQUIRE(entries > 0);
  REQUIRE(bench.kernel.remove_link(dev("knet.1")) == 0);
  REQUIRE_FALSE(bench.has_route("10.244.2.0/24"));
  bench.now += 1s;
  bench.reconciler.mark(only(Kind::link), bench.now);
  bench.settle();
  CHECK(bench.has_route("10.244.2.0/24"));
  CHECK(bench.kernel.net().neighbors.size() == neighbors);
  CHECK(bench.kernel.net().fdb.size() == entries);
}
