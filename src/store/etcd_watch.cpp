// The watching half of EtcdStore: connect, stream, resume; calm when etcd is away.
#include <algorithm>
#include <random>

#include "base/error.h"
#include "store/etcd_error.h"
#include "store/etcd_store.h"
#include "store/etcd_wire.h"

namespace knet {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using namespace std::chrono_literals;

constexpr milliseconds kFirstPause = 250ms;
constexpr milliseconds kLastPause = 15s;
constexpr milliseconds kSettled = 5s;   // a connection that lived so long starts the backoff anew
constexpr milliseconds kIdle = 12min;   // etcd sends progress every 10
constexpr size_t kLongestLine = 64u << 20;
constexpr auto kStopTries = 200;
constexpr milliseconds kStopEvery = 5ms;

/// Half fixed, half chance: agents that lost one etcd together must not come back together.
milliseconds jittered(milliseconds pause) {
  static thread_local std::minstd_rand random{std::random_device{}()};
  return pause / 2 + milliseconds(std::uniform_int_distribution<int64_t>(0, pause.count() / 2)(random));
}

}  // namespace

struct EtcdStore::Watching {
  const std::string& prefix;
  const WatchSink& sink;
  Revision next = 0;  // the first revision not delivered yet
  bool connected = false, told = false;
  bool compacted = false;
  bool refused = false;        // the token; a new one may do
  bool settled = false;        // this connection has been of use
  size_t failures = 0;         // in a row
  std::string why = {};
};

bool EtcdStore::stopping() {
  std::lock_guard lock(mutex_);
  return stop_;
}

bool EtcdStore::pause(milliseconds time) {
  std::unique_lock lock(mutex_);
  return wake_.wait_for(lock, time, [&] { return stop_; });
}

void EtcdStore::stop_watch() {
  std::unique_lock lock(mutex_);
  stop_ = true;
  wake_.notify_all();
  if (watcher_ == std::this_thread::get_id()) return;
  // A request that has no socket yet can't be stopped: once more until the watch has ended.
  for (int i = 0; i < kStopTries && running_ && stop_; ++i) {
    lock.unlock();
    watch_.stop();
    lock.lock();
    wake_.wait_for(lock, kStopEvery, [&] { return !running_; });
  }
}

WatchEnd EtcdStore::watch(const std::string& prefix, Revision from, const WatchSink& sink) {
  {
    std::lock_guard lock(mutex_);
    running_ = true;
    watcher_ = std::this_thread::get_id();
  }
  Watching watching{prefix, sink, from};
  WatchEnd end = WatchEnd::stopped;
  auto over = [&] {
    std::lock_guard lock(mutex_);
    running_ = false;
    watcher_ = {};
    if (end == WatchEnd::stopped) stop_ = false;
    watch_.resume();
    wake_.notify_all();
  };
  try {
    milliseconds backoff = kFirstPause;
    while (!stopping()) {
      Turn turn = follow(watching);
      if (turn == Turn::compacted) end = WatchEnd::compacted;
      if (turn != Turn::again) break;
      if (watching.settled) backoff = kFirstPause;
      // Another endpoint may hold right now; only when none of them does is it trouble.
      bool all_tried = ++watching.failures >= settings_.endpoints.size();
      if (all_tried && (watching.connected || !watching.told)) {
        watching.connected = false;
        watching.told = true;
        if (sink.on_state) sink.on_state(false, watching.why);
      }
      if (pause(jittered(all_tried ? backoff : kFirstPause))) break;
      if (all_tried) backoff = std::min(backoff * 2, kLastPause);
    }
  } catch (...) {
    over();
    throw;
  }
  over();
  return end;
}

