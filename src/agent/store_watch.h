// The thread that follows the store: list, post the snapshot, watch from the next revision on, post events in groups;
// list again after a compaction or an error. It decides nothing and touches nothing but its own Store and the mailbox.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "agent/mailbox.h"
#include "store/store.h"

namespace knet {

class StoreWatch {
 public:
  StoreWatch(const StoreOptions& options, Mailbox& mailbox);
  ~StoreWatch();  // stops and joins
  /// The host's addresses are others: goes on over a new connection, where it was.
  void redial();

 private:
  void run();
  void follow();
  /// After a watch that was stopped: over a new Store if that is what it was stopped for; false: for good.
  bool reopen();
  bool pause(std::chrono::milliseconds time);

  StoreOptions options_;
  std::string prefix_;
  Mailbox& mailbox_;
  std::unique_ptr<Store> store_;  // replaced by the thread, under mutex_
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool redial_ = false;
  std::thread thread_;
};

}  // namespace knet
