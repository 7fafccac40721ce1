// A node's state as a command sees it without an agent: the cluster from the store (or the view kept on disk), what
// compose() makes of it, what the kernel has. Changes nothing, neither here nor in the store. One thread; blocks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/node.h"
#include "core/plan.h"
#include "core/route_rows.h"
#include "core/view.h"
#include "kernel/linux_plane.h"

namespace knet {

struct Look {
  ClusterView view;
  DesiredState desired;
  Observed observed;
  std::vector<RouteRow> rows;
  std::string store;                // where, for people
  bool live = true;                 // false: from the view that was kept on disk
  std::vector<std::string> unread;  // kinds that could not be read whole: "nft table"
  std::vector<std::string> notes;   // what could not be read in the store, and compose's notices
};

/// `plane` must be of this network namespace. Error{config} if the node holds no subnet yet, with what to do;
/// Error{store} if the store is away and no view was kept.
std::unique_ptr<Look> look_at_node(const NodePaths& paths, const NodeSettings& settings, LinuxPlane& plane);

}  // namespace knet
