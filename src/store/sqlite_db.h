// One sqlite connection with cached statements, for the sqlite store only. Throws Error{store} naming the file and
// what to do. Serves one thread; must not be carried over a fork.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

struct sqlite3;
struct sqlite3_stmt;

namespace knet {

class SqliteDb {
 public:
  /// Creates the file (0600) and its directories if missing.
  SqliteDb(std::string path, std::chrono::milliseconds busy_timeout);
  ~SqliteDb();
  SqliteDb(const SqliteDb&) = delete;
  SqliteDb& operator=(const SqliteDb&) = delete;

  void exec(const char* sql);
  /// False once the path leads to another file than the one that is open: deleted or replaced.
  bool still_there() const;
  const std::string& path() const { return path_; }
  [[noreturn]] void fail_with(int code, std::string_view doing) const;

 private:
  friend class SqliteQuery;
  sqlite3_stmt* statement(const char* sql);

  std::string path_;
  sqlite3* db_ = nullptr;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;  // by the address of the literal
};

/// One run of a statement, whose text must be a string literal. Parameters are bound in order.
class SqliteQuery {
 public:
  template <typename... Args>
  SqliteQuery(SqliteDb& db, const char* literal, const Args&... args) : db_(db), stmt_(db.statement(literal)) {
    int index = 0;
    (bind(++index, args), ...);
  }
  ~SqliteQuery();
  SqliteQuery(const SqliteQuery&) = delete;
  SqliteQuery& operator=(const SqliteQuery&) = delete;

  /// True while there is a row.
  bool step();
  void run() {
    while (step()) {
    }
  }
  int64_t number(int column) const;
  std::string bytes(int column) const;

 private:
  void bind(int index, int64_t value);
  void bind(int index, const std::string& value);

  SqliteDb& db_;
  sqlite3_stmt* stmt_;
};

/// BEGIN ... COMMIT; rolled back unless committed.
class SqliteTransaction {
 public:
  enum class Kind { read, write };
  SqliteTransaction(SqliteDb& db, Kind kind);
  ~SqliteTransaction();
  SqliteTransaction(const SqliteTransaction&) = delete;
  SqliteTransaction& operator=(const SqliteTransaction&) = delete;
  void commit();

 private:
  SqliteDb& db_;
  bool open_ = true;
};

}  // namespace knet
