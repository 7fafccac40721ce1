// The embedded store: the contract, and what is its own: processes, crashes, clocks, files.
#include "store/sqlite_store.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "tests/support/cluster_contract.h"
#include "tests/support/store_contract.h"

using namespace knet;
using namespace knet::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

struct TempDir {
  TempDir() {
    char name[] = "/tmp/knet-sqlite-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TempDir() { fs::remove_all(path); }
  fs::path path;
};

struct SqliteRig : StoreRig {
  SqliteSettings settings() {
    SqliteSettings s{(dir.path / "knet.db").string()};
    s.history = history;
    s.clock.wall_ms = [this] { return wall.load(); };
    s.clock.steady_ms = [this] { return steady.load(); };
    s.clock.boot = boot;
    return s;
  }
  std::unique_ptr<Store> open() override { return std::make_unique<SqliteStore>(settings()); }
  void pass(std::chrono::seconds time) override {
    wall += time.count() * 1000;
    steady += time.count() * 1000;
    open()->get("/t/");  // somebody looks
  }
  void compact(Revision rev) override {
    auto store = open();
    for (Revision now = 0; now <= rev + 2 * history;) now = store->create("/filler/" + std::to_string(now), "").value();
  }
  TempDir dir;
  Revision history = 2000;
  std::string boot = "first";
  std::atomic<int64_t> wall{1'700'000'000'000}, steady{5'000'000};
};

}  // namespace

TEST_CASE("SqliteStore keeps the store contract") {
  SqliteRig rig;
  rig.history = 200;
  store_contract(rig);
}

TEST_CASE("the cluster's use cases hold on SqliteStore") {
  SqliteRig rig;
  cluster_contract(rig);
}

TEST_CASE("8 processes, 200 swaps each, lose none") {
  TempDir dir;
  SqliteSettings settings{(dir.path / "knet.db").string()};
  settings.timeout = 30s;
  std::vector<pid_t> children;
  for (int p = 0; p < 8; ++p) {
    pid_t pid = ::fork();
    if (pid == 0) {
      int status = 1;
      try {
        SqliteStore store(settings);  // all make the file at once
        store.create("/n", "0", 0);
        for (int i = 0; i < 200;) {
          KeyValue now = store.get("/n").value();
          if (store.swap("/n", std::to_string(std::stoi(now.value) + 1), now.mod_rev, 0)) ++i;
        }
        status = 0;
      } catch (const std::exception& error) {
        ::dprintf(2, "%s\n", error.what());
      }
      ::_exit(status);
    }
    children.push_back(pid);
  }
  for (pid_t pid : children) {
    int status = -1;
    ::waitpid(pid, &status, 0);
    CHECK(status == 0);
  }
  CHECK(SqliteStore(settings).get("/n")->value == "1600");
}

TEST_CASE("a process killed while it writes leaves a whole store that the others go on with") {
  TempDir dir;
  SqliteSettings settings{(dir.path / "knet.db").string()};
  SqliteStore store(settings);
  using What = Store::Change::What;
  REQUIRE(store.commit({{What::create, "/a", "0", 0, 0}, {What::create, "/b", "0", 0, 0}}));
  for (int round = 0; round < 5; ++round) {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    pid_t pid = ::fork();
    if (pid == 0) {
      SqliteStore writer(settings);
      for (int i = 0;; ++i) {
        KeyValue now = writer.get("/a").value();
        std::string next = std::to_string(std::stoi(now.value) + 1);
        writer.commit({{What::swap, "/a", next, now.mod_rev, 0}, {What::swap, "/b", next, now.mod_rev, 0}});
        if (i == 20 && ::write(ready[1], "x", 1) != 1) ::_exit(1);
      }
    }
    char byte;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    ::close(ready[0]);
    ::close(ready[1]);
    Listing listing = store.list("/");
    REQUIRE(listing.items.size() == 2);
    CHECK(listing.items[0].value == listing.items[1].value);
    CHECK(store.swap("/a", listing.items[0].value, listing.items[0].mod_rev, 0));
    CHECK(store.swap("/b", listing.items[0].value, listing.items[1].mod_rev, 0));
    Listing level = store.list("/");
    REQUIRE(store.remove("/a", 0));
    REQUIRE(store.remove("/b", 0));
    REQUIRE(store.commit({{What::create, "/a", level.items[0].value, 0, 0}, {What::create, "/b", level.items[0].value, 0, 0}}));
  }
}

