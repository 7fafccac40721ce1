#include "agent/agent_loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include <algorithm>

#include "agent/memory.h"
#include "agent/notify.h"
#include "agent/single.h"
#include "base/error.h"
#include "base/log.h"

namespace knet {
namespace {

using namespace std::chrono_literals;

constexpr auto kQuiet = 10ms;          // of events before a turn
constexpr auto kLongestBurst = 100ms;  // of events that a turn waits for
constexpr auto kTurnRetry = 1s;        // after a turn that failed as a whole
constexpr auto kCacheAfter = 500ms;    // without a word from the store
constexpr size_t kLargeTurn = 1000;    // changes
constexpr auto kTrimAfter = 2s;        // a large change, and what follows it
constexpr auto kServiceAfter = 10s;    // systemd is told that we run, ready or not

int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

AgentLoop::AgentLoop(const AgentOptions& options, int signals, int single)
    : options_(options),
      identity_(identify(options.paths, options.settings, true)),
      store_watch_(std::make_unique<StoreWatch>(options.settings.store, mailbox_)),
      keeper_(std::make_unique<LeaseKeeper>(options.settings.store, mailbox_)),
      monitor_(plane_.own_ports()),
      endpoints_(options.paths.endpoints()),
      reconciler_(plane_, mode_registry(),
                  {[this](const Observed& observed, Kinds kinds) { look_at_host(observed, kinds); },
                   [this](const NetState& desired) { plane_.expect(desired); }}),
      membership_(StorePaths{options.settings.store.prefix}, mode_registry()),
      published_(options.paths.endpoints()),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      signals_(signals),
      single_(single),
      ran_before_(std::filesystem::exists(options.paths.bgp_ran())),
      where_(open_store(options.settings.store)->where()),
      started_(Clock::now()),
      started_unix_(unix_now()) {
  if (!epoll_) throw_errno(errno, "make an epoll");
  if (options_.save_settings) save_node_settings(options_.paths, options_.settings);
  plane_.expect(self_sysctls());
  reconciler_.adopt_flannel(options_.adopt_flannel);
  cache_ = load_view_cache(options_.paths.view_cache());
  if (cache_ && (cache_->node != identity_.name || (!cache_->own.subnet && !cache_->own.subnet6 && !cache_->no_pods)))
    cache_.reset();
  if (cache_) rollover_.restore(cache_->received);
  for (int fd : {mailbox_.fd(), monitor_.fd(), endpoints_.fd(), signals_, single_}) watch(fd);

  StatusSource source;
  source.status = [this] { return format_status(published_.status()); };
  source.metrics = [this] { return format_metrics(published_.status()); };
  source.unready = [this] { return published_.get()->status.unready; };
  source.routes = [this] { return format_routes(identity_.name, published_.rows()); };
  source.question = [this](const ServiceQuestion& question) { return published_.answer(question); };
  source.unanswered = [this] {
    const auto state = published_.get();
    if (state->status.mode == "bgp") return fmt::format("{} has not begun with BGP yet; knet status says what holds it", identity_.name);
    return fmt::format("{} is not in bgp mode; its mode is {}", identity_.name,
                       state->status.mode.empty() ? "not known yet" : state->status.mode);
  };
  source.leave = [this] { mailbox_.post(PartMessage{}); };
  publish();
  server_ = std::make_unique<StatusServer>(std::move(source));
  server_->serve_unix(options_.paths.agent_socket(), 0660, "knet", Access::change);
  server_->serve_unix(options_.paths.status_socket(), 0666);
  if (!options_.listen.empty()) server_->serve_tcp(options_.listen, false);
  if (!options_.healthz.empty()) server_->serve_tcp(options_.healthz, true);
}

AgentLoop::~AgentLoop() {
  server_.reset();
  services_.clear();
  keeper_.reset();
  store_watch_.reset();
}

void AgentLoop::watch(int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) throw_errno(errno, "watch a descriptor");
}

int AgentLoop::run() {
  log::info("agent of {}: store {}, network namespace claimed", identity_.name, where_);
  while (!stopping_) {
    try {
      wait();
      timers();
    } catch (const std::exception& error) {
      log::error("{}", error.what());
      retry_at_ = Clock::now() + kTurnRetry;
    }
  }
  if (fatal_) throw *fatal_;
  log::info("agent of {} stops; routes and devices stay as they are", identity_.name);
  notify_service("STOPPING=1");
  if (save_at_ && !parting_) save_cache();
  return kExitOk;
}

AgentLoop::Time AgentLoop::next_wake() const {
  Time wake = reconciler_.due();
  auto consider = [&](const std::optional<Time>& at) {
    if (at) wake = std::min(wake, *at);
  };
  if (quiet_from_) consider(std::min(*quiet_from_ + kQuiet, *burst_from_ + kLongestBurst));
  if (now_) consider(Clock::now());
  if (retry_at_) wake = *retry_at_;  // a broken turn is not tried again before
  consider(save_at_);
  consider(trim_at_);
  consider(uplink_check_at_);
  consider(reap_at_);
  consider(switch_at_);
  consider(tell_at_);
  consider(pods_check_at_);
  if (cache_ && !synced_ && !cached_) consider(started_ + kCacheAfter);
  if (!service_told_) consider(started_ + kServiceAfter);
  return wake;
}

void AgentLoop::wait() {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_wake() - Clock::now()).count();
  epoll_event events[8];
  const int n =
      epoll_wait(epoll_.get(), events, std::size(events), static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000)));
  if (n < 0 && errno != EINTR) throw_errno(errno, "wait for events");
  for (int i = 0; i < n; ++i) dispatch(events[i].data.fd);
}

