#include "store/sqlite_db.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"

// What each connection would register and nothing here uses: full-text search and R-trees. Defined here, the archive's
// own (0.3 MB) stay out of the binary.
extern "C" {
int sqlite3Fts3Init(sqlite3*) { return SQLITE_OK; }
int sqlite3Fts5Init(sqlite3*) { return SQLITE_OK; }
int sqlite3RtreeInit(sqlite3*) { return SQLITE_OK; }
}

namespace knet {

SqliteDb::SqliteDb(std::string path, std::chrono::milliseconds busy_timeout) : path_(std::move(path)) {
  std::filesystem::path parent = std::filesystem::path(path_).parent_path();
  std::error_code ignored;
  try {
    if (!std::filesystem::exists(parent, ignored)) make_directories(parent);
  } catch (const Error& error) {
    throw Error(ErrorKind::store, "sqlite://" + path_ + ": " + error.text);
  }
  {
    // Made here and not by sqlite, which would give it the umask's mode; its -wal and -shm take after it. A file that is there is
    // never opened here: closing it again would drop the POSIX locks of this process's other connections (fcntl(2)), and the
    // next process to leave would take itself for the last one and delete the WAL under them.
    Fd made(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    int error = made || errno == EEXIST ? 0 : errno;
    struct stat at {};
    if (error == 0 && (::stat(path_.c_str(), &at) != 0 || ::faccessat(AT_FDCWD, path_.c_str(), R_OK | W_OK, AT_EACCESS) != 0)) error = errno;
    if (error != 0)
      fail(ErrorKind::store, "sqlite://{}: can't open: {}{}", path_, errno_text(error),
           error == EACCES ? "; it is for root alone" : "");
    if (!S_ISREG(at.st_mode)) fail(ErrorKind::store, "sqlite://{}: is not a file", path_);
    device_ = at.st_dev;
    inode_ = at.st_ino;
  }
  int code = sqlite3_open_v2(path_.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) {
    std::string why = db_ ? sqlite3_errmsg(db_) : "out of memory";
    sqlite3_close(db_);
    fail(ErrorKind::store, "sqlite://{}: can't open: {}", path_, why);
  }
  sqlite3_busy_timeout(db_, static_cast<int>(busy_timeout.count()));
}

SqliteDb::~SqliteDb() {
  for (auto& [literal, stmt] : statements_) sqlite3_finalize(stmt);
  sqlite3_close(db_);
}

bool SqliteDb::still_there() const {
  struct stat at {};
  return ::stat(path_.c_str(), &at) == 0 && at.st_dev == device_ && at.st_ino == inode_;
}

void SqliteDb::fail_with(int code, std::string_view doing) const {
  std::string_view advice;
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: advice = "; another process holds it, try again or raise --timeout"; break;
    case SQLITE_NOTADB: advice = "; it is not a knet store, give another path"; break;
    case SQLITE_CORRUPT: advice = "; move it away and run `knet init` and `knet join` again"; break;
    case SQLITE_FULL: advice = "; free some disk space"; break;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN: advice = "; it and its directory must be writable"; break;
    default: break;
  }
  fail(ErrorKind::store, "sqlite://{}: {}: {}{}", path_, doing, sqlite3_errmsg(db_), advice);
}

void SqliteDb::exec(const char* sql) {
  int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail_with(code, std::string_view(sql).substr(0, std::string_view(sql).find_first_of("\n;")));
}

sqlite3_stmt* SqliteDb::statement(const char* sql) {
  sqlite3_stmt*& stmt = statements_[sql];
  if (!stmt) {
    int code = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, nullptr);
    if (code != SQLITE_OK) fail_with(code, "prepare");
  }
  return stmt;
}

SqliteQuery::~SqliteQuery() {
  sqlite3_reset(stmt_);
  sqlite3_clear_bindings(stmt_);
}

bool SqliteQuery::step() {
  int code = sqlite3_step(stmt_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) db_.fail_with(code, "query");
  return false;
}

int64_t SqliteQuery::number(int column) const { return sqlite3_column_int64(stmt_, column); }

std::string SqliteQuery::bytes(int column) const {
  const void* data = sqlite3_column_blob(stmt_, column);
  return data ? std::string(static_cast<const char*>(data), static_cast<size_t>(sqlite3_column_bytes(stmt_, column)))
              : std::string();
}

void SqliteQuery::bind(int index, int64_t value) { sqlite3_bind_int64(stmt_, index, value); }

void SqliteQuery::bind(int index, const std::string& value) {
  sqlite3_bind_blob64(stmt_, index, value.data(), value.size(), SQLITE_TRANSIENT);
}

SqliteTransaction::SqliteTransaction(SqliteDb& db, Kind kind) : db_(db) {
  // Immediate: a reader that becomes a writer halfway can't wait for the lock, it can only fail.
  db_.exec(kind == Kind::write ? "BEGIN IMMEDIATE" : "BEGIN");
}

SqliteTransaction::~SqliteTransaction() {
  if (!open_) return;
  try {
    db_.exec("ROLLBACK");
  } catch (const Error&) {
    // sqlite rolls back by itself on some errors (full disk) and then has no transaction to end.
  }
}

void SqliteTransaction::commit() {
  db_.exec("COMMIT");
  open_ = false;
}

}  // namespace knet
