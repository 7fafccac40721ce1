#include "bgp/speaker.h"

#include <fmt/core.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <csignal>
#include <ctime>
#include <future>

#include "base/error.h"
#include "base/log.h"
#include "bgp/speaker_state.h"

namespace knet::bgp {
namespace {

constexpr size_t kReadBuffer = 256 * 1024;
constexpr int kEvents = 256;
constexpr std::chrono::milliseconds kPartingTime{100};

}  // namespace

Millis monotonic() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Speaker::State::State(OnLearned on_learned, bool was_restarted)
    : bell(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      learned(std::move(on_learned)),
      restarting(was_restarted),
      epoll(epoll_create1(EPOLL_CLOEXEC)),
      buffer(kReadBuffer) {
  if (!bell || !epoll) throw_errno(errno, "begin the BGP speaker");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, bell.get(), &event) != 0) throw_errno(errno, "begin the BGP speaker");
  now = began = last_news = monotonic();
  // Signals are the main thread's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const Undo restore([&] { pthread_sigmask(SIG_SETMASK, &before, nullptr); });
  thread = std::thread([this] { run(); });
}

Speaker::State::~State() {
  quit = true;
  eventfd_write(bell.get(), 1);
  thread.join();
}

void Speaker::State::run() {
  pthread_setname_np(pthread_self(), "knet-bgp");
  while (!quit) {
    try {
      turn();
    } catch (const std::exception& error) {
      log::error("bgp: {}", error.what());
    }
  }
}

int Speaker::State::wait_time() const {
  if (!writable.empty()) return 0;
  std::optional<Millis> next;
  const auto take = [&](const std::optional<Millis>& at) {
    if (at && (!next || *at < *next)) next = *at;
  };
  if (!timers.empty()) take(timers.begin()->first);
  if (!deadlines.empty()) take(deadlines.begin()->first);
  take(listen_again);
  take(tell_at);
  for (const Listener& listener : listeners) take(listener.paused);
  if (configured && !whole) take(std::min(last_news + kQuietStart, began + kLongestStart));
  if (!next) return -1;
  return static_cast<int>(std::clamp<Millis>(*next - monotonic(), 0, 3'600'000));
}

void Speaker::State::turn() {
  epoll_event events[kEvents];
  const int count = epoll_wait(epoll.get(), events, kEvents, wait_time());
  now = monotonic();
  for (int i = 0; i < count; ++i) on_event(events[i].data.u64, events[i].events);
  do_calls();
  do_timers();
  after_touch();
  settle();
  write_queued();
  after_touch();
}

void Speaker::State::do_calls() {
  std::vector<std::function<void()>> batch;
  {
    std::lock_guard lock(mutex);
    batch.swap(calls);
  }
  for (const auto& call : batch) {
    try {
      call();
    } catch (const std::exception& error) {  // its caller's trouble, not that of those behind it
      log::error("bgp: {}", error.what());
    }
  }
}

void Speaker::State::do_timers() {
  while (!timers.empty() && timers.begin()->first <= now) {
    Neighbor& neighbor = *by_id[timers.begin()->second];
    timers.erase(timers.begin());
    neighbor.timer.reset();
    neighbor_timers(neighbor);
  }
  while (!deadlines.empty() && deadlines.begin()->first <= now) {
    const ConnId id = deadlines.begin()->second;
    Neighbor* neighbor = connections.at(id)->neighbor;
    const bool dialled = connections.at(id)->connecting;
    remove(id);
    if (!dialled || neighbor == nullptr) continue;
    neighbor->session.on_dial_failed(connect_trouble(ETIMEDOUT, neighbor->config.port), now);
    drain(*neighbor);
  }
  for (Listener& listener : listeners) {
    if (!listener.paused || *listener.paused > now) continue;
    listener.paused.reset();
    epoll_event event{.events = EPOLLIN, .data = {.u64 = listener_key(static_cast<size_t>(&listener - listeners.data()))}};
    epoll_ctl(epoll.get(), EPOLL_CTL_MOD, listener.fd.get(), &event);
  }
  if (listen_again && *listen_again <= now) open_listeners();
  consider_start_over();
  if (tell_at && *tell_at <= now) tell_learned();
}

void Speaker::State::post(std::function<void()> call) {
  {
    std::lock_guard lock(mutex);
    calls.push_back(std::move(call));
  }
  eventfd_write(bell.get(), 1);
}

void Speaker::State::ask(const std::function<void()>& call) {
  std::promise<void> done;
  post([&] {
    try {
      call();
      done.set_value();
    } catch (...) {
      done.set_exception(std::current_exception());
    }
  });
  done.get_future().get();
}

void Speaker::State::stop(std::string_view text) {
  stopped = true;
  listeners.clear();
  listen_again.reset();
  constexpr uint8_t kShutdown = 2;  // RFC 4486
  while (!neighbors.empty()) remove_neighbor(*neighbors.begin()->second, cease(kShutdown, text));
}

// --- other threads

Speaker::Speaker(OnLearned learned, bool restarting) : state_(std::make_unique<State>(std::move(learned), restarting)) {}
Speaker::~Speaker() = default;

void Speaker::stop(std::string_view text) {
  bool told = false;
  state_->ask([&] {
    if (!state_->stopped) state_->stop(text);
    told = state_->connections.empty();
  });
  const auto end = std::chrono::steady_clock::now() + kPartingTime;
  while (!told && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    state_->ask([&] { told = state_->connections.empty(); });
  }
}

void Speaker::configure(SpeakerConfig config) {
  state_->post([state = state_.get(), shared = std::make_shared<SpeakerConfig>(std::move(config))] {
    if (!state->stopped) state->configure(std::move(*shared));
  });
}

std::vector<PeerStatus> Speaker::peers() {
  std::vector<PeerStatus> out;
  state_->ask([&] {
    for (const auto& [address, neighbor] : state_->neighbors) out.push_back(state_->status(*neighbor));
  });
  return out;
}

std::vector<RouteStatus> Speaker::routes(const RouteQuery& query) {
  std::vector<RouteStatus> out;
  state_->ask([&] { out = state_->routes(query); });
  return out;
}

void Speaker::reset(const std::optional<IpAddr>& peer, ResetKind kind) {
  state_->ask([&] { state_->reset(peer, kind); });
}

std::vector<std::string> Speaker::troubles() {
  std::lock_guard lock(state_->mutex);
  return state_->troubles;
}

}  // namespace knet::bgp
