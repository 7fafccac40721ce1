#include "store/sqlite_store.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>

#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "store/key_range.h"

namespace knet {

namespace {

constexpr int64_t kApplication = 0x6b6e6574;  // "knet"
constexpr int64_t kFileSchema = 1;
constexpr int64_t kJumpMs = 2000;  // less than this is rounding and slew, not a jump

constexpr const char* kTables = R"(
CREATE TABLE state(revision INTEGER NOT NULL, compacted INTEGER NOT NULL, boot BLOB NOT NULL, clock_offset INTEGER NOT NULL);
INSERT INTO state VALUES(1, 0, x'', 0);
CREATE TABLE kv(key BLOB PRIMARY KEY, value BLOB NOT NULL, create_rev INTEGER NOT NULL, mod_rev INTEGER NOT NULL,
  lease INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX kv_lease ON kv(lease) WHERE lease <> 0;
CREATE TABLE lease(id INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL);
CREATE INDEX lease_deadline ON lease(deadline_ms);
CREATE TABLE log(rev INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, deleted INTEGER NOT NULL,
  lease INTEGER NOT NULL, PRIMARY KEY(rev, key)) WITHOUT ROWID;
)";

int64_t read_clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

int64_t pragma(SqliteDb& db, const char* literal) {
  SqliteQuery query(db, literal);
  return query.step() ? query.number(0) : 0;
}

KeyValue row_of(const SqliteQuery& query) {
  return {query.bytes(0), query.bytes(1), query.number(4), query.number(2), query.number(3)};
}

Revision revision_of(SqliteDb& db) {
  SqliteQuery query(db, "SELECT revision FROM state");
  query.step();
  return query.number(0);
}

}  // namespace

SqliteClock SqliteClock::system() {
  SqliteClock clock;
  clock.wall_ms = [] { return read_clock(CLOCK_REALTIME); };
  clock.steady_ms = [] { return read_clock(CLOCK_MONOTONIC); };
  clock.boot = std::string(trim(read_file("/proc/sys/kernel/random/boot_id").value_or("")));
  return clock;
}

/// A write transaction that has expired what is due; its changes share one revision.
class SqliteStore::Writing {
 public:
  Writing(const SqliteStore& store, SqliteDb& db)
      : store_(store), db_(db), transaction_(db, SqliteTransaction::Kind::write), now_(store.settings_.clock.wall_ms()) {
    shift_deadlines();
    std::vector<LeaseId> due;
    for (SqliteQuery query(db_, "SELECT id FROM lease WHERE deadline_ms <= ?1", now_); query.step();)
      due.push_back(query.number(0));
    for (LeaseId lease : due) drop(lease);
    rev_ = 0;  // the caller's changes come after it, at a revision of their own
  }

  int64_t now() const { return now_; }

  std::optional<KeyValue> get(const std::string& key) {
    SqliteQuery query(db_, "SELECT key, value, create_rev, mod_rev, lease FROM kv WHERE key = ?1", key);
    return query.step() ? std::optional(row_of(query)) : std::nullopt;
  }

  /// False if its condition does not hold.
  bool apply(const Change& change) {
    std::optional<KeyValue> old = get(change.key);
    if (change.what == Change::What::create ? old.has_value() : !old) return false;
    if (old && change.what == Change::What::swap && old->mod_rev != change.expected) return false;
    if (old && change.expected != 0 && old->mod_rev != change.expected) return false;
    if (change.what == Change::What::remove) {
      erase(change.key);
      return true;
    }
    if (change.lease != 0 && !SqliteQuery(db_, "SELECT 1 FROM lease WHERE id = ?1", change.lease).step())
      fail(ErrorKind::store, "{}: {}: TTL lease {:x} has ended; take a new one", store_.where(), change.key, change.lease);
    SqliteQuery(db_, "INSERT OR REPLACE INTO kv VALUES(?1, ?2, ?3, ?4, ?5)", change.key, change.value,
                old ? old->create_rev : rev(), rev(), change.lease)
        .run();
    SqliteQuery(db_, "INSERT INTO log VALUES(?1, ?2, ?3, 0, ?4)", rev(), change.key, change.value, change.lease).run();
    return true;
  }

