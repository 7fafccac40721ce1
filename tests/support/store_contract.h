// The Store contract as tests, run against each implementation by its own TEST_CASE. A rig makes one world: its stores
// are connections to the same data, empty at first.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "store/store.h"

namespace knet::test {

struct StoreRig {
  virtual ~StoreRig() = default;
  virtual std::unique_ptr<Store> open() = 0;
  /// Lets this much of the store's time go by.
  virtual void pass(std::chrono::seconds time) = 0;
  /// Makes watches from before `rev` impossible; may write to get there.
  virtual void compact(Revision rev) = 0;
  /// All test keys begin with this; differs from rig to rig where the data is shared.
  virtual std::string prefix() const { return "/t/"; }
  virtual std::chrono::seconds short_ttl() const { return std::chrono::seconds(10); }
};

void store_contract(StoreRig& rig);

/// A watch in its own thread that keeps what it was told; stopped and joined at its end.
class Watcher {
 public:
  Watcher(std::unique_ptr<Store> store, std::string prefix, Revision from);
  ~Watcher();
  /// Waits for a fact about what was told; false after 10 s.
  bool until(const std::function<bool(const Watcher&)>& fact, std::chrono::milliseconds limit = std::chrono::seconds(10));
  bool until_events(size_t count) {
    return until([&](const Watcher& w) { return w.events.size() >= count; });
  }
  /// "+/t/a=1@5" or "-/t/a@6" for each event and "|5" for each progress, blank-separated; from the lock's inside.
  std::string text();
  std::chrono::milliseconds stop();

  std::vector<StoreEvent> events;
  std::vector<Revision> progress;
  std::vector<std::pair<bool, std::string>> states;
  std::string trace;
  bool ended = false;
  WatchEnd end = WatchEnd::stopped;
  std::string error;

 private:
  std::unique_ptr<Store> store_;
  std::mutex mutex_;
  std::condition_variable told_;
  std::thread thread_;
};

}  // namespace knet::test
