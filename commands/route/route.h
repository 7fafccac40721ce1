// The verbs of `knet route`: each one file beside this. Only commands/route.cpp calls them.
#pragma once

#include <string>

#include "agent/node.h"
#include "commands/common/flags.h"
#include "view/route_filter.h"

namespace knet {

struct RouteFlags : CommonFlags {
  RowFilter filter;
  bool check = false, watch = false;
  bool ipv4 = false, ipv6 = false;
  std::string from, to;

  /// As the node was enrolled, with what was given now over it.
  NodeSettings settings() const;
};

int route_show(const RouteFlags& flags);
int route_watch(const RouteFlags& flags);
int route_get(const RouteFlags& flags);
int route_trace(const RouteFlags& flags);

/// The rows of the agent's last look and its header line; without an agent, straight from store and kernel.
struct RouteLook {
  std::string node, subnet, mode;
  std::string by;                  // "agent 1.0.0, store live at revision 812"
  std::vector<RouteRow> rows;
  std::vector<std::string> paths;  // "udp by bpf: by Datapath", of the modes that have several ways; from the agent
  std::vector<std::string> notes;  // what could not be read
  bool known = true;               // false: an agent that has no view of the cluster yet knows not what is wanted
};
RouteLook look_at_routes(const RouteFlags& flags);

}  // namespace knet
