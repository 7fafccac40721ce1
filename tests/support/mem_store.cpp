#include "tests/support/mem_store.h"

#include <set>

#include "base/error.h"

namespace knet::test {

namespace {

bool begins(const std::string& key, const std::string& prefix) { return key.compare(0, prefix.size(), prefix) == 0; }

[[noreturn]] void unreachable() { fail(ErrorKind::store, "mem://test: made unreachable by the test"); }

}  // namespace

/// Holds the world for one call and fails it as the test wants.
class MemStore::Call {
 public:
  explicit Call(MemWorld& world) : world_(world), lock_(world.mutex_) {
    ++world_.calls_;
    if (!world_.reachable_) unreachable();
    if (world_.failing_ > 0 && !world_.failing_done_) {
      --world_.failing_;
      unreachable();
    }
  }
  /// Ends a call that has done its work.
  void done() {
    world_.changed_.notify_all();
    if (world_.failing_ > 0 && world_.failing_done_) {
      --world_.failing_;
      unreachable();
    }
  }

 private:
  MemWorld& world_;
  std::lock_guard<std::mutex> lock_;
};

void MemWorld::log(StoreEvent event) {
  event.rev = rev_;
  history_.push_back(std::move(event));
}

void MemWorld::drop_lease(LeaseId id) {
  bool first = true;
  for (auto it = keys_.begin(); it != keys_.end();) {
    if (it->second.lease != id) {
      ++it;
      continue;
    }
    if (std::exchange(first, false)) ++rev_;
    log({it->first, "", true, 0, 0});
    it = keys_.erase(it);
  }
  leases_.erase(id);
}

void MemWorld::advance(std::chrono::seconds time) {
  std::lock_guard lock(mutex_);
  now_ += time;
  std::vector<LeaseId> due;
  for (const auto& [id, lease] : leases_)
    if (lease.deadline <= now_) due.push_back(id);
  for (LeaseId id : due) drop_lease(id);
  changed_.notify_all();
}

void MemWorld::set_reachable(bool reachable) {
  std::lock_guard lock(mutex_);
  reachable_ = reachable;
  changed_.notify_all();
}

void MemWorld::fail_next(int count, bool done) {
  std::lock_guard lock(mutex_);
  failing_ = count;
  failing_done_ = done;
}

void MemWorld::compact(Revision rev) {
  std::lock_guard lock(mutex_);
  compacted_ = rev;
  while (!history_.empty() && history_.front().rev < rev) history_.pop_front();
  changed_.notify_all();
}

Revision MemWorld::rev() {
  std::lock_guard lock(mutex_);
  return rev_;
}

size_t MemWorld::leases() {
  std::lock_guard lock(mutex_);
  return leases_.size();
}

int MemWorld::calls() {
  std::lock_guard lock(mutex_);
  return calls_;
}

std::optional<KeyValue> MemStore::get(const std::string& key) {
  Call call(*world_);
  auto it = world_->keys_.find(key);
  return it == world_->keys_.end() ? std::nullopt : std::optional(it->second);
}

Listing MemStore::list(const std::string& prefix) {
  Call call(*world_);
  Listing listing;
  listing.rev = world_->rev_;
  for (auto it = world_->keys_.lower_bound(prefix); it != world_->keys_.end() && begins(it->first, prefix); ++it)
    listing.items.push_back(it->second);
  return listing;
}

Revision MemStore::for_each(const std::string& prefix, const std::function<void(KeyValue&&)>& visit) {
  Listing listing = list(prefix);
  for (KeyValue& item : listing.items) visit(std::move(item));
  return listing.rev;
}

std::optional<Revision> MemStore::create(const std::string& key, const std::string& value, LeaseId lease) {
  return commit({{Change::What::create, key, value, 0, lease}});
}

std::optional<Revision> MemStore::swap(const std::string& key, const std::string& value, Revision expected,
                                       LeaseId lease) {
  return commit({{Change::What::swap, key, value, expected, lease}});
}

bool MemStore::remove(const std::string& key, Revision expected) {
  return commit({{Change::What::remove, key, "", expected, 0}}).has_value();
}

std::optional<Revision> MemStore::commit(const std::vector<Change>& changes) {
  Call call(*world_);
  MemWorld& world = *world_;
  std::set<std::string> once;
  for (const Change& change : changes) {
    if (!once.insert(change.key).second) fail(ErrorKind::bug, "{} is twice in one commit", change.key);
    auto it = world.keys_.find(change.key);
    bool there = it != world.keys_.end();
    if (there == (change.what == Change::What::create)) return {};
    bool any = change.what == Change::What::remove && change.expected == 0;
    if (there && !any && it->second.mod_rev != change.expected) return {};
    if (change.lease != 0 && !world.leases_.contains(change.lease))
      fail(ErrorKind::store, "{}: {}: TTL lease {:x} has ended; take a new one", where(), change.key, change.lease);
  }
  ++world.rev_;
  for (const Change& change : changes) {
    if (change.what == Change::What::remove) {
      world.keys_.erase(change.key);
      world.log({change.key, "", true, 0, 0});
      continue;
    }
    KeyValue& item = world.keys_[change.key];
    if (item.create_rev == 0) item.create_rev = world.rev_;
    item = {change.key, change.value, change.lease, item.create_rev, world.rev_};
    world.log({change.key, change.value, false, change.lease, 0});
  }
  Revision rev = world.rev_;
  call.done();
  return rev;
}

LeaseId MemStore::grant(std::chrono::seconds ttl) {
  Call call(*world_);
  LeaseId id = ++world_->last_lease_;
  world_->leases_[id] = {ttl, world_->now_ + ttl};
  call.done();
  return id;
}

bool MemStore::keep_alive(LeaseId lease) {
  Call call(*world_);
  auto it = world_->leases_.find(lease);
  if (it == world_->leases_.end()) return false;
  it->second.deadline = world_->now_ + it->second.ttl;
  call.done();
  return true;
}

void MemStore::revoke(LeaseId lease) {
  Call call(*world_);
  if (lease != 0) world_->drop_lease(lease);
  call.done();
}

std::optional<std::chrono::seconds> MemStore::time_left(LeaseId lease) {
  Call call(*world_);
  auto it = world_->leases_.find(lease);
  return it == world_->leases_.end() ? std::nullopt : std::optional(it->second.deadline - world_->now_);
}

WatchEnd MemStore::watch(const std::string& prefix, Revision from, const WatchSink& sink) {
  MemWorld& world = *world_;
  std::unique_lock lock(world.mutex_);
  Revision next = from;
  std::optional<bool> told_connected;
  for (;;) {
    if (std::exchange(stop_, false)) return WatchEnd::stopped;
    if (told_connected != world.reachable_) {
      bool connected = world.reachable_;
      told_connected = connected;
      lock.unlock();
      if (sink.on_state) sink.on_state(connected, connected ? "" : "mem://test: made unreachable by the test");
      lock.lock();
      continue;
    }
    if (world.reachable_ && next < world.compacted_) return WatchEnd::compacted;
    if (world.reachable_ && next <= world.rev_) {
      std::vector<StoreEvent> events;
      for (const StoreEvent& event : world.history_)
        if (event.rev >= next && begins(event.key, prefix)) events.push_back(event);
      Revision reached = world.rev_;
      lock.unlock();
      for (size_t i = 0; i < events.size(); ++i) {
        Revision rev = events[i].rev;
        sink.on_event(std::move(events[i]));
        bool last = i + 1 == events.size() || events[i + 1].rev != rev;
        if (last && rev != reached && sink.on_progress) sink.on_progress(rev);
      }
      if (sink.on_progress) sink.on_progress(reached);
      lock.lock();
      next = reached + 1;
      continue;
    }
    world.changed_.wait(lock);
  }
}

void MemStore::stop_watch() {
  std::lock_guard lock(world_->mutex_);
  stop_ = true;
  world_->changed_.notify_all();
}

}  // namespace knet::test
