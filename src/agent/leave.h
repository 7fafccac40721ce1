// `knet leave`: gives the subnet back and takes every trace of knet off the node. Goes on past errors and reports them.
// One thread; blocks.
#pragma once

#include <string>
#include <vector>

#include "agent/node.h"

namespace knet {

struct LeaveOptions {
  NodePaths paths;
  NodeSettings settings;  // the store to give the subnet back to
  bool keep_lease = false;
  bool dry_run = false;
};

struct LeaveReport {
  std::vector<std::string>
      removed;                      // (or would be) one line each: "route 10.244.2.0/24 ...", "file /etc/cni/net.d/..."
  std::vector<std::string> failed;  // what could not be removed, and why
  std::vector<std::string> notices;  // "sysctl net/ipv4/ip_forward stays 1", "3 pods lose their network"
};

/// Stops the agent, after it has told its BGP peers. Error{conflict} with its pid if one runs all the same.
LeaveReport run_leave(const LeaveOptions& options);

}  // namespace knet
