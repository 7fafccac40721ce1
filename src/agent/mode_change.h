// `knet mode set` and `knet mode finish`: the cluster changes its mode while pods talk. The config names the new mode
// and keeps the one before as an earlier one; the agents follow one by one (core/rollover.h). One thread; blocks.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"
#include "store/cluster_store.h"

namespace knet {

struct ModeSetOptions {
  std::string mode;
  std::vector<std::string> options;  // "Key=Value"
  bool force = false;                // in spite of nodes that can't follow
  bool dry_run = false;
};

struct ModeSetReport {
  NetworkConfig from, to;
  bool changes = true;                // false: it is so already
  size_t nodes = 0;                   // that hold a subnet
  std::vector<std::string> notices;   // what was forced, who is away
  std::string where, key;
};

/// Compare-and-swap on what was read. Throws Error{usage} for a mode or option that is none, Error{conflict} naming the
/// nodes that can't follow, for other options of the same mode (with the steps), or if somebody else changed the config.
ModeSetReport set_mode(ClusterStore& cluster, const ModeRegistry& modes, const ModeSetOptions& options);

/// How far the nodes are in the change to the config's mode.
struct ModeProgress {
  struct Node {
    std::string name;
    NodeState state = NodeState::ready;
    std::string announced;              // its lease's mode
    std::vector<std::string> receives;  // earlier ones that it still takes packets by
    bool over = false;                  // announces the config's mode and receives no other
    std::string why;                    // why it isn't, for people
  };
  std::vector<Node> nodes;  // that hold a subnet; by name
  bool over() const;
};
ModeProgress mode_progress(ClusterStore& cluster, const NetworkConfig& config);

struct ModeFinishReport {
  std::vector<std::string> finished;  // modes that the config had as earlier ones; empty: nothing to finish
  std::vector<std::string> notices;   // who still announced or received one
  std::string where, key;
};

/// Takes the earlier modes out of the config: no node receives them any more. Throws Error{conflict} naming who still
/// announces one, unless `force`.
ModeFinishReport finish_mode(ClusterStore& cluster, const ModeRegistry& modes, bool force, bool dry_run);

}  // namespace knet
