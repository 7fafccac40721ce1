// What must wait: objects that failed (exponential backoff) and objects that somebody else keeps undoing ("fought
// over"). Known by their text (describe()), so that an object that is wanted otherwise starts afresh. A plain value;
// the time is given.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/route_rows.h"

namespace knet {

/// describe() of the op's object.
std::string object_text(const Plan& plan, const Op& op);
/// The device that the object is or hangs on; empty if none.
DevName device_of(const Plan& plan, const Op& op);
/// Who wanted the object; of one that is only observed, nobody.
Origin origin_of(const Plan& plan, const ObjectRef& object);

class Holdback {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kFirstWait{200};
  static constexpr std::chrono::milliseconds kLongestWait{30'000};
  static constexpr size_t kMostRepairs = 5;  // a minute; more is a fight
  static constexpr std::chrono::seconds kFightWindow{60};
  /// A plan with more ops is a change of the world, not a repair: of it only links are counted, for which thousands of
  /// ops may stand.
  static constexpr size_t kRepairPlan = 256;

  /// Takes the ops whose time has not come out of the plan, and those that hang on a device that is held back; returns
  /// what these were about. Failures of these kinds that the plan does not want any more are forgotten.
  std::vector<ObjectRef> hold_back(Plan& plan, Kinds kinds, Time now);
  /// Whose doing it is that a plan is needed at all.
  enum class Cause : uint8_t {
    view,    // ours: the cluster changed
    device,  // a device or an address changed, and the kernel took along what hung on it: of the plan only links count
    others,  // the plan undoes what others did
  };
  /// What apply said of the plan that hold_back left.
  void record(const Plan& plan, const std::vector<OpResult>& results, Cause cause, Time now);
  /// The world changed (a link came, an address): whatever failed may be tried at once.
  void hurry(Time now);

  /// When the next held object may be tried.
  std::optional<Time> due() const;
  /// Lets go what may be tried by now: the kinds to look at.
  Kinds release_due(Time now);
  /// Objects failing now, with the reason and when it is tried again.
  Failures failures(Time now, Kinds kinds = all_kinds()) const;
  size_t failing() const { return failing_.size(); }
  std::vector<std::string> fought_over(Time now) const;

 private:
  struct Failing {
    Kind kind;
    std::string reason;
    std::chrono::milliseconds wait{0};
    Time next;
    bool skipped = false;  // only because something below it failed
  };
  struct Repaired {
    Kind kind{};
    std::vector<Time> times;  // of the last minute
    Time held_until{};
  };
  void note_failure(const std::string& text, Kind kind, const OpResult& result, Time now);
  void note_repair(const std::string& text, Kind kind, Time now);

  std::map<std::string, Failing> failing_;
  std::map<std::string, Repaired> repaired_;
};

}  // namespace knet
