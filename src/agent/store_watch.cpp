#include "agent/store_watch.h"

#include <algorithm>

namespace knet {
namespace {

constexpr std::chrono::milliseconds kFirstPause{200};
constexpr std::chrono::milliseconds kLongestPause{15'000};
constexpr std::chrono::seconds kSettled{10};  // a watch that lived so long starts the backoff anew

}  // namespace

StoreWatch::StoreWatch(const StoreOptions& options, Mailbox& mailbox)
    : options_(options), prefix_(options.prefix + "/"), mailbox_(mailbox), store_(open_store(options)) {
  thread_ = std::thread([this] { run(); });
}

StoreWatch::~StoreWatch() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    store_->stop_watch();
  }
  wake_.notify_all();
  thread_.join();
}

void StoreWatch::redial() {
  std::lock_guard lock(mutex_);
  if (store_->embedded()) return;
  redial_ = true;
  store_->stop_watch();
}

bool StoreWatch::reopen() {
  std::lock_guard lock(mutex_);
  if (stopping_ || !redial_) return false;
  redial_ = false;
  store_ = open_store(options_);
  return true;
}

bool StoreWatch::pause(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, time, [this] { return stopping_; });
  return !stopping_;
}

void StoreWatch::follow() {
  SnapshotMessage snapshot;
  snapshot.rev = store_->for_each(prefix_, [&](KeyValue&& item) {
    snapshot.all.push_back({std::move(item.key), std::move(item.value), false, item.lease, item.mod_rev});
  });
  Revision next = snapshot.rev + 1;
  mailbox_.post(StoreStateMessage{true, ""});
  mailbox_.post(std::move(snapshot));

  EventsMessage group{{}, 0};
  Store::WatchSink sink;
  sink.on_event = [&](StoreEvent&& event) { group.events.push_back(std::move(event)); };
  sink.on_progress = [&](Revision rev) {
    next = rev + 1;
    if (group.events.empty()) return;
    group.rev = rev;
    mailbox_.post(std::exchange(group, EventsMessage{{}, 0}));
  };
  sink.on_state = [&](bool connected, const std::string& why) { mailbox_.post(StoreStateMessage{connected, why}); };
  while (store_->watch(prefix_, next, sink) == WatchEnd::stopped && reopen()) group = {{}, 0};
}

void StoreWatch::run() {
  std::chrono::milliseconds wait = kFirstPause;
  while (pause(std::chrono::milliseconds(0))) {
    const auto began = std::chrono::steady_clock::now();
    bool compacted = true;
    try {
      follow();
    } catch (const std::exception& error) {
      compacted = false;
      mailbox_.post(StoreStateMessage{false, error.what()});
    }
    if (std::chrono::steady_clock::now() - began > kSettled) {
      wait = kFirstPause;
      if (compacted) continue;
    }
    // Endpoints of two clusters, say, call each other's revisions compacted: no reading of everything without a break.
    if (!pause(wait)) return;
    wait = std::min(wait * 2, kLongestPause);
  }
}

}  // namespace knet
