#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "agent/agent_loop.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "core/compose.h"

namespace knet {
namespace {

using namespace std::chrono_literals;

constexpr auto kReapApart = 250ms;      // looks at who has seen what
constexpr auto kServiceBegins = 200ms;  // before it can be taken to carry packets

int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The datapaths that can't be asked for by name here: "ipip/kernel" and why.
std::vector<std::pair<std::string, std::string>> refused_datapaths(const Mode& mode, const KernelFeatures& kernel,
                                                                   const NetworkConfig& config) {
  std::vector<std::pair<std::string, std::string>> refused;
  for (const OptionSpec& option : mode.options()) {
    if (option.name != kDatapathOption) continue;
    for (const std::string_view path : option.values) {
      std::optional<std::string> why;
      try {
        why = mode.unsupported(kernel, change_mode(config, mode.name(), {fmt::format("{}={}", option.name, path)}, mode_registry()));
      } catch (const Error& error) {
        why = error.text;
      }
      if (why) refused.emplace_back(fmt::format("{}/{}", mode.name(), path), printable(*why, 200));
    }
  }
  return refused;
}

bool same_address(const Lease& lease, const LocalNode& self) {
  return (self.public_ip && lease.public_ip == self.public_ip) ||
         (self.public_ip6 && lease.public_ip6 == self.public_ip6);
}

}  // namespace

// The mode that our lease names: the lease that we hold, or will find in the store as that of an earlier life.
std::string AgentLoop::current_mode() const {
  if (lease_) return lease_->mode;
  const auto ours = [&](const Lease& lease) {
    return (cache_ && lease.subnet == cache_->own.subnet && lease.subnet6 == cache_->own.subnet6) ||
           (self_ && same_address(lease, *self_));
  };
  const auto& leases = membership_.leases();
  const auto own = std::find_if(leases.begin(), leases.end(), ours);
  if (own != leases.end()) return own->mode;
  return cache_ ? cache_->own.mode : "";
}

void AgentLoop::begin_announcing(const Lease& fresh, Acquired::How how) {
  const std::vector<ReceivedMode> before = rollover_.received();
  if (lease_) {
    if (lease_->mode == fresh.mode) return;
    rollover_.announced(lease_->mode, fresh.mode, fresh.rev, unix_now());
    log::info("announced {} in the place of {} at revision {}; {} is received until all nodes have acted on it",
              fresh.mode, lease_->mode, fresh.rev, lease_->mode);
  } else if (cache_) {
    // The cache may be older than what we last wrote into the store.
    if (cache_->own.mode != fresh.mode) rollover_.announced(cache_->own.mode, fresh.mode, fresh.rev, unix_now());
  } else if (how == Acquired::How::adopted && config_) {
    // Nothing is known of our earlier life: by any of the cluster's earlier modes somebody may still send to us.
    for (const auto& [mode, options] : config_->earlier) rollover_.announced(mode, fresh.mode, fresh.rev, unix_now());
  }
  if (rollover_.received() == before) return;
  save_at_ = Clock::now();
  reap_soon();
}

// Modes other than the cluster's that we take packets by: announced before, or still.
std::vector<std::string> AgentLoop::still_received() const {
  std::vector<std::string> modes = rollover_.modes();
  const std::string current = current_mode();
  if (config_ && !current.empty() && current != config_->mode &&
      std::find(modes.begin(), modes.end(), current) == modes.end())
    modes.push_back(current);
  return modes;
}

// After a turn: the config's mode is announced once all stands by which we receive it.
void AgentLoop::switch_over() {
  switch_at_.reset();
  mode_trouble_.clear();
  if (!config_ || !lease_ || lease_->mode == config_->mode || stands_ || !reconciler_.complete()) return;
  const Mode& mode = mode_registry().get(config_->mode);
  const auto& view = reconciler_.view();
  if (view_dirty_ || view->config.mode != config_->mode) return;
  const auto told = [&](std::string_view why) {
    mode_trouble_ = fmt::format("{} is not announced in the place of {}: {}", mode.name(), lease_->mode, why);
  };
  if (mode.asks_kernel()) {
    if (const auto why = mode.unsupported(view->self.kernel, *config_)) return told(*why);
  }
  if (!reconciler_.stands(mode.name())) return told("its receiving side does not stand yet");
  const auto service = services_.find(&mode);
  if (service != services_.end() && Clock::now() < service->second.since + kServiceBegins) {
    switch_at_ = service->second.since + kServiceBegins;
    return;
  }
  if (service != services_.end()) {
    if (const auto troubles = service->second.service->troubles(); !troubles.empty()) return told(troubles.front());
  }
  stands_ = true;
  announce();
}

void AgentLoop::reap_soon() {
  if (!rollover_.empty() && !reap_at_) reap_at_ = Clock::now() + kReapApart;
}

void AgentLoop::reap_modes() {
  reap_at_.reset();
  if (!config_ || !lease_ || !synced_ || rollover_.empty()) return;
  for (const std::string& mode : rollover_.reap(*config_, membership_.seen_by_all(*lease_), Clock::now())) {
    log::info("{} is received no more", mode);
    view_dirty_ = true;
  }
  reap_at_ = rollover_.due();
  if (!view_dirty_) return;
  announce();
  at_once();
}

void AgentLoop::ask_kernel(ClusterView& view) {
  if (!kernel_ && asks_kernel(view)) kernel_ = probe_kernel(Probe::quick);
  if (kernel_)
    view.self.kernel = *kernel_;
  else
    view.self.kernel.known = false;
  std::map<std::string, Datapath> now;
  for (const Mode* mode : mode_registry().all()) {
    if (!takes_part(view, *mode)) continue;
    const Datapath path = mode->datapath(view.self.kernel, view.config.as_mode(mode->name()));
    if (path.name.empty()) continue;
    const std::string name(mode->name());
    const auto known = datapaths_.find(name);
    if (known == datapaths_.end() || known->second.name != path.name || known->second.why != path.why)
      log::info("{} takes the {} datapath{}{}", name, path.name, path.why.empty() ? "" : ": ", path.why);
    now.emplace(name, path);
  }
  datapaths_ = std::move(now);
}

// Before the turn that takes the devices of a mode away: nobody sends by it any more.
void AgentLoop::drop_services(const ClusterView& view) {
  std::erase_if(services_, [&](const auto& item) {
    if (takes_part(view, *item.first)) return false;
    item.second.service->part();
    if (item.second.number != learning_) return true;
    learning_ = 0;
    learned_.reset();
    learned_whole_ = false;
    ran_before_ = false;
    remove_file(options_.paths.bgp_ran());
    return true;
  });
}

void AgentLoop::make_service(const Mode& mode) {
  const uint64_t number = ++made_services_;
  ServiceHost host;
  host.learned = [this, number](std::shared_ptr<const std::vector<LearnedRoute>> routes, bool whole) {
    mailbox_.post(LearnedMessage{std::move(routes), whole, number});
  };
  auto service = mode.service(host);
  if (!service) return;
  services_.emplace(&mode, Running{std::move(service), Clock::now(), number});
  if (mode.name() != kLearningMode) return;
  learning_ = number;
  write_file(options_.paths.bgp_ran(), "", 0644, false);
}

const NodeSpec* AgentLoop::own_spec() const {
  if (synced_) return membership_.bgp().spec(identity_.name);
  return cache_ ? cache_->bgp.spec(identity_.name) : nullptr;
}

// Each peer goes on being reached as before until the route by its new mode is there.
void AgentLoop::keep_former_ways(ClusterView& view, bool live) {
  unlearned_ = 0;
  if (!live) return take_learned_ways(view);
  const auto& last = reconciler_.view();
  if (last)
    unlearned_ = knet::keep_former_ways(view, last->leases);
  else if (cache_)
    unlearned_ = knet::keep_former_ways(view, cache_->peers);
}

void AgentLoop::follow_with_services() {
  const auto& view = reconciler_.view();
  const auto desired = reconciler_.desired();
  if (!desired || parting_) return;
  if (desired != serviced_) {
    for (const Mode* mode : mode_registry().all()) {
      if (services_.contains(mode) || !takes_part(*view, *mode)) continue;
      make_service(*mode);
    }
    serviced_ = desired;
  }
  for (const auto& [mode, running] : services_) running.service->follow(*view, *desired);
}

// What `knet mode set` asks before it changes the cluster's mode. Not at the start: it takes its time.
void AgentLoop::tell_what_runs() {
  tell_at_.reset();
  if (!config_) return;
  // Now whole: what was no condition for the start may be taken from here on.
  const KernelFeatures kernel = probe_kernel();
  if (!kernel.known) return;
  kernel_ = kernel;
  if (const auto& view = reconciler_.view(); view && takes_shortcuts(*view)) {
    view_dirty_ = true;
    at_once();
  }
  runs_here_.clear();
  for (const Mode* mode : mode_registry().all()) {
    const auto why = mode->unsupported(kernel, config_->as_mode(mode->name()));
    runs_here_.emplace_back(mode->name(), why ? printable(*why, 200) : "");
    for (auto& refused : refused_datapaths(*mode, kernel, *config_)) runs_here_.push_back(std::move(refused));
  }
  announce();
}

}  // namespace knet
