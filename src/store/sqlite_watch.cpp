// The watching half of SqliteStore: its own connection, woken by the bell, reading the log.
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "base/error.h"
#include "store/key_range.h"
#include "store/sqlite_store.h"

namespace knet {

namespace {

constexpr std::chrono::milliseconds kFirstRetry{200};
constexpr std::chrono::milliseconds kLastRetry{15'000};

}  // namespace

struct SqliteStore::Watching {
  const std::string& prefix;
  const WatchSink& sink;
  Revision next = 0;  // the first revision not delivered yet
  bool compacted = false;
};

void SqliteStore::stop_watch() {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(stop_event_.get(), &one, sizeof one);
}

WatchEnd SqliteStore::watch(const std::string& prefix, Revision from, const WatchSink& sink) {
  Watching watching{prefix, sink, from};
  std::chrono::milliseconds retry = kFirstRetry;
  WatchEnd end = WatchEnd::stopped;
  for (;;) {
    Revision before = watching.next;
    try {
      end = follow(watching);
      break;
    } catch (const Error& error) {
      if (error.kind != ErrorKind::store) throw;
      if (sink.on_state) sink.on_state(false, error.text);
    }
    retry = watching.next > before ? kFirstRetry : std::min(retry * 2, kLastRetry);
    if (wait_for_stop(retry)) break;
  }
  uint64_t count = 0;
  if (end == WatchEnd::stopped) [[maybe_unused]] ssize_t got = ::read(stop_event_.get(), &count, sizeof count);
  return end;
}

WatchEnd SqliteStore::follow(Watching& watching) const {
  bool announced = false;
  for (;;) {
    std::unique_ptr<SqliteDb> db = open();
    Fd bell_events(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!bell_events) throw Error(ErrorKind::store, "inotify: " + errno_text(errno));
    ring_bell();  // so that it exists
    if (::inotify_add_watch(bell_events.get(), bell().c_str(), IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF) < 0)
      fail(ErrorKind::store, "{}: can't watch {}: {}", where(), bell(), errno_text(errno));
    if (!announced && watching.sink.on_state) watching.sink.on_state(true, "");
    announced = true;
    for (bool lost = false; !lost && db->still_there();) {
      expire_if_due(*db);
      if (!deliver(*db, watching)) return WatchEnd::compacted;
      if (!wait(*db, bell_events.get(), lost)) return WatchEnd::stopped;
    }
  }
}

bool SqliteStore::deliver(SqliteDb& db, Watching& watching) const {
  SqliteTransaction transaction(db, SqliteTransaction::Kind::read);
  Revision current = 0;
  {
    SqliteQuery state(db, "SELECT revision, compacted FROM state");
    state.step();
    current = state.number(0);
    // Behind what we have seen: another file, or commits that a power cut took back.
    if (watching.next <= state.number(1) || current < watching.next - 1) return false;
  }
  if (current < watching.next) return true;
  Revision open_rev = 0;
  SqliteQuery log(db,
                  "SELECT rev, key, value, deleted, lease FROM log WHERE rev >= ?1 AND key >= ?2 AND key < ?3 ORDER BY rev, key",
                  watching.next, watching.prefix, prefix_end(watching.prefix));
  while (log.step()) {
    Revision rev = log.number(0);
    if (open_rev != 0 && rev != open_rev && watching.sink.on_progress) watching.sink.on_progress(open_rev);
    if (open_rev != rev) watching.next = std::max(watching.next, rev);
    open_rev = rev;
    watching.sink.on_event({log.bytes(1), log.bytes(2), log.number(3) != 0, log.number(4), rev});
  }
  watching.next = current + 1;
  if (watching.sink.on_progress) watching.sink.on_progress(current);
  return true;
}

bool SqliteStore::wait_for_stop(std::chrono::milliseconds timeout, int other) const {
  pollfd waits[2] = {{stop_event_.get(), POLLIN, 0}, {other, POLLIN, 0}};
  int limit = static_cast<int>(std::clamp<int64_t>(timeout.count(), -1, 3'600'000));
  while (::poll(waits, 2, limit) < 0 && errno == EINTR) {
  }
  return (waits[0].revents & POLLIN) != 0;
}

bool SqliteStore::wait(SqliteDb& db, int inotify, bool& lost) const {
  int64_t timeout = -1;
  {
    SqliteQuery query(db, "SELECT deadline_ms FROM lease ORDER BY deadline_ms LIMIT 1");
    // One more millisecond: waking just before the deadline would only make us wait again.
    if (query.step()) timeout = std::max<int64_t>(0, query.number(0) - settings_.clock.wall_ms()) + 1;
  }
  if (wait_for_stop(std::chrono::milliseconds(timeout), inotify)) return false;
  alignas(inotify_event) char buffer[4096];
  for (ssize_t got; (got = ::read(inotify, buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) lost = true;
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  }
  return true;
}

}  // namespace knet
