// `knet join`: enrols the node, writes its files, starts the agent or says how. Idempotent. One thread; blocks.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "agent/enrol.h"
#include "agent/files.h"
#include "agent/node.h"

namespace knet {

struct JoinOptions {
  NodePaths paths;
  NodeSettings settings;
  FileSettings files;
  bool once = false;                                // apply and exit; no unit, no agent
  bool start = true;                                // false: --no-start; write all, start nothing
  std::chrono::milliseconds ready_timeout{10'000};  // for an agent that was started
};

struct JoinReport {
  Enrolment enrolment;
  CniReport cni;                     // empty with --no-cni
  std::vector<std::string> written;  // files besides the CNI ones, whole paths
  std::string firewall;  // "FORWARD is DROP (docker): 2 marked rules added to DOCKER-USER"; empty: nothing to say
  std::string agent;     // "knet.service enabled", "agent running, pid 4711", "applied once", "not started"
  std::string next;      // the line that starts the agent, where join did not
  std::optional<std::chrono::milliseconds> ready_in;  // the agent (or --once) got ready; nothing: not (yet)
  std::vector<std::string> unready;                   // why not
  std::vector<std::string> notices;   // peers that host-gw can't reach, flannel leftovers, config notices
  std::vector<std::string> failures;  // with --once: what could not be applied
};

/// Throws Error; what was taken before stays (join again).
JoinReport run_join(const JoinOptions& options);

}  // namespace knet
