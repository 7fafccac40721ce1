#include <unistd.h>

#include <algorithm>

#include "agent/agent_loop.h"
#include "agent/notify.h"
#include "base/log.h"
#include "base/text.h"
#include "base/version.h"
#include "core/compose.h"

namespace knet {
namespace {

constexpr size_t kMostFailures = 50;  // in one status

int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// What the node itself stands on; the rest are single peers and pods.
Kinds own_kinds() { return only(Kind::link) | only(Kind::address) | only(Kind::sysctl) | only(Kind::nft_table); }

void append(std::vector<std::string>& to, const std::vector<std::string>& items) {
  to.insert(to.end(), items.begin(), items.end());
}

}  // namespace

std::vector<std::string> AgentLoop::unready() const {
  std::vector<std::string> why;
  if (!config_)
    why.push_back(config_trouble_.empty() ? fmt::format("no network config from {} yet", where_) : config_trouble_);
  else if (!self_)
    why.push_back(self_trouble_);
  if (!flannel_trouble_.empty())
    why.push_back(flannel_trouble_);
  else if (!lease_ && !speaking_ && !cached_)
    why.push_back(lease_trouble_.empty() ? "no subnet yet" : "no subnet: " + lease_trouble_);
  if (!reconciler_.desired()) {
    why.push_back(synced_ ? "the first sync is not done" : fmt::format("nothing heard from {} yet", where_));
    return why;
  }
  if (self_ && !self_trouble_.empty()) why.push_back(self_trouble_);
  append(why, reconciler_.desired()->blockers);
  append(why, reconciler_.waiting());
  for (const auto& [object, reason] : reconciler_.holdback().failures(Clock::now(), own_kinds()))
    why.push_back(fmt::format("{}: {}", object, reason));
  return why;
}

std::vector<std::string> AgentLoop::service_troubles() const {
  std::vector<std::string> troubles;
  for (const auto& [mode, running] : services_)
    for (const std::string& text : running.service->troubles()) troubles.push_back(fmt::format("{}: {}", mode->name(), text));
  return troubles;
}

std::vector<std::string> AgentLoop::degraded() const {
  std::vector<std::string> what;
  if (!connected_ && store_since_ != 0) what.push_back(fmt::format("store {} is away: {}", where_, store_error_));
  if (cached_) what.push_back("the view is the one kept on disk; nothing is removed");
  if (lease_ && !lease_trouble_.empty()) what.push_back(lease_trouble_);
  if (config_ && !config_trouble_.empty()) what.push_back(config_trouble_);
  if (lease_ && pods_refused_)
    what.push_back(fmt::format("no new pods ({}); the subnet goes back when {} gone", no_pods_why(),
                               pods_.size() == 1 ? "the last one is" : fmt::format("{} are", pods_.size())));
  if (const auto& view = reconciler_.view(); view && unlearned_ != 0) {
    const auto& joined = view->bgp.joined;
    for (size_t i = 0; i < view->leases.size(); ++i) {
      const Lease& lease = view->leases[i];
      if (lease.mode != kLearningMode && std::binary_search(joined.begin(), joined.end(), lease.public_ip ? lease.public_ip : lease.public_ip6))
        what.push_back(fmt::format("{} announces {}, and no route to it is learned yet: it is sent to by {}", view->names[i],
                                   kLearningMode, lease.mode));
    }
  }
  if (membership_.schema() > kSchema)
    what.push_back(fmt::format("the store's schema {} is newer than ours ({}); we keep the routes and write nothing",
                               membership_.schema(), kSchema));
  const Failures failing = reconciler_.holdback().failures(Clock::now(), all_kinds() & ~own_kinds());
  if (!failing.empty())
    what.push_back(fmt::format("{} of {} can't be applied",
                               failing.size() == 1 ? "1 object" : fmt::format("{} objects", failing.size()),
                               "the peers' and pods'"));
  if (!mode_trouble_.empty()) what.push_back(mode_trouble_);
  append(what, service_troubles());
  append(what, conflicts_);
  append(what, firewalls_);
  append(what, endpoints_.problems());
  return what;
}

void AgentLoop::publish() {
  Published::State state;
  StatusSnapshot& s = state.status;
  state.view = reconciler_.view();
  state.desired = reconciler_.desired();
  state.failures = reconciler_.holdback().failures(Clock::now());

  s.node = identity_.name;
  s.version = std::string(kVersion);
  s.pid = ::getpid();
  s.since = started_unix_;
  s.at = unix_now();
  s.store = where_;
  s.store_connected = connected_;
  s.from_cache = cached_;
  s.store_since = store_since_;
  s.store_error = store_error_;
  s.revision = membership_.rev();
  if (config_) {
    s.mode = config_->mode;
    if (config_->enable_v4) s.network = config_->network.str();
    if (config_->enable_v6) s.network6 = config_->network6.str();
  }
  s.no_pods = no_pods_why();
  if (lease_) s.announced = lease_->mode;
  s.receives = rollover_.modes();
  for (const auto& [mode, path] : datapaths_) s.datapaths.push_back({mode, std::string(path.name), path.why});
  for (const auto& [mode, running] : services_) state.services.push_back(running.service);
  if (self_) {
    if (self_->public_ip) s.address = self_->public_ip.str();
    if (self_->public_ip6) s.address6 = self_->public_ip6.str();
    s.uplink = self_->uplink.dev ? self_->uplink.dev.str() : self_->uplink6.dev.str();
  }
  if (state.view) {
    const ClusterView& view = *state.view;
    if (!synced_) s.revision = view.rev;
    if (view.self.lease.subnet) s.subnet = view.self.lease.subnet.str();
    if (view.self.lease.subnet6) s.subnet6 = view.self.lease.subnet6.str();
    const ModeMtu mtu = pod_mtu(view, mode_registry());
    s.mtu_v4 = mtu.v4;
    s.mtu_v6 = mtu.v6;
    s.peers = static_cast<uint32_t>(view.leases.size());
    for (const Lease& lease : view.leases) {
      auto known = known_nodes_.find(lease.subnet ? lease.subnet : lease.subnet6);
      if (known == known_nodes_.end() || membership_.nodes().contains(known->second)) continue;
      ++s.peers_silent;
      s.degraded.push_back(
          fmt::format("{} {} gives no sign of life; lease and routes kept", known->second, subnets_text(lease)));
    }
    s.pods = static_cast<uint32_t>(view.endpoints.size());
  }
  s.lease_until = lease_ ? lease_until_ : 0;
  if (state.desired) {
    for_each_kind(state.desired->net, [&](const auto& objects) {
      using Object = typename std::remove_cvref_t<decltype(objects)>::value_type;
      s.wanted.emplace_back(to_string(Object::kKind), static_cast<uint32_t>(objects.size()));
      s.objects += static_cast<uint32_t>(objects.size());
    });
    s.notices = state.desired->notices;
  }
  s.failing = static_cast<uint32_t>(reconciler_.holdback().failing());
  s.unready = unready();
  s.ready = s.unready.empty();
  append(s.degraded, degraded());
  for (const auto& [key, why] : membership_.problems())
    s.problems.push_back(fmt::format("{}: {}", printable(key, 200), why));
  s.foreign = reconciler_.foreign();
  s.fought_over = reconciler_.holdback().fought_over(Clock::now());
  for (const auto& failure : state.failures) {
    if (s.failures.size() >= kMostFailures) break;
    s.failures.push_back(failure);
  }
  s.turns = turns_;
  s.applied = applied_;
  s.repairs = repairs_;
  s.failed_ops = failed_ops_;
  s.first_route_seconds = first_route_seconds_;
  s.last_turn_ms = last_turn_ms_;
  log_conditions(s);
  if (service_told_ && s.unready != told_unready_) tell_service(s.unready);
  published_.set(std::move(state));
}

// Lasting conditions are said when they come, and when they have gone.
void AgentLoop::log_conditions(const StatusSnapshot& s) {
  std::set<std::string> now;
  for (const std::string& text : s.notices) now.insert(text);
  for (const std::string& text : s.foreign) now.insert("foreign, left alone: " + text);
  for (const std::string& text : s.fought_over) now.insert("fought over, left alone for a minute: " + text);
  for (const auto* texts : {&conflicts_, &firewalls_}) now.insert(texts->begin(), texts->end());
  if (!mode_trouble_.empty()) now.insert(mode_trouble_);
  for (std::string& text : service_troubles()) now.insert(std::move(text));
  for (const std::string& text : reconciler_.waiting())
    if (!waits_for_pod(text)) now.insert(text);
  if (reconciler_.desired())
    for (const std::string& text : reconciler_.desired()->blockers) now.insert("not ready: " + text);
  for (const std::string& text : now)
    if (!logged_.contains(text)) log::warning("{}", text);
  for (const std::string& text : logged_)
    if (!now.contains(text)) log::info("over: {}", text);
  logged_ = std::move(now);
}

void AgentLoop::log_turn(const Reconciler::Turn& turn) {
  for (const std::string& line : turn.lines) log::info("{}{}", turn.repair ? "repair: " : "", line);
  for (const std::string& line : turn.failures) log::warning("{}", line);
  if (turn.failed > turn.failures.size())
    log::warning("{} more changes failed or had to wait for these", turn.failed - turn.failures.size());
}

void AgentLoop::tell_service(const std::vector<std::string>& unready) {
  std::string text = unready.empty()
                         ? fmt::format("ready; {} peers", reconciler_.view() ? reconciler_.view()->leases.size() : 0)
                         : "not ready: " + unready.front();
  std::replace(text.begin(), text.end(), '\n', ' ');
  notify_service(fmt::format("{}STATUS={}", service_told_ ? "" : "READY=1\n", text));
  service_told_ = true;
  told_unready_ = unready;
}

}  // namespace knet
