// Enrolment: which address this node has for the others, under which name, with which subnet. Joins store and kernel;
// blocks; used by join and `agent --once` on the command's thread. The agent's loop uses the same pieces one by one.
#pragma once

#include <string>
#include <vector>

#include "agent/node.h"
#include "core/config.h"
#include "core/mode.h"
#include "core/plan.h"
#include "core/subnets.h"
#include "core/uplink.h"
#include "core/view.h"
#include "store/cluster_store.h"

namespace knet {

class LinuxPlane;

/// Who this node is and how it reaches the others, before it has a subnet.
struct Identity {
  std::string name;
  std::string machine_id;
  std::string instance;
};

struct Enrolment {
  LocalNode self;  // with its lease; without one if it runs no pods
  NetworkConfig config;
  UplinkChoice choice;  // address, why, what was passed over, the tie
  Acquired::How how = Acquired::How::chosen;
  Presence presence;
  std::string store;      // where, for people
  bool embedded = false;  // the cluster is this machine alone
  std::vector<std::string> notices;
};

/// Name and machine id; with `keep` they are written down in the state dir.
Identity identify(const NodePaths& paths, const NodeSettings& settings, bool keep);

/// The node's part of the view from what the host has: uplinks, addresses, sysctls, chains. Pure but for the question
/// `reach` (the kernel's route to selector.can_reach). Throws Error{config} listing the candidates.
LocalNode describe_self(const Identity& identity, const NodeSettings& settings, const NetworkConfig& config,
                        const Observed& observed, const std::optional<ReachAnswer>& reach,
                        UplinkChoice* choice = nullptr);
/// The kinds of objects that describe_self looks at.
Kinds self_kinds();
/// The kernel's answer for `selector.can_reach`, if the selector asks.
std::optional<ReachAnswer> ask_reach(LinuxPlane& plane, const UplinkSelector& selector);
/// The sysctls whose values describe_self wants, to be watched before observing.
NetState self_sysctls();

/// The subnets that subnet.env (knet's, or flannel's) of an earlier life names; unset if there is none or it can't be
/// read.
SubnetChoice previous_subnet(const NodePaths& paths);

/// Whether a mode that takes part in the view wants to know what the kernel offers.
bool asks_kernel(const ClusterView& view);
/// Whether one of them has routes that a shortcut may serve: then the kernel is to be asked for that too.
bool takes_shortcuts(const ClusterView& view);
/// Asks it, if so, for view.self.kernel; else that is unknown.
void ask_kernel(ClusterView& view);

/// The node's record (presence) as of this self; `spec`: what was set for it, null if nothing.
NodeRecord node_record(const LocalNode& self, const NodeSpec* spec = nullptr);

struct EnrolOptions {
  bool keep = true;  // write name, machine id and settings into the state dir
};

/// Everything: config, address, lease, settings saved. Error{config} if the store holds no network config (says how to
/// init), Error{conflict} naming the holder, Error{store}.
Enrolment enrol(const NodePaths& paths, const NodeSettings& settings, LinuxPlane& plane, const EnrolOptions& options);

}  // namespace knet