TEST_CASE("a watcher hears another process within milliseconds") {
  TempDir dir;
  SqliteSettings settings{(dir.path / "knet.db").string()};
  int go[2];
  REQUIRE(::pipe(go) == 0);
  // Forked before there are threads, whose locks a child would inherit.
  pid_t pid = ::fork();
  if (pid == 0) {
    char byte;
    if (::read(go[0], &byte, 1) != 1) ::_exit(1);
    SqliteStore(settings).create("/a", "1", 0);
    ::_exit(0);
  }
  SqliteStore store(settings);
  Watcher watcher(std::make_unique<SqliteStore>(settings), "/", store.list("/").rev + 1);
  bool watching = watcher.until([](const Watcher& w) { return !w.states.empty(); });
  REQUIRE(::write(go[1], "x", 1) == 1);
  ::waitpid(pid, nullptr, 0);
  ::close(go[0]);
  ::close(go[1]);
  REQUIRE(watching);
  CHECK(watcher.until([](const Watcher& w) { return w.events.size() == 1; }, 200ms));
}

TEST_CASE("a watcher alone expires leases on time") {
  TempDir dir;
  SqliteSettings settings{(dir.path / "knet.db").string()};
  auto store = std::make_unique<SqliteStore>(settings);
  Revision rev = store->list("/").rev;
  Watcher watcher(std::make_unique<SqliteStore>(settings), "/", rev + 1);
  REQUIRE(watcher.until([](const Watcher& w) { return !w.states.empty(); }));
  REQUIRE(store->create("/a", "1", store->grant(1s)));
  store.reset();
  CHECK(watcher.until([](const Watcher& w) { return w.events.size() == 2 && w.events[1].deleted; }, 3s));
}

