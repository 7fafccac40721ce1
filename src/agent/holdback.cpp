#include "agent/holdback.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <type_traits>

#include "base/error.h"
#include "base/text.h"

namespace knet {
namespace {

// Calls visit(const T&) for the object that an op is about.
template <typename Visit>
void visit_object(const Plan& plan, const ObjectRef& ref, Visit&& visit) {
  const NetState& state = ref.observed ? *plan.observed : *plan.desired;
  for_each_kind(state, [&](const auto& objects) {
    using Object = typename std::remove_cvref_t<decltype(objects)>::value_type;
    if (Object::kKind == ref.kind && ref.index < objects.size()) visit(objects[ref.index]);
  });
}

template <typename Object>
DevName device(const Object& object) {
  if constexpr (requires { object.dev; })
    return object.dev;
  else if constexpr (std::is_same_v<Object, Link>)
    return object.name;
  else
    return {};
}

}  // namespace

std::string object_text(const Plan& plan, const Op& op) {
  std::string text;
  visit_object(plan, op.object, [&](const auto& object) { text = describe(object); });
  return text;
}

DevName device_of(const Plan& plan, const Op& op) {
  DevName dev;
  visit_object(plan, op.object, [&](const auto& object) { dev = device(object); });
  return dev;
}

Origin origin_of(const Plan& plan, const ObjectRef& ref) {
  Origin origin;
  visit_object(plan, ref, [&](const auto& object) { origin = object.origin; });
  return origin;
}

std::vector<ObjectRef> Holdback::hold_back(Plan& plan, Kinds kinds, Time now) {
  std::vector<ObjectRef> held;
  std::erase_if(repaired_, [&](const auto& item) {
    return item.second.times.empty() || now - item.second.times.back() > kFightWindow * 2;
  });
  if (failing_.empty() && repaired_.empty()) return held;

  const auto must_wait = [&](const std::string& text) {
    const auto failing = failing_.find(text);
    const auto repaired = repaired_.find(text);
    return (failing != failing_.end() && failing->second.next > now) ||
           (repaired != repaired_.end() && repaired->second.held_until > now);
  };
  std::set<DevName> held_devices;
  for (const Stage& stage : plan.stages)
    for (const Op& op : stage.ops)
      if (op.object.kind == Kind::link && op.verb != Verb::remove && must_wait(object_text(plan, op)))
        held_devices.insert(device_of(plan, op));

  std::set<std::string> wanted;
  for (Stage& stage : plan.stages) {
    std::erase_if(stage.ops, [&](const Op& op) {
      const std::string text = object_text(plan, op);
      const auto failing = failing_.find(text);
      if (failing != failing_.end()) wanted.insert(text);
      const auto must_go = [&] {
        if (must_wait(text)) return true;
        // A device that can't be made anew now is not taken away for it either.
        const bool itself = op.object.kind == Kind::link && !(op.verb == Verb::remove && op.why == Why::recreate);
        if (itself || held_devices.empty() || !held_devices.contains(device_of(plan, op))) return false;
        // Its time is its device's: due() must not name an earlier one, at which nothing could be done.
        if (failing != failing_.end()) failing->second.skipped = true;
        return true;
      };
      if (!must_go()) return false;
      held.push_back(op.object);
      return true;
    });
  }
  std::erase_if(plan.stages, [](const Stage& stage) { return stage.ops.empty(); });
  std::erase_if(failing_, [&](const auto& item) {
    return kinds.test(static_cast<size_t>(item.second.kind)) && !wanted.contains(item.first);
  });
  return held;
}

void Holdback::record(const Plan& plan, const std::vector<OpResult>& results, Cause cause, Time now) {
  const bool repair = cause != Cause::view;
  const bool each = cause == Cause::others && plan.size() <= kRepairPlan;
  if (!repair && failing_.empty() && results.empty()) return;
  std::map<std::pair<uint32_t, uint32_t>, const OpResult*> failed;
  for (const OpResult& result : results)
    if (result.error != 0) failed[{result.stage, result.op}] = &result;

  for (uint32_t s = 0; s < plan.stages.size(); ++s) {
    for (uint32_t o = 0; o < plan.stages[s].ops.size(); ++o) {
      const Op& op = plan.stages[s].ops[o];
      const auto failure = failed.find({s, o});
      const bool counted = repair && (each || op.object.kind == Kind::link);
      if (failure == failed.end() && failing_.empty() && !counted) continue;
      const std::string text = object_text(plan, op);
      if (failure == failed.end()) {
        const bool retried = failing_.erase(text) > 0;
        if (counted && !retried) note_repair(text, op.object.kind, now);
      } else {
        note_failure(text, op.object.kind, *failure->second, now);
      }
    }
  }
}

void Holdback::note_failure(const std::string& text, Kind kind, const OpResult& result, Time now) {
  Failing& failing = failing_[text];
  failing.kind = kind;
  failing.reason = result.reason.empty() ? errno_text(result.error) : result.reason;
  failing.skipped = result.error == ECANCELED;
  if (failing.skipped) {
    failing.next = now;  // it goes with what it depends on
    return;
  }
  failing.wait = failing.wait.count() == 0 ? kFirstWait : std::min(failing.wait * 2, kLongestWait);
  failing.next = now + failing.wait;
}

void Holdback::note_repair(const std::string& text, Kind kind, Time now) {
  Repaired& repaired = repaired_[text];
  repaired.kind = kind;
  std::erase_if(repaired.times, [&](Time at) { return now - at > kFightWindow; });
  repaired.times.push_back(now);
  if (repaired.times.size() <= kMostRepairs) return;
  repaired.times.assign(1, now);
  repaired.held_until = now + kFightWindow;
}

void Holdback::hurry(Time now) {
  for (auto& [text, failing] : failing_) {
    failing.next = std::min(failing.next, now);
    failing.wait = std::chrono::milliseconds{0};
  }
}

std::optional<Holdback::Time> Holdback::due() const {
  std::optional<Time> first;
  auto consider = [&](Time at) { first = first ? std::min(*first, at) : at; };
  for (const auto& [text, failing] : failing_)
    if (!failing.skipped) consider(failing.next);
  for (const auto& [text, repaired] : repaired_)
    if (repaired.held_until != Time{}) consider(repaired.held_until);
  return first;
}

Kinds Holdback::release_due(Time now) {
  Kinds kinds;
  for (const auto& [text, failing] : failing_)
    if (failing.next <= now) kinds.set(static_cast<size_t>(failing.kind));
  for (auto& [text, repaired] : repaired_) {
    if (repaired.held_until == Time{} || repaired.held_until > now) continue;
    kinds = all_kinds();
    repaired.held_until = Time{};
  }
  return kinds;
}

Failures Holdback::failures(Time now, Kinds kinds) const {
  Failures out;
  for (const auto& [text, failing] : failing_) {
    if (!kinds.test(static_cast<size_t>(failing.kind))) continue;
    std::string reason = failing.reason;
    if (!failing.skipped && failing.next > now) {
      const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(failing.next - now);
      reason += wait < std::chrono::seconds(1)
                    ? "; retry in less than 1s"
                    : fmt::format("; retry in {}", format_age(std::chrono::duration_cast<std::chrono::seconds>(wait)));
    }
    out.emplace(text, std::move(reason));
  }
  for (const auto& [text, repaired] : repaired_)
    if (repaired.held_until > now && kinds.test(static_cast<size_t>(repaired.kind)))
      out.emplace(text, "fought over: undone by somebody else more than 5 times in a minute");
  return out;
}

std::vector<std::string> Holdback::fought_over(Time now) const {
  std::vector<std::string> out;
  for (const auto& [text, repaired] : repaired_)
    if (repaired.held_until > now) out.push_back(text);
  return out;
}

}  // namespace knet
