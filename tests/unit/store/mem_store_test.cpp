// The fake keeps the contract that the real stores keep.
#include "tests/support/mem_store.h"

#include <catch2/catch.hpp>

#include "base/error.h"
#include "tests/support/cluster_contract.h"
#include "tests/support/store_contract.h"

using namespace knet;
using namespace knet::test;

namespace {

struct MemRig : StoreRig {
  std::unique_ptr<Store> open() override { return std::make_unique<MemStore>(world); }
  void pass(std::chrono::seconds time) override { world->advance(time); }
  void compact(Revision rev) override { world->compact(rev); }
  std::shared_ptr<MemWorld> world = std::make_shared<MemWorld>();
};

}  // namespace

TEST_CASE("MemStore keeps the store contract") {
  MemRig rig;
  store_contract(rig);
}

TEST_CASE("the cluster's use cases hold on MemStore") {
  MemRig rig;
  cluster_contract(rig);
}

TEST_CASE("MemStore tells its watchers that it is away and back, without a gap") {
  MemRig rig;
  auto store = rig.open();
  Watcher watcher(rig.open(), "/t/", store->list("/t/").rev + 1);
  REQUIRE(watcher.until([](const Watcher& w) { return w.states.size() == 1; }));
  rig.world->set_reachable(false);
  REQUIRE(watcher.until([](const Watcher& w) { return w.states.size() == 2 && !w.states[1].first; }));
  REQUIRE_THROWS_AS(store->get("/t/a"), Error);
  rig.world->set_reachable(true);
  REQUIRE(store->create("/t/a", "1"));
  REQUIRE(watcher.until_events(1));
  CHECK(watcher.states.back().first);
}

TEST_CASE("an answer of MemStore that was lost leaves its work done") {
  MemStore store;
  store.world().fail_next(1, true);
  REQUIRE_THROWS_AS(store.create("/t/a", "1", 0), Error);
  CHECK(store.get("/t/a"));
}