void AgentLoop::dispatch(int fd) {
  const Time now = Clock::now();
  if (fd == mailbox_.fd()) {
    for (AgentMessage& message : mailbox_.take()) {
      try {
        std::visit([this](auto& content) { on(content); }, message);
      } catch (const std::exception& error) {
        log::error("{}", error.what());  // the other messages count all the same
      }
    }
    publish();
  } else if (fd == monitor_.fd()) {
    const Kinds kinds = monitor_.drain();
    if (kinds.none()) return;
    reconciler_.mark(kinds, now);
    // What the host has decides what we are: it is looked at as a whole.
    if ((kinds & self_kinds()).any()) reconciler_.look_at(self_kinds());
    soon(now);
  } else if (fd == endpoints_.fd()) {
    if (endpoints_.drain()) reconciler_.mark(all_kinds(), now);
    soon(now);
  } else if (fd == signals_) {
    take_signals();
  } else if (fd == single_) {
    answer_single(single_);
  }
}

void AgentLoop::take_signals() {
  signalfd_siginfo info;
  while (::read(signals_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo != SIGHUP) {
      stopping_ = true;
      continue;
    }
    log::info("SIGHUP: looking at everything again");
    reconciler_.mark(all_kinds(), Clock::now());
    keeper_->reconnected();
    at_once();
  }
}

void AgentLoop::soon(Time now) {
  quiet_from_ = now;
  if (!burst_from_) burst_from_ = now;
}

void AgentLoop::at_once() { now_ = true; }

void AgentLoop::timers() {
  const Time now = Clock::now();
  if (cache_ && !synced_ && !cached_ && now >= started_ + kCacheAfter) use_cache();
  if (uplink_check_at_ && now >= *uplink_check_at_) {
    uplink_check_at_.reset();
    reconciler_.mark(self_kinds(), now);
    at_once();
  }
  const bool quiet = quiet_from_ && (now >= *quiet_from_ + kQuiet || now >= *burst_from_ + kLongestBurst);
  const bool held = retry_at_ && now < *retry_at_;
  if (!held && (now_ || quiet || retry_at_ || now >= reconciler_.due())) turn();
  if (reap_at_ && now >= *reap_at_) reap_modes();
  if (switch_at_ && now >= *switch_at_) switch_over();
  if (tell_at_ && now >= *tell_at_) tell_what_runs();
  if (pods_check_at_ && now >= *pods_check_at_) announce();
  if (save_at_ && now >= *save_at_) save_cache();
  if (trim_at_ && now >= *trim_at_) {
    trim_at_.reset();
    give_back_memory();
  }
  if (!service_told_ && now >= started_ + kServiceAfter) tell_service(unready());
}

void AgentLoop::turn() {
  now_ = false;
  quiet_from_.reset();
  burst_from_.reset();
  retry_at_.reset();
  const Time begin = Clock::now();
  if (view_dirty_) make_view();
  const Reconciler::Turn turn = reconciler_.run(begin);
  const Time end = Clock::now();
  last_turn_ms_ = std::chrono::duration_cast<std::chrono::milliseconds>(end - begin).count();
  ++turns_;
  applied_ += turn.applied;
  failed_ops_ += turn.failed;
  if (turn.applied > kLargeTurn) trim_at_ = end + kTrimAfter;
  if (turn.repair) repairs_ += turn.applied;
  log_turn(turn);
  if (reconciler_.dirty()) soon(end);
  if (reconciler_.view()) {
    follow_with_services();
    switch_over();
    const bool first = fresh_start_ && reconciler_.complete();
    write_files();
    if (first) {
      fresh_start_ = false;
      first_route_seconds_ = std::chrono::duration<double>(end - started_).count();
      log::info("first sync with the store done, {:.3f} s after the start", first_route_seconds_);
      trim_at_ = end + kTrimAfter;
      tell_at_ = end + kTrimAfter;
    }
    // What failed for a peer is not acted on: others would stop to receive what we still send them.
    if (reconciler_.complete() && !view_dirty_ && reconciler_.peers_stand())
      keeper_->seen(unlearned_ == 0 ? seen_ : std::min(seen_, unlearned_ - 1), membership_.nodes().size(),
                    config_ && !config_->earlier.empty());
  }
  publish();
  if (reconciler_.desired() && !service_told_) tell_service(unready());
  log::flush_repeats();
}

}  // namespace knet