  /// The lease and its keys.
  void drop(LeaseId lease) {
    rev_ = 0;
    std::vector<std::string> keys;
    for (SqliteQuery query(db_, "SELECT key FROM kv WHERE lease = ?1 AND lease <> 0", lease); query.step();)
      keys.push_back(query.bytes(0));
    for (const std::string& key : keys) erase(key);
    SqliteQuery(db_, "DELETE FROM lease WHERE id = ?1", lease).run();
  }

  /// The revision of this transaction's changes.
  Revision rev() {
    if (rev_ == 0) {
      SqliteQuery query(db_, "UPDATE state SET revision = revision + 1 RETURNING revision");
      query.step();
      rev_ = query.number(0);
      query.run();
      changed_ = true;
    }
    return rev_;
  }

  void commit() {
    if (changed_) trim_log();
    transaction_.commit();
    if (changed_) store_.ring_bell();
  }

 private:
  void erase(const std::string& key) {
    SqliteQuery(db_, "DELETE FROM kv WHERE key = ?1", key).run();
    SqliteQuery(db_, "INSERT INTO log VALUES(?1, ?2, x'', 1, 0)", rev(), key).run();
  }

  void shift_deadlines() {
    int64_t offset = now_ - store_.settings_.clock.steady_ms();
    std::string boot;
    int64_t before = 0;
    {
      SqliteQuery query(db_, "SELECT boot, clock_offset FROM state");
      query.step();
      boot = query.bytes(0);
      before = query.number(1);
    }
    bool same_boot = boot == store_.settings_.clock.boot;
    int64_t jump = offset - before;
    if (same_boot && std::abs(jump) < kJumpMs) return;
    if (same_boot) SqliteQuery(db_, "UPDATE lease SET deadline_ms = deadline_ms + ?1", jump).run();
    SqliteQuery(db_, "UPDATE state SET boot = ?1, clock_offset = ?2", store_.settings_.clock.boot, offset).run();
  }

  void trim_log() {
    Revision history = store_.settings_.history;
    SqliteQuery oldest(db_, "SELECT revision, compacted FROM state");
    oldest.step();
    Revision last = oldest.number(0) - history;
    if (last - oldest.number(1) < history / 4 + 1) return;
    SqliteQuery(db_, "DELETE FROM log WHERE rev <= ?1", last).run();
    SqliteQuery(db_, "UPDATE state SET compacted = ?1", last).run();
  }

  const SqliteStore& store_;
  SqliteDb& db_;
  SqliteTransaction transaction_;
  int64_t now_;
  Revision rev_ = 0;
  bool changed_ = false;
};

SqliteStore::SqliteStore(SqliteSettings settings)
    : settings_(std::move(settings)), stop_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!stop_event_) throw_errno(errno, "eventfd");
}

std::unique_ptr<SqliteDb> SqliteStore::open() const {
  auto db = std::make_unique<SqliteDb>(settings_.path, settings_.timeout);
  db->exec("PRAGMA synchronous=NORMAL; PRAGMA cache_size=-256");
  auto schema = [&] { return pragma(*db, "PRAGMA user_version"); };
  if (schema() == 0) {
    // Two processes that make one file at once would fail on its first lock without waiting for each other.
    Fd alone = lock_file(bell(), static_cast<int>(settings_.timeout.count()));
    if (schema() == 0) {
      if (pragma(*db, "SELECT count(*) FROM sqlite_master") != 0)
        fail(ErrorKind::store, "{}: is another program's database, not a knet store; give another path", where());
      db->exec("PRAGMA journal_mode=WAL");
      SqliteTransaction transaction(*db, SqliteTransaction::Kind::write);
      db->exec(kTables);
      db->exec("PRAGMA application_id=1802397044; PRAGMA user_version=1");
      transaction.commit();
    }
  }
  if (pragma(*db, "PRAGMA application_id") != kApplication)
    fail(ErrorKind::store, "{}: is another program's database, not a knet store; give another path", where());
  if (schema() > kFileSchema)
    fail(ErrorKind::store, "{}: has file schema {}, made by a newer knet than this one, which knows {}; upgrade knet", where(),
         schema(), kFileSchema);
  return db;
}