EtcdStore::Turn EtcdStore::follow(Watching& watching) {
  watching.settled = watching.refused = false;
  watch_.resume();  // a stop() that came late for the watch before
  try {
    // A plain request first: it fails over, renews tokens, wants a leader, and tells where the store is. A store that is
    // behind what we have seen is another one, or came back from a backup.
    etcd::RangeAnswer now = etcd::parse_range(
        watch_.call("/v3/kv/range", etcd::range_request(watching.prefix + "\x01", watching.prefix + "\x02", 1, 0), EtcdChannel::Repeat::safe));
    if (now.rev < watching.next - 1) return Turn::compacted;
  } catch (const EtcdRefusal& refusal) {
    if (!stopping()) throw;
    return Turn::stopped;
  } catch (const Error& error) {
    if (error.kind != ErrorKind::store) throw;
    watching.why = error.text;
    watching.failures = settings_.endpoints.size();  // call() has asked all of them
    return stopping() ? Turn::stopped : Turn::again;
  }

  Clock::time_point began = Clock::now();
  etcd::LineSplitter lines(kLongestLine);
  std::exception_ptr thrown;  // carried round httplib, which expects none to pass
  HttpReply reply = watch_.stream("/v3/watch", etcd::watch_request(watching.prefix, watching.next), kIdle, [&](std::string_view data) {
    try {
      return lines.feed(data, [&](std::string_view line) { return take(watching, line); }) && !stopping();
    } catch (...) {
      thrown = std::current_exception();
      return false;
    }
  });
  if (stopping()) return Turn::stopped;
  if (thrown) std::rethrow_exception(thrown);
  if (watching.compacted || lines.overflowed()) return Turn::compacted;
  if (reply.failure == HttpFailure::none && reply.status != 200) {
    etcd::ErrorAnswer error = etcd::parse_error(reply.body);
    watching.why = watch_.endpoint() + ": " + error.text;
  } else if (!watching.refused) {
    std::string said = etcd::parse_error(lines.rest()).text;
    watching.why = watch_.endpoint() + ": the watch ended: " + (!said.empty() ? said : reply.reason.empty() ? "closed by the server" : reply.reason);
  }
  if (Clock::now() - began > kSettled) watching.settled = true;
  if (watching.settled) watching.failures = 0;
  watch_.rotate();
  return Turn::again;
}

bool EtcdStore::take(Watching& watching, std::string_view line) {
  if (line.find_first_not_of(" \r\t") == std::string_view::npos) return true;
  etcd::WatchMessage message;
  try {
    message = etcd::parse_watch_message(line);
  } catch (const Error& error) {
    message.error = error.text;
  }
  if (!message.error.empty()) {
    watching.why = watch_.endpoint() + ": " + message.error;
    watching.refused = true;
    return false;
  }
  if (message.canceled) {
    watching.compacted = message.compacted > 0;
    watching.refused = !watching.compacted;
    watching.why = watch_.endpoint() + ": refused the watch: " + message.cancel_reason;
    if (message.cancel_reason.find("PermissionDenied") != std::string::npos ||
        message.cancel_reason.find("permission denied") != std::string::npos)
      throw EtcdRefusal(watching.why + "; grant the user read on the prefix (etcdctl role grant-permission)", 7, message.cancel_reason);
    return false;
  }
  if (message.created && !watching.connected) {
    watching.connected = watching.told = true;
    if (watching.sink.on_state) watching.sink.on_state(true, "");
  }
  if (stopping()) return false;
  for (size_t i = 0; i < message.events.size(); ++i) {
    StoreEvent& event = message.events[i];
    Revision rev = event.rev;
    if (rev < watching.next) continue;  // a member that sends again what we have
    bool last = i + 1 == message.events.size() || message.events[i + 1].rev != rev;
    watching.sink.on_event(std::move(event));
    if (!last) continue;
    watching.next = rev + 1;
    watching.settled = true;
    if (watching.sink.on_progress) watching.sink.on_progress(rev);
  }
  // Without events and not the first answer it is etcd's word that all up to here was sent.
  if (message.events.empty() && !message.created && message.rev >= watching.next) {
    watching.next = message.rev + 1;
    if (watching.sink.on_progress) watching.sink.on_progress(message.rev);
  }
  return true;
}

}  // namespace knet
