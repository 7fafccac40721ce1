// One node's reconciliation: dirty kinds -> observe -> compose (kept until the view changes) -> diff -> apply.
// Level-triggered: events only mark kinds dirty, what is true is read. Belongs to one thread; no clock (time is given),
// no log, no waiting.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/holdback.h"
#include "core/compose.h"
#include "core/mode.h"
#include "core/plan.h"
#include "core/view.h"

namespace knet {

struct ReconcilerHooks {
  /// After each observe, before compose: the owner may bring host facts and endpoints up to date and call set_view.
  std::function<void(const Observed&, Kinds)> observed = {};
  /// The desired state is new: the plane may have to know which sysctls to read.
  std::function<void(const NetState&)> desired = {};
};

/// Whether a line of Plan::waiting is about a pod's link: gone a moment before its record, as in every CNI DEL.
bool waits_for_pod(std::string_view line);

class Reconciler {
 public:
  using Time = Holdback::Time;
  static constexpr std::chrono::seconds kFullScan{60};
  /// How long the entries by which a peer was reached outlive the route that led there: for packets on their way.
  static constexpr std::chrono::seconds kOldWays{1};

  Reconciler(Plane& plane, const ModeRegistry& modes, ReconcilerHooks hooks = {})
      : plane_(plane), modes_(modes), hooks_(std::move(hooks)) {}

  /// The cluster as of now. Not `complete` (from the cache): nothing is deleted or replaced but our devices' state.
  void set_view(std::shared_ptr<const ClusterView> view, bool complete);
  void adopt_flannel(bool yes) { adopt_flannel_ = yes; }
  const std::shared_ptr<const ClusterView>& view() const { return view_; }
  bool complete() const { return complete_; }

  /// Something happened to objects of these kinds.
  void mark(Kinds kinds, Time now);
  /// The next turn looks at these kinds too, though nothing is known to have happened to them.
  void look_at(Kinds kinds) { dirty_ |= kinds; }
  bool dirty() const { return dirty_.any(); }
  /// When run() should be called though nothing is marked: a retry, or the full scan.
  Time due() const;

  struct Turn {
    bool converged = false;  // there was a view, and nothing failed or was held back
    size_t applied = 0;      // ops that went well
    size_t failed = 0;
    bool repair = false;             // the view had not changed: what was done undid what others did
    std::vector<std::string> lines;  // one per op, at most kMostLines, for the log
    static constexpr size_t kMostLines = 16;
    std::vector<std::string> failures;  // "create route ...: reason", first kMostLines
  };
  /// One turn over the dirty kinds and what is due. Throws what observe and compose throw; the kinds stay dirty then.
  Turn run(Time now);
  /// What run() would do, without doing it. Observes all.
  std::vector<std::string> dry_run();

  // What the last turns found, for status.
  std::shared_ptr<const DesiredState> desired() const { return desired_; }
  const std::vector<std::string>& foreign() const { return foreign_; }
  const std::vector<std::string>& waiting() const { return waiting_; }  // "knet.1 waits for eth0, which is not there"
  const Holdback& holdback() const { return holdback_; }

  /// Whether all is in place by which this node receives the mode: what is no single peer's (device, addresses,
  /// filters, sysctls), and whom it takes packets from. As of the last turn; false before the view's first.
  bool stands(std::string_view mode) const;
  /// Whether every peer is sent to as the view says, as far as its mode can.
  bool peers_stand() const;

 private:
  // What could not be brought about, of one kind.
  struct Lacking {
    std::vector<uint16_t> of_modes;  // producers whose receiving side lacks something
    bool of_peers = false;
  };
  Observed observe(Kinds& kinds);
  void recompose();
  Plan plan(const Observed& observed, Kinds kinds);
  void spare_old_ways(Plan& plan, Time now);
  void report(const Plan& plan, const std::vector<OpResult>& results, Turn& turn) const;
  void note_lacking(const Plan& plan, const std::vector<ObjectRef>& held, const std::vector<OpResult>& results,
                    Kinds kinds);

  Plane& plane_;
  const ModeRegistry& modes_;
  ReconcilerHooks hooks_;
  std::shared_ptr<const ClusterView> view_;
  std::shared_ptr<const DesiredState> desired_;
  Ownership own_;
  std::vector<Prefix> former_networks_;
  bool complete_ = false;
  bool adopt_flannel_ = false;
  bool stale_ = true;          // desired_ is older than view_
  bool world_changed_ = true;  // since the last turn that went well: ops are no repairs
  bool device_changed_ = false;  // a link or address did, since then
  Kinds dirty_ = all_kinds();
  Time next_scan_{};
  std::optional<Time> old_ways_until_;
  Holdback holdback_;
  std::vector<std::string> foreign_;
  std::vector<std::string> waiting_;
  std::array<Lacking, kKinds> lacking_;
  Kinds looked_;  // kinds of which lacking_ speaks: those that were looked at since the desired state is what it is
};

}  // namespace knet
