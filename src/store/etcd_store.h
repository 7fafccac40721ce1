// etcd v3 through its JSON gateway. Calls of one thread go over one set of connections; watch() has its own. Commits are
// never sent twice: where the answer is lost the error says that the change may have been made.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "store/etcd_channel.h"
#include "store/store.h"

namespace knet {

class EtcdStore final : public Store {
 public:
  explicit EtcdStore(EtcdSettings settings);

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
  std::string where() const override { return where_; }
  bool embedded() const override { return false; }

 private:
  struct Watching;
  enum class Turn { again, compacted, stopped };
  /// One connection's life: look where the store is, then stream until it breaks.
  Turn follow(Watching& watching);
  bool take(Watching& watching, std::string_view line);
  /// Sleeps; true if it was told to stop.
  bool pause(std::chrono::milliseconds time);
  bool stopping();

  EtcdSettings settings_;
  std::string where_;
  EtcdChannel calls_;
  EtcdChannel watch_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;      // guarded by mutex_, as the next two
  bool running_ = false;
  std::thread::id watcher_;
};

}  // namespace knet
