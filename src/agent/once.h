// One pass without a loop: enrol, read the cluster, bring the kernel in line, done. For `knet agent --once`,
// `--dry-run` and `knet join --once`. One thread; blocks.
#pragma once

#include <string>
#include <vector>

#include "agent/enrol.h"
#include "agent/node.h"
#include "agent/reconciler.h"

namespace knet {

struct OnceReport {
  std::shared_ptr<const ClusterView> view;
  std::shared_ptr<const DesiredState> desired;
  size_t applied = 0;
  std::vector<std::string> failures;  // what could not be applied, and what waits; empty: all is in place
  std::vector<std::string> foreign;
};

/// The cluster as the store has it now, seen from `self`.
std::shared_ptr<ClusterView> load_view(Store& store, const StorePaths& paths, const NetworkConfig& config,
                                       const LocalNode& self, const NodePaths& node,
                                       std::vector<std::string>* problems = nullptr);

/// Brings the kernel in line for a node that is enrolled, and writes subnet.env.
OnceReport apply_once(const NodePaths& paths, const NodeSettings& settings, LinuxPlane& plane,
                      const Enrolment& enrolment, bool adopt_flannel);

/// In the middle of a change of the cluster's mode, when all stands for the config's: announces that one. False: it was
/// announced before.
bool announce_config_mode(const NodeSettings& settings, Enrolment& enrolment);

/// What a start of the agent would change, in order; changes nothing, neither here nor in the store. Where this node
/// has no subnet yet the first line says which one it might get.
std::vector<std::string> dry_run(const NodePaths& paths, const NodeSettings& settings, bool adopt_flannel);

}  // namespace knet