SqliteDb& SqliteStore::db() {
  if (db_ && !db_->still_there()) db_.reset();
  if (!db_) db_ = open();
  expire_if_due(*db_);
  return *db_;
}

void SqliteStore::expire_if_due(SqliteDb& db) const {
  bool due = SqliteQuery(db, "SELECT 1 FROM lease WHERE deadline_ms <= ?1 LIMIT 1", settings_.clock.wall_ms()).step();
  if (due) Writing(*this, db).commit();
}

void SqliteStore::ring_bell() const {
  // Closing a file that was open for writing is what the watchers see; nothing is written.
  Fd bell_file(::open(bell().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
}

std::optional<KeyValue> SqliteStore::get(const std::string& key) {
  SqliteQuery query(db(), "SELECT key, value, create_rev, mod_rev, lease FROM kv WHERE key = ?1", key);
  return query.step() ? std::optional(row_of(query)) : std::nullopt;
}

Listing SqliteStore::list(const std::string& prefix) {
  Listing listing;
  listing.rev = for_each(prefix, [&](KeyValue&& item) { listing.items.push_back(std::move(item)); });
  return listing;
}

Revision SqliteStore::for_each(const std::string& prefix, const std::function<void(KeyValue&&)>& visit) {
  SqliteDb& db = this->db();
  SqliteTransaction transaction(db, SqliteTransaction::Kind::read);
  Revision rev = revision_of(db);
  SqliteQuery query(db, "SELECT key, value, create_rev, mod_rev, lease FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key",
                    prefix, prefix_end(prefix));
  while (query.step()) visit(row_of(query));
  return rev;
}

std::optional<Revision> SqliteStore::create(const std::string& key, const std::string& value, LeaseId lease) {
  return commit({{Change::What::create, key, value, 0, lease}});
}

std::optional<Revision> SqliteStore::swap(const std::string& key, const std::string& value, Revision expected,
                                          LeaseId lease) {
  return commit({{Change::What::swap, key, value, expected, lease}});
}

bool SqliteStore::remove(const std::string& key, Revision expected) {
  return commit({{Change::What::remove, key, "", expected, 0}}).has_value();
}

std::optional<Revision> SqliteStore::commit(const std::vector<Change>& changes) {
  SqliteDb& db = this->db();
  Writing writing(*this, db);
  for (const Change& change : changes)
    if (!writing.apply(change)) return {};
  Revision rev = writing.rev();
  writing.commit();
  return rev;
}

LeaseId SqliteStore::grant(std::chrono::seconds ttl) {
  LeaseId id = 0;
  // Random: an id of a file that was deleted must not name somebody else's lease in the new one.
  while (id == 0) {
    if (::getrandom(&id, sizeof id, 0) != sizeof id) throw_errno(errno, "getrandom");
    id &= INT64_MAX;
  }
  SqliteDb& db = this->db();
  Writing writing(*this, db);
  int64_t ttl_ms = std::max<int64_t>(ttl.count(), 1) * 1000;
  SqliteQuery(db, "INSERT INTO lease VALUES(?1, ?2, ?3)", id, ttl_ms, writing.now() + ttl_ms).run();
  writing.commit();
  return id;
}

bool SqliteStore::keep_alive(LeaseId lease) {
  SqliteDb& db = this->db();
  Writing writing(*this, db);
  bool alive = false;
  {
    SqliteQuery query(db, "UPDATE lease SET deadline_ms = ?2 + ttl_ms WHERE id = ?1 RETURNING 1", lease, writing.now());
    alive = query.step();
    if (alive) query.run();
  }
  writing.commit();
  return alive;
}

void SqliteStore::revoke(LeaseId lease) {
  SqliteDb& db = this->db();
  Writing writing(*this, db);
  writing.drop(lease);
  writing.commit();
}

std::optional<std::chrono::seconds> SqliteStore::time_left(LeaseId lease) {
  SqliteQuery query(db(), "SELECT deadline_ms FROM lease WHERE id = ?1", lease);
  if (!query.step()) return {};
  return std::chrono::seconds(std::max<int64_t>(0, query.number(0) - settings_.clock.wall_ms()) / 1000);
}

}  // namespace knet
