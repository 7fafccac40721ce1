#include "agent/reconciler.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/fd.h"

namespace knet {
namespace {

// Without a complete view nothing is taken away, and no peer's object is changed: the kernel may know better than the
// cache.
void keep_additions(Plan& plan) {
  for (Stage& stage : plan.stages) {
    std::erase_if(stage.ops, [](const Op& op) {
      if (op.verb == Verb::remove || op.why == Why::recreate) return true;
      const bool of_a_peer = op.object.kind == Kind::neighbor || op.object.kind == Kind::fdb ||
                             op.object.kind == Kind::wireguard_peer || op.object.kind == Kind::tunnel_peer ||
                             op.object.kind == Kind::nexthop || op.object.kind == Kind::route;
      return op.verb == Verb::replace && of_a_peer;
    });
  }
  std::erase_if(plan.stages, [](const Stage& stage) { return stage.ops.empty(); });
}

// A pod's link that has just gone, before its record did, keeps nobody from sending to peers.
bool waits_for_device(const std::vector<std::string>& waiting) {
  return std::any_of(waiting.begin(), waiting.end(), [](const std::string& line) { return !waits_for_pod(line); });
}

}  // namespace

bool waits_for_pod(std::string_view line) {
  constexpr std::string_view kWords[] = {"waits for ", "wait for "};
  for (const std::string_view words : kWords) {
    const size_t at = line.find(words);
    if (at == std::string_view::npos) continue;
    const std::string_view rest = line.substr(at + words.size());
    return Ownership::is_pod_link(rest.substr(0, rest.find(',')));
  }
  return false;
}

void Reconciler::set_view(std::shared_ptr<const ClusterView> view, bool complete) {
  if (view_) {
    const std::vector<Prefix> now = ownership_of(*view).claimed();
    for (const Prefix& network : ownership_of(*view_).claimed()) {
      if (std::find(now.begin(), now.end(), network) == now.end() &&
          std::find(former_networks_.begin(), former_networks_.end(), network) == former_networks_.end())
        former_networks_.push_back(network);
    }
  }
  view_ = std::move(view);
  complete_ = complete;
  stale_ = true;
  world_changed_ = true;
  dirty_ = all_kinds();
}

void Reconciler::mark(Kinds kinds, Time now) {
  dirty_ |= kinds;
  if (!kinds.test(static_cast<size_t>(Kind::link)) && !kinds.test(static_cast<size_t>(Kind::address))) return;
  device_changed_ = true;
  holdback_.hurry(now);
}

Reconciler::Time Reconciler::due() const {
  Time first = next_scan_;
  if (auto retry = holdback_.due()) first = std::min(first, *retry);
  if (old_ways_until_) first = std::min(first, *old_ways_until_);
  return first;
}

void Reconciler::recompose() {
  desired_ = std::make_shared<const DesiredState>(compose(*view_, modes_));
  own_ = ownership_of(*view_);
  own_.adopt_flannel = adopt_flannel_;
  own_.former_networks = former_networks_;
  stale_ = false;
  looked_.reset();
  if (hooks_.desired) hooks_.desired(desired_->net);
}

// Observes, lets the owner look, and observes the rest too if the view changed by what was seen.
Observed Reconciler::observe(Kinds& kinds) {
  kinds |= only(Kind::link);  // what hangs on a link is judged by it
  Observed observed = plane_.observe(kinds);
  if (hooks_.observed) hooks_.observed(observed, kinds);
  if (!view_ || !stale_) return observed;
  recompose();
  if (kinds.all()) {
    // Only now the plane knows which sysctls there are to read.
    Observed sysctls = plane_.observe(only(Kind::sysctl));
    observed.net.sysctls = std::move(sysctls.net.sysctls);
    observed.complete.set(static_cast<size_t>(Kind::sysctl), sysctls.complete.test(static_cast<size_t>(Kind::sysctl)));
    return observed;
  }
  kinds = all_kinds();
  return plane_.observe(kinds);
}

Plan Reconciler::plan(const Observed& observed, Kinds kinds) {
  Plan plan = diff(*desired_, observed, own_, kinds);
  if (!complete_) keep_additions(plan);
  return plan;
}

// Where the view leads a route another way, a packet that took the old one a moment ago is still looked up there.
void Reconciler::spare_old_ways(Plan& plan, Time now) {
  if (world_changed_ && complete_) {
    for (const Stage& stage : plan.stages)
      for (const Op& op : stage.ops)
        if (op.object.kind == Kind::route && op.verb == Verb::replace) old_ways_until_ = now + kOldWays;
  }
  if (!old_ways_until_) return;
  for (Stage& stage : plan.stages)
    std::erase_if(stage.ops, [](const Op& op) {
      const Kind kind = op.object.kind;
      return op.verb == Verb::remove && op.why == Why::unwanted &&
             (kind == Kind::nexthop || kind == Kind::neighbor || kind == Kind::fdb || kind == Kind::wireguard_peer ||
              kind == Kind::tunnel_peer);
    });
  std::erase_if(plan.stages, [](const Stage& stage) { return stage.ops.empty(); });
}

Reconciler::Turn Reconciler::run(Time now) {
  Turn turn;
  const bool old_ways_end = old_ways_until_ && now >= *old_ways_until_;
  if (old_ways_end) old_ways_until_.reset();
  if (now >= next_scan_ || old_ways_end) dirty_ = all_kinds();
  Kinds kinds = dirty_ | holdback_.release_due(now);
  if (kinds.none()) return turn;
  if (!waiting_.empty() || !foreign_.empty())
    kinds = all_kinds();  // whether they still are can only be told of the whole
  Observed observed = observe(kinds);
  if (kinds.all()) next_scan_ = now + kFullScan;
  dirty_.reset();
  if (!view_) return turn;

  // What a turn that breaks off leaves undone is looked for again: our own changes wake nobody.
  Undo unfinished([&] { dirty_ = all_kinds(); });
  Plan todo = plan(observed, kinds);
  if (kinds.all() || !todo.foreign.empty()) {
    foreign_.clear();
    for (const Foreign& found : todo.foreign) foreign_.push_back(found.text);
  }
  if (kinds.all() || !todo.waiting.empty()) waiting_ = todo.waiting;
  spare_old_ways(todo, now);
  const std::vector<ObjectRef> held = holdback_.hold_back(todo, kinds, now);
  turn.repair = !world_changed_ && !old_ways_end;
  std::vector<OpResult> results;
  if (!todo.empty()) results = plane_.apply(todo);
  using Cause = Holdback::Cause;
  const Cause cause = world_changed_ ? Cause::view : device_changed_ ? Cause::device : Cause::others;
  holdback_.record(todo, results, cause, now);
  report(todo, results, turn);
  note_lacking(todo, held, results, kinds);
  turn.converged = holdback_.failing() == 0 && waiting_.empty();
  world_changed_ = device_changed_ = false;
  unfinished.dismiss();

  // Links pull other things along in ways that only the kernel knows: look again at once.
  for (const Stage& stage : todo.stages)
    for (const Op& op : stage.ops)
      if (op.object.kind == Kind::link || op.object.kind == Kind::address) {
        dirty_ = all_kinds();
        device_changed_ = true;
      }
  return turn;
}

void Reconciler::note_lacking(const Plan& plan, const std::vector<ObjectRef>& held,
                              const std::vector<OpResult>& results, Kinds kinds) {
  for (size_t kind = 0; kind < kKinds; ++kind)
    if (kinds.test(kind)) lacking_[kind] = {};
  looked_ |= kinds;
  const auto note = [&](const ObjectRef& object, bool foreign) {
    // Without a shortcut everything works as with it.
    if (object.observed || object.kind == Kind::shortcut) return;
    const Origin origin = origin_of(plan, object);
    Lacking& lacking = lacking_[static_cast<size_t>(object.kind)];
    if (origin.peer == Origin::kNoPeer || object.kind == Kind::tunnel_peer) lacking.of_modes.push_back(origin.producer);
    // A foreign route to a peer is no matter of this peer's mode.
    if (origin.peer != Origin::kNoPeer && !foreign) lacking.of_peers = true;
  };
  for (const ObjectRef& object : held) note(object, false);
  for (const Foreign& foreign : plan.foreign) note(foreign.wanted, true);
  for (const OpResult& result : results)
    if (result.error != 0) note(plan.stages[result.stage].ops[result.op].object, false);
}

bool Reconciler::stands(std::string_view mode) const {
  if (stale_ || !desired_ || !looked_.all() || waits_for_device(waiting_)) return false;
  const auto lacks = [&](const std::vector<uint16_t>& producers) {
    return std::any_of(producers.begin(), producers.end(), [&](uint16_t at) { return desired_->producers[at] == mode; });
  };
  return !lacks(desired_->blocked) && std::none_of(lacking_.begin(), lacking_.end(), [&](const Lacking& lacking) {
    return lacks(lacking.of_modes);
  });
}

bool Reconciler::peers_stand() const {
  return !stale_ && desired_ && looked_.all() && !waits_for_device(waiting_) &&
         std::none_of(lacking_.begin(), lacking_.end(), [](const Lacking& lacking) { return lacking.of_peers; });
}

void Reconciler::report(const Plan& plan, const std::vector<OpResult>& results, Turn& turn) const {
  std::vector<std::vector<bool>> failed(plan.stages.size());
  for (size_t s = 0; s < plan.stages.size(); ++s) failed[s].resize(plan.stages[s].ops.size());
  for (const OpResult& result : results) {
    if (result.error == 0) continue;
    failed[result.stage][result.op] = true;
    ++turn.failed;
    if (result.error == ECANCELED || turn.failures.size() >= Turn::kMostLines) continue;
    turn.failures.push_back(fmt::format("{}: {}", describe(plan, plan.stages[result.stage].ops[result.op]),
                                        result.reason.empty() ? errno_text(result.error) : result.reason));
  }
  const bool each = plan.size() <= Turn::kMostLines;
  for (size_t s = 0; s < plan.stages.size(); ++s) {
    size_t well = 0;
    for (size_t o = 0; o < plan.stages[s].ops.size(); ++o) {
      if (failed[s][o]) continue;
      ++well;
      if (each) turn.lines.push_back(describe(plan, plan.stages[s].ops[o]));
    }
    turn.applied += well;
    if (!each && well > 0) turn.lines.push_back(fmt::format("{}: {} done", plan.stages[s].name, well));
  }
}

std::vector<std::string> Reconciler::dry_run() {
  Kinds kinds = all_kinds();
  Observed observed = observe(kinds);
  if (!view_)
    fail(ErrorKind::config, "there is no view of the cluster to plan from: neither the store nor the cache has one");
  Plan todo = plan(observed, kinds);
  std::vector<std::string> lines = describe(todo);
  for (const std::string& wait : todo.waiting) lines.push_back(wait);
  for (const Foreign& found : todo.foreign) lines.push_back(fmt::format("foreign, left alone: {}", found.text));
  return lines;
}

}  // namespace knet
