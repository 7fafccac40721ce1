#include "tests/support/store_contract.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "base/error.h"

namespace knet::test {

using namespace std::chrono_literals;

Watcher::Watcher(std::unique_ptr<Store> store, std::string prefix, Revision from) : store_(std::move(store)) {
  thread_ = std::thread([this, prefix = std::move(prefix), from] {
    auto tell = [this](auto&& change) {
      std::lock_guard lock(mutex_);
      change();
      told_.notify_all();
    };
    Store::WatchSink sink;
    sink.on_event = [&](StoreEvent&& event) {
      tell([&] {
        trace += (event.deleted ? "-" + event.key : "+" + event.key + "=" + event.value) + "@" +
                 std::to_string(event.rev) + " ";
        events.push_back(std::move(event));
      });
    };
    sink.on_progress = [&](Revision rev) {
      tell([&] {
        progress.push_back(rev);
        trace += "|" + std::to_string(rev) + " ";
      });
    };
    sink.on_state = [&](bool connected, const std::string& why) {
      tell([&] { states.emplace_back(connected, why); });
    };
    WatchEnd how = WatchEnd::stopped;
    std::string what;
    try {
      how = store_->watch(prefix, from, sink);
    } catch (const std::exception& e) {
      what = e.what();
    }
    tell([&] {
      end = how;
      error = what;
      ended = true;
    });
  });
}

Watcher::~Watcher() { stop(); }

bool Watcher::until(const std::function<bool(const Watcher&)>& fact, std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return told_.wait_for(lock, limit, [&] { return fact(*this); });
}

std::string Watcher::text() {
  std::lock_guard lock(mutex_);
  return trace;
}

std::chrono::milliseconds Watcher::stop() {
  auto begin = std::chrono::steady_clock::now();
  if (thread_.joinable()) {
    std::unique_lock lock(mutex_);
    bool running = !ended;
    lock.unlock();  // the watch may be telling us something
    if (running) store_->stop_watch();
    thread_.join();
  }
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
}

namespace {

std::vector<std::string> keys_of(const Listing& listing) {
  std::vector<std::string> keys;
  for (const KeyValue& item : listing.items) keys.push_back(item.key);
  return keys;
}

/// The revisions are the only part of a trace that differs between stores: "+/t/a=1@0" relative to `base`.
std::string relative(const std::vector<StoreEvent>& events, const std::string& prefix, Revision base) {
  std::string text;
  for (const StoreEvent& event : events) {
    text += (event.deleted ? "-" : "+") + event.key.substr(prefix.size());
    if (!event.deleted) text += "=" + event.value;
    text += "@" + std::to_string(event.rev - base) + " ";
  }
  return text;
}

void keys_and_revisions(StoreRig& rig) {
  auto store = rig.open();
  auto other = rig.open();
  std::string p = rig.prefix();

  CHECK_FALSE(store->get(p + "a"));
  CHECK(store->list(p).items.empty());
  auto created = store->create(p + "a", "1");
  REQUIRE(created);
  CHECK_FALSE(other->create(p + "a", "other"));
  auto a = other->get(p + "a");
  REQUIRE(a);
  CHECK(a->key == p + "a");
  CHECK(a->value == "1");
  CHECK(a->create_rev == *created);
  CHECK(a->mod_rev == *created);
  CHECK(a->lease == 0);

  auto swapped = other->swap(p + "a", "2", *created);
  REQUIRE(swapped);
  CHECK(*swapped > *created);
  CHECK_FALSE(store->swap(p + "a", "3", *created));
  CHECK_FALSE(store->swap(p + "none", "3", *created));
  CHECK_FALSE(store->swap(p + "none", "3", 0));
  CHECK_FALSE(store->swap(p + "a", "3", 0));
  a = store->get(p + "a");
  REQUIRE(a);
  CHECK(a->value == "2");
  CHECK(a->create_rev == *created);
  CHECK(a->mod_rev == *swapped);

  CHECK_FALSE(store->remove(p + "a", *created));
  CHECK_FALSE(store->remove(p + "none"));
  CHECK(store->remove(p + "a", *swapped));
  CHECK_FALSE(store->remove(p + "a"));
  auto again = store->create(p + "a", "");
  REQUIRE(again);
  a = store->get(p + "a");
  REQUIRE(a);
  CHECK(a->value.empty());
  CHECK(a->create_rev == *again);
  CHECK(store->remove(p + "a"));
}

void bytes_come_back(StoreRig& rig) {
  auto store = rig.open();
  std::string p = rig.prefix();
  std::string odd("\0\x01 quote\" back\\slash \xff\xfe \xe2\x82\xac \n", 27);
  std::string name = p + "10.6.85.0-24&2001:cafe:42:2f::-64 %\"\\";
  REQUIRE(store->create(name, odd));
  CHECK(store->get(name)->value == odd);
  std::string big(1'000'000, 'x');
  for (size_t i = 0; i < big.size(); i += 7) big[i] = static_cast<char>(i * 31);
  Revision before = store->list(p).rev;
  auto rev = store->create(p + "big", big);
  REQUIRE(rev);
  CHECK(store->get(p + "big")->value == big);
  CHECK(store->list(p).items.back().value == big);
  Watcher watcher(rig.open(), p, before + 1);
  REQUIRE(watcher.until_events(1));
  CHECK(watcher.events[0].value == big);
}

void lists(StoreRig& rig) {
  auto store = rig.open();
  std::string p = rig.prefix();
  // More than one page of any implementation, written in an order that is not theirs.
  std::vector<Store::Change> batch;
  auto flush = [&] {
    REQUIRE(store->commit(batch));
    batch.clear();
  };
  for (int i = 0; i < 1300; ++i) {
    int n = (i * 701) % 1300;
    std::string digits = std::to_string(10000 + n);
    batch.push_back({Store::Change::What::create, p + "many/" + digits, "v" + digits, 0, 0});
    if (batch.size() == 100) flush();
  }
  REQUIRE(store->create(p + "many", "beside"));
  REQUIRE(store->create(p + "many0", "after"));
  Listing listing = store->list(p + "many/");
  REQUIRE(listing.items.size() == 1300);
  CHECK(std::is_sorted(listing.items.begin(), listing.items.end(),
                       [](const KeyValue& a, const KeyValue& b) { return a.key < b.key; }));
  CHECK(listing.items.front().key == p + "many/10000");
  CHECK(listing.items.back().value == "v11299");
  CHECK(listing.rev == store->get(p + "many0")->mod_rev);

  int seen = 0;
  Revision rev = store->for_each(p + "many", [&](KeyValue&& item) {
    ++seen;
    CHECK(item.key.starts_with(p + "many"));
  });
  CHECK(seen == 1302);
  CHECK(rev >= listing.rev);
}

void listing_is_one_moment(StoreRig& rig) {
  // A pair is always written in one commit; a listing that mixed two moments would see it torn.
  auto store = rig.open();
  std::string p = rig.prefix();
  std::vector<Store::Change> fill;
  for (int i = 0; i < 1200; ++i) {
    fill.push_back({Store::Change::What::create, p + "m/" + std::to_string(10000 + i), "x", 0, 0});
    if (fill.size() == 100) {
      REQUIRE(store->commit(fill));
      fill.clear();
    }
  }
  using What = Store::Change::What;
  auto rev = store->commit({{What::create, p + "a", "0", 0, 0}, {What::create, p + "z", "0", 0, 0}});
  REQUIRE(rev);
  std::atomic<bool> stop{false};
  std::atomic<int> written{0};
  std::thread writer([&, other = rig.open()] {
    for (int i = 1; !stop; ++i) {
      rev = other->commit({{What::swap, p + "a", std::to_string(i), *rev, 0}, {What::swap, p + "z", std::to_string(i), *rev, 0}});
      if (!rev) break;
      ++written;
    }
  });
  while (written == 0) std::this_thread::yield();
  for (int i = 0; i < 10; ++i) {
    Listing listing = store->list(p);
    REQUIRE(listing.items.size() == 1202);
    CHECK(listing.items.front().value == listing.items.back().value);
    CHECK(listing.items.front().mod_rev <= listing.rev);
  }
  stop = true;
  writer.join();
  CHECK(rev);
}

void commits(StoreRig& rig) {
  auto store = rig.open();
  std::string p = rig.prefix();
  using What = Store::Change::What;
  auto first = store->commit({{What::create, p + "a", "1", 0, 0}, {What::create, p + "b", "1", 0, 0}});
  REQUIRE(first);
  CHECK(store->get(p + "a")->mod_rev == *first);
  CHECK(store->get(p + "b")->mod_rev == *first);
  // One condition that does not hold stops all of it.
  CHECK_FALSE(store->commit({{What::create, p + "c", "1", 0, 0}, {What::create, p + "a", "2", 0, 0}}));
  CHECK_FALSE(store->commit({{What::create, p + "c", "1", 0, 0}, {What::swap, p + "a", "2", *first - 1, 0}}));
  CHECK_FALSE(store->commit({{What::create, p + "c", "1", 0, 0}, {What::remove, p + "a", "", *first - 1, 0}}));
  CHECK_FALSE(store->commit({{What::create, p + "c", "1", 0, 0}, {What::remove, p + "none", "", 0, 0}}));
  CHECK_FALSE(store->commit({{What::create, p + "c", "1", 0, 0}, {What::swap, p + "none", "", 0, 0}}));
  CHECK_FALSE(store->get(p + "c"));
  auto all = store->commit({{What::create, p + "c", "3", 0, 0}, {What::swap, p + "a", "3", *first, 0},
                            {What::remove, p + "b", "", *first, 0}});
  REQUIRE(all);
  CHECK(keys_of(store->list(p)) == std::vector<std::string>{p + "a", p + "c"});
  Watcher watcher(rig.open(), p, *all);
  REQUIRE(watcher.until([&](const Watcher& w) { return !w.progress.empty() && w.progress.back() >= *all; }));
  CHECK(watcher.events.size() == 3);
}

void ttl_leases(StoreRig& rig) {
  auto store = rig.open();
  auto other = rig.open();
  std::string p = rig.prefix();
  auto ttl = rig.short_ttl();
  LeaseId lease = store->grant(ttl);
  LeaseId kept = store->grant(ttl);
  LeaseId longer = store->grant(3600s);
  REQUIRE(lease != 0);
  REQUIRE(lease != kept);
  REQUIRE(store->create(p + "a", "1", lease));
  REQUIRE(store->create(p + "b", "1", lease));
  REQUIRE(store->create(p + "kept", "1", kept));
  auto detached = store->create(p + "detached", "1", lease);
  REQUIRE(store->swap(p + "detached", "2", *detached, 0));
  auto moved = store->create(p + "moved", "1", lease);
  REQUIRE(store->swap(p + "moved", "2", *moved, longer));
  CHECK(other->get(p + "a")->lease == lease);
  CHECK(other->get(p + "moved")->lease == longer);
  auto left = other->time_left(longer);
  REQUIRE(left);
  CHECK(*left <= 3600s);
  CHECK(*left >= 3590s);

  Watcher watcher(rig.open(), p, store->list(p).rev + 1);
  rig.pass(ttl / 2);
  CHECK(other->keep_alive(kept));
  rig.pass(ttl - ttl / 2 + 1s);
  if (ttl / 2 > 1s) CHECK(store->get(p + "kept"));
  REQUIRE(watcher.until([&](const Watcher& w) {
    return std::count_if(w.events.begin(), w.events.end(), [&](auto& e) { return e.deleted && e.key < p + "b~"; }) == 2;
  }, 20s));
  CHECK_FALSE(store->get(p + "a"));
  CHECK_FALSE(store->get(p + "b"));
  CHECK(store->get(p + "detached"));
  CHECK(store->get(p + "moved"));
  CHECK_FALSE(store->keep_alive(lease));
  CHECK_FALSE(store->time_left(lease));
  REQUIRE_THROWS_AS(store->create(p + "late", "1", lease), Error);
  CHECK_FALSE(store->get(p + "late"));

  store->revoke(longer);
  CHECK_FALSE(store->get(p + "moved"));
  CHECK_NOTHROW(store->revoke(longer));
  CHECK_FALSE(store->keep_alive(longer));
  REQUIRE(watcher.until([&](const Watcher& w) { return !w.events.empty() && w.events.back().key == p + "moved"; }));
}

void list_and_watch_without_gap(StoreRig& rig) {
  auto store = rig.open();
  std::string p = rig.prefix();
  std::atomic<bool> stop{false};
  std::atomic<int> made{0};
  std::thread writer([&, other = rig.open()] {
    for (int i = 0; !stop && i < 400; ++i) {
      other->create(p + std::to_string(100000 + i), std::to_string(i));
      made = i + 1;
    }
  });
  while (made < 5) std::this_thread::yield();
  Listing listing = store->list(p);
  Watcher watcher(rig.open(), p, listing.rev + 1);
  std::this_thread::sleep_for(20ms);
  stop = true;
  writer.join();
  size_t rest = static_cast<size_t>(made) - listing.items.size();
  REQUIRE(watcher.until_events(rest));
  std::this_thread::sleep_for(20ms);
  watcher.stop();
  REQUIRE(watcher.events.size() == rest);
  for (size_t i = 0; i < rest; ++i)
    CHECK(watcher.events[i].key == p + std::to_string(100000 + listing.items.size() + i));
}

void watch_groups(StoreRig& rig) {
  auto store = rig.open();
  std::string p = rig.prefix();
  using What = Store::Change::What;
  Revision base = store->list(p).rev;
  auto pair = store->commit({{What::create, p + "a", "1", 0, 0}, {What::create, p + "b", "1", 0, 0}});
  auto second = store->swap(p + "a", "2", *pair);
  REQUIRE(store->create("/elsewhere" + p + "x", "1"));
  REQUIRE(store->remove("/elsewhere" + p + "x"));
  Watcher early(rig.open(), p, base + 1);   // catches up
  Watcher late(rig.open(), p, *second + 1); // sees only what follows
  auto stateful = [](const Watcher& w) { return !w.states.empty() && w.states.front().first; };
  REQUIRE(early.until(stateful));
  REQUIRE(late.until(stateful));
  REQUIRE(early.until_events(3));
  REQUIRE(store->remove(p + "b"));
  auto last = store->create(p + "c", "3");
  for (Watcher* watcher : {&early, &late})
    REQUIRE(watcher->until([&](const Watcher& w) { return !w.progress.empty() && w.progress.back() >= *last; }));
  CHECK(relative(early.events, p, *pair) == "+a=1@0 +b=1@0 +a=2@1 -b@" + std::to_string(*last - 1 - *pair) + " +c=3@" +
                                                std::to_string(*last - *pair) + " ");
  CHECK(late.events.size() == 2);
  // Between two events of different revisions stands a progress of the first; never inside one revision.
  std::string text = early.text();
  std::string first_pair = "+" + p + "a=1@" + std::to_string(*pair) + " +" + p + "b=1@" + std::to_string(*pair) + " |";
  CHECK(text.find(first_pair) == 0);
  CHECK(text.find("@" + std::to_string(*second) + " |") != std::string::npos);
  CHECK(std::is_sorted(early.progress.begin(), early.progress.end()));
}

void watch_ends(StoreRig& rig) {
  auto store = rig.open();
  std::string p = rig.prefix();
  {
    Watcher idle(rig.open(), p, store->list(p).rev + 1);
    REQUIRE(idle.until([](const Watcher& w) { return !w.states.empty(); }));
    CHECK(idle.stop() < 100ms);
    CHECK(idle.ended);
    CHECK(idle.end == WatchEnd::stopped);
    CHECK(idle.error.empty());
  }
  {
    // Stopped before it began: the next watch returns, the one after it runs.
    auto twice = rig.open();
    twice->stop_watch();
    Store::WatchSink sink{[](StoreEvent&&) {}, {}, {}};
    auto begin = std::chrono::steady_clock::now();
    CHECK(twice->watch(p, store->list(p).rev + 1, sink) == WatchEnd::stopped);
    CHECK(std::chrono::steady_clock::now() - begin < 200ms);
    Watcher after(std::move(twice), p, store->list(p).rev + 1);
    REQUIRE(store->create(p + "a", "1"));
    CHECK(after.until_events(1));
  }
}

void compaction(StoreRig& rig) {
  auto store = rig.open();
  std::string p = rig.prefix();
  auto first = store->create(p + "a", "0");
  REQUIRE(first);
  Revision last = *first;
  for (int i = 1; i <= 5; ++i) last = store->swap(p + "a", std::to_string(i), last).value();
  rig.compact(last);
  Watcher old(rig.open(), p, *first + 1);
  REQUIRE(old.until([](const Watcher& w) { return w.ended; }));
  CHECK(old.end == WatchEnd::compacted);
  CHECK(old.events.empty());
  CHECK(old.error.empty());
  Listing listing = store->list(p);
  REQUIRE(listing.items.size() == 1);
  CHECK(listing.items[0].create_rev == *first);
  Watcher fresh(rig.open(), p, listing.rev + 1);
  REQUIRE(store->swap(p + "a", "new", listing.items[0].mod_rev));
  CHECK(fresh.until_events(1));
}

void many_watchers(StoreRig& rig) {
  auto store = rig.open();
  std::string p = rig.prefix();
  Revision from = store->list(p).rev + 1;
  std::vector<std::unique_ptr<Watcher>> watchers;
  for (int i = 0; i < 8; ++i) watchers.push_back(std::make_unique<Watcher>(rig.open(), p, from));
  std::vector<std::thread> writers;
  for (int w = 0; w < 2; ++w)
    writers.emplace_back([&, w, other = rig.open()] {
      for (int i = 0; i < 50; ++i) other->create(p + std::to_string(w) + "/" + std::to_string(i), "x");
    });
  for (std::thread& writer : writers) writer.join();
  for (auto& watcher : watchers) REQUIRE(watcher->until_events(100));
  auto flat = [&](const Watcher& w) { return relative(w.events, p, 0); };
  for (auto& watcher : watchers) CHECK(flat(*watcher) == flat(*watchers.front()));
}

void swaps_under_contention(StoreRig& rig) {
  auto store = rig.open();
  std::string p = rig.prefix();
  REQUIRE(store->create(p + "n", "0"));
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, mine = rig.open()] {
      for (int i = 0; i < 25;) {
        auto now = mine->get(p + "n");
        if (!now) {
          ++failures;
          return;
        }
        if (mine->swap(p + "n", std::to_string(std::stoi(now->value) + 1), now->mod_rev)) ++i;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
  CHECK(store->get(p + "n")->value == "100");
}

}  // namespace

void store_contract(StoreRig& rig) {
  SECTION("keys, values and revisions") { keys_and_revisions(rig); }
  SECTION("bytes come back as they were given, a megabyte too") { bytes_come_back(rig); }
  SECTION("lists are sorted, complete and of one prefix") { lists(rig); }
  SECTION("a listing is one moment") { listing_is_one_moment(rig); }
  SECTION("commits are all or nothing") { commits(rig); }
  SECTION("TTL leases end with their keys") { ttl_leases(rig); }
  SECTION("list and watch leave no gap") { list_and_watch_without_gap(rig); }
  SECTION("watches group by revision") { watch_groups(rig); }
  SECTION("watches end when told") { watch_ends(rig); }
  SECTION("a compacted watch says so") { compaction(rig); }
  SECTION("many watchers see the same") { many_watchers(rig); }
  SECTION("swaps under contention lose none") { swaps_under_contention(rig); }
}

}  // namespace knet::test
