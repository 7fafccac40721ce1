// The embedded store: one sqlite file, many processes of one machine. WAL; after each COMMIT the writer touches
// <db>.bell, which watchers inotify (the WAL itself wakes readers before the commit shows). A log table of changes feeds
// the watches; its history is bounded. Whoever has the file open expires leases.
// Deadlines are wall clock, so that they survive a reboot; time by which the wall clock leaves the monotonic one (set by
// hand or NTP, suspend) does not count.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "store/sqlite_db.h"
#include "store/store.h"

namespace knet {

struct SqliteClock {
  std::function<int64_t()> wall_ms;    // since 1970
  std::function<int64_t()> steady_ms;  // CLOCK_MONOTONIC: does not count suspend
  std::string boot;                    // changes with each boot, as steady_ms starts anew
  static SqliteClock system();
};

struct SqliteSettings {
  std::string path;  // absolute
  std::chrono::milliseconds timeout{5000};
  Revision history = 10'000;  // revisions that a watch can go back, at least
  SqliteClock clock = SqliteClock::system();
};

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(SqliteSettings settings);

  std::optional<KeyValue> get(const std::string& key) override;
  Listing list(const std::string& prefix) override;
  /// `visit` must not call this store.
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
  std::string where() const override { return "sqlite://" + settings_.path; }
  bool embedded() const override { return true; }

 private:
  class Writing;
  struct Watching;
  std::unique_ptr<SqliteDb> open() const;
  /// The connection of the calling thread's side, opened by its first call, with what is due expired.
  SqliteDb& db();
  void expire_if_due(SqliteDb& db) const;
  std::string bell() const { return settings_.path + ".bell"; }
  void ring_bell() const;
  /// Reads the log until the end is `stopped` or `compacted`; throws when the file or the disk fails.
  WatchEnd follow(Watching& watching) const;
  bool deliver(SqliteDb& db, Watching& watching) const;
  /// Until the bell, the next deadline, or the stop; false: stop. `lost` if the bell itself is gone.
  bool wait(SqliteDb& db, int inotify, bool& lost) const;
  bool wait_for_stop(std::chrono::milliseconds timeout, int other = -1) const;

  SqliteSettings settings_;
  std::unique_ptr<SqliteDb> db_;
  Fd stop_event_;
};

}  // namespace knet
