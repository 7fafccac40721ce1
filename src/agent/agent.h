// The node agent: one epoll loop that owns the node's state and keeps the kernel as the cluster's view wants it.
// Blocks the calling thread until SIGTERM/SIGINT, or until done with `once` and `dry_run`. The dataplane stays when it
// ends.
#pragma once

#include <string>

#include "agent/node.h"

namespace knet {

struct AgentOptions {
  NodePaths paths;
  NodeSettings settings;
  bool once = false;           // converge and exit: 0 fine, 1 with failures (logged)
  bool dry_run = false;        // print the plan, change nothing, neither here nor in the store
  bool save_settings = false;  // join's flags were given: the node is enrolled with them
  bool adopt_flannel = false;  // take over flannel's leftovers
  std::string listen;          // "127.0.0.1:9101": the status API on TCP too; empty: not
  std::string healthz;         // the flanneld applet's healthz-ip:port: only /healthz and /readyz, in flanneld's words
};

/// The exit status (base/error.h). Throws knet::Error for what the user must mend before it can start.
int run_agent(const AgentOptions& options);

}  // namespace knet
