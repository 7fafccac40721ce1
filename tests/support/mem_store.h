// A Store in memory, for tests of what stands on one. A MemWorld is the store itself; each MemStore is a connection to
// it. Its clock is advanced by hand; it can be made unreachable, and its history compacted. It passes the same contract
// test as the real ones.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "store/store.h"

namespace knet::test {

class MemWorld {
 public:
  /// Leases that run out by then end, with their keys.
  void advance(std::chrono::seconds time);
  /// Every call throws Error{store} and watches are cut until it is back.
  void set_reachable(bool reachable);
  /// The next `count` calls throw Error{store}, after they have done their work if `done`: an answer that was lost.
  void fail_next(int count, bool done = false);
  /// What is older can't be watched any more.
  void compact(Revision rev);
  Revision rev();
  size_t leases();
  /// How many calls were made by all connections: what a use case costs.
  int calls();

 private:
  friend class MemStore;
  struct Lease {
    std::chrono::seconds ttl{}, deadline{};
  };
  void drop_lease(LeaseId id);
  void log(StoreEvent event);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, KeyValue> keys_;
  std::map<LeaseId, Lease> leases_;
  std::deque<StoreEvent> history_;  // by revision
  Revision rev_ = 1;
  Revision compacted_ = 0;
  LeaseId last_lease_ = 1000;
  std::chrono::seconds now_{0};
  bool reachable_ = true;
  int failing_ = 0;
  bool failing_done_ = false;
  int calls_ = 0;
};

class MemStore final : public Store {
 public:
  explicit MemStore(std::shared_ptr<MemWorld> world = std::make_shared<MemWorld>()) : world_(std::move(world)) {}
  MemWorld& world() { return *world_; }

  std::optional<KeyValue> get(const std::string& key) override;
  Listing list(const std::string& prefix) override;
  Revision for_each(const std::string& prefix, const std::function<void(KeyValue&&)>& visit) override;
  std::optional<Revision> create(const std::string& key, const std::string& value, LeaseId lease) override;
  std::optional<Revision> swap(const std::string& key, const std::string& value, Revision expected,
                               LeaseId lease) override;
  bool remove(const std::string& key, Revision expected) override;
  std::optional<Revision> commit(const std::vector<Change>& changes) override;
  LeaseId grant(std::chrono::seconds ttl) override;
  bool keep_alive(LeaseId lease) override;
  void revoke(LeaseId lease) override;
  std::optional<std::chrono::seconds> time_left(LeaseId lease) override;
  WatchEnd watch(const std::string& prefix, Revision from, const WatchSink& sink) override;
  void stop_watch() override;
  std::string where() const override { return "mem://test"; }
  bool embedded() const override { return true; }

 private:
  class Call;
  std::shared_ptr<MemWorld> world_;
  bool stop_ = false;  // guarded by the world's mutex
};

}  // namespace knet::test