TEST_CASE("a clock set by hand ends no lease and keeps none alive") {
  SqliteRig rig;
  auto store = rig.open();
  LeaseId lease = store->grant(60s);
  REQUIRE(store->create("/t/a", "1", lease));
  int64_t jump = GENERATE(3'600'000LL, -3'600'000LL, 90'000LL);
  rig.wall += jump;
  auto other = rig.open();
  CHECK(other->get("/t/a"));
  CHECK(store->keep_alive(lease));
  CHECK(store->time_left(lease).value() <= 60s);
  CHECK(store->time_left(lease).value() >= 58s);
  rig.pass(30s);
  CHECK(other->get("/t/a"));
  rig.pass(31s);
  CHECK_FALSE(other->get("/t/a"));
}

TEST_CASE("after a reboot leases end at their wall clock deadline") {
  SqliteRig rig;
  auto store = rig.open();
  REQUIRE(store->create("/t/day", "1", store->grant(24h)));
  REQUIRE(store->create("/t/minute", "1", store->grant(60s)));
  store.reset();
  rig.boot = "second";
  rig.steady = 1000;
  rig.wall += 600'000;
  store = rig.open();
  CHECK(store->get("/t/day"));
  CHECK_FALSE(store->get("/t/minute"));
  rig.pass(24h);
  CHECK_FALSE(store->get("/t/day"));
}

TEST_CASE("history is bounded") {
  SqliteRig rig;
  rig.history = 50;
  auto store = rig.open();
  Revision rev = store->create("/t/n", "0", 0).value();
  for (int i = 0; i < 500; ++i) rev = store->swap("/t/n", std::to_string(i), rev, 0).value();
  store.reset();
  sqlite3* raw = nullptr;
  REQUIRE(sqlite3_open((rig.dir.path / "knet.db").c_str(), &raw) == SQLITE_OK);
  int rows = 0;
  sqlite3_exec(raw, "SELECT count(*) FROM log",
               [](void* out, int, char** values, char**) { return *static_cast<int*>(out) = std::atoi(values[0]), 0; },
               &rows, nullptr);
  sqlite3_close(raw);
  CHECK(rows >= 50);
  CHECK(rows <= 64);
  Watcher near(rig.open(), "/t/", rev - 40);
  CHECK(near.until_events(41));
}

TEST_CASE("the files are for their owner alone") {
  TempDir dir;
  SqliteStore store({(dir.path / "deep/er/knet.db").string()});
  REQUIRE(store.create("/a", "1", 0));
  for (const auto& file : fs::directory_iterator(dir.path / "deep/er")) {
    struct stat at {};
    REQUIRE(::stat(file.path().c_str(), &at) == 0);
    CHECK((at.st_mode & 0777) == 0600);
  }
}

TEST_CASE("a file that was deleted or replaced is a fresh store for calls and watches") {
  TempDir dir;
  SqliteSettings settings{(dir.path / "knet.db").string()};
  SqliteStore store(settings);
  for (int i = 0; i < 5; ++i) REQUIRE(store.create("/" + std::to_string(i), "1", 0));
  Watcher watcher(std::make_unique<SqliteStore>(settings), "/", store.list("/").rev + 1);
  REQUIRE(watcher.until([](const Watcher& w) { return !w.states.empty(); }));
  for (const char* end : {"", "-wal", "-shm"}) fs::remove(settings.path + end);
  CHECK(store.list("/").items.empty());
  REQUIRE(store.create("/new", "1", 0));
  REQUIRE(watcher.until([](const Watcher& w) { return w.ended; }));
  CHECK(watcher.end == WatchEnd::compacted);
}

TEST_CASE("a watch survives the loss of its bell") {
  TempDir dir;
  SqliteSettings settings{(dir.path / "knet.db").string()};
  SqliteStore store(settings);
  Watcher watcher(std::make_unique<SqliteStore>(settings), "/", store.list("/").rev + 1);
  REQUIRE(watcher.until([](const Watcher& w) { return !w.states.empty(); }));
  fs::remove(settings.path + ".bell");
  REQUIRE(store.create("/a", "1", 0));
  CHECK(watcher.until_events(1));
}

TEST_CASE("what is not our file is refused and left alone") {
  TempDir dir;
  std::string path = (dir.path / "other.db").string();
  SECTION("text") {
    std::ofstream(path) << "this is a text of more than some bytes, and no database at all, so there\n";
    REQUIRE_THROWS_WITH(SqliteStore({path}).get("/a"), Catch::Contains(path) && Catch::Contains("not a knet store"));
    CHECK(fs::file_size(path) == 73);
  }
  SECTION("another program's database") {
    sqlite3* raw = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &raw) == SQLITE_OK);
    sqlite3_exec(raw, "CREATE TABLE mine(x)", nullptr, nullptr, nullptr);
    sqlite3_close(raw);
    REQUIRE_THROWS_WITH(SqliteStore({path}).get("/a"), Catch::Contains("another program's database"));
  }
  SECTION("a newer knet's") {
    { SqliteStore({path}).create("/a", "1", 0); }
    sqlite3* raw = nullptr;
    REQUIRE(sqlite3_open(path.c_str(), &raw) == SQLITE_OK);
    sqlite3_exec(raw, "PRAGMA user_version=7", nullptr, nullptr, nullptr);
    sqlite3_close(raw);
    REQUIRE_THROWS_WITH(SqliteStore({path}).get("/a"), Catch::Contains("schema 7") && Catch::Contains("upgrade"));
  }
  SECTION("a directory") {
    fs::create_directory(path);
    REQUIRE_THROWS_AS(SqliteStore({path}).get("/a"), Error);
  }
}
