// The verbs of `knet node`: each file beside this has some. Only commands/node.cpp calls them.
#pragma once

#include <string>
#include <vector>

#include "commands/common/cluster.h"
#include "commands/common/flags.h"

namespace knet {

/// As typed; "" and empty lists: not given.
struct NodeSetFlags {
  std::string asn, reflector, clients;
  std::vector<std::string> labels, no_labels;
  bool no_asn = false, no_reflector = false, pods = false, no_pods = false, force = false, dry_run = false;
  const CLI::Option* clients_given = nullptr;  // "" is a value: all
};

struct NodeVerbFlags : CommonFlags {
  std::string name;
  ClusterStore::Removal removal;
  NodeSetFlags set;
};

int node_list(const NodeVerbFlags& flags);
int node_show(const NodeVerbFlags& flags);
int node_set(const NodeVerbFlags& flags);
int node_remove(const NodeVerbFlags& flags);
std::vector<std::string> node_names(const NodeVerbFlags& flags);

}  // namespace knet
