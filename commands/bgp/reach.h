// Who would hear of whom over BGP under given settings: for what `bgp config set --mesh off` and `node set` refuse. A
// sketch of the sessions that nodes make (modes/common/speaker_plan.h plans them for one node). Pure.
#pragma once

#include <string>
#include <vector>

#include "core/bgp.h"
#include "store/cluster_store.h"

namespace knet {

/// Names of the nodes that have joined and are knet's.
std::vector<std::string> present_nodes(const NodeTable& nodes);

/// Those of `nodes` that no chain of sessions joins to most of the others. A node with a peer outside of the cluster is
/// taken to be joined to every other such node.
std::vector<std::string> cut_off(const BgpConfig& config, const std::vector<std::string>& nodes,
                                 const std::vector<NodeSpec>& specs, const std::vector<BgpPeerSpec>& outside);

/// Throws Error{conflict}, naming those who would be cut off now but were not before, with `forced` a notice instead.
/// Both are what cut_off gave.
void refuse_cut_off(const std::vector<std::string>& before, const std::vector<std::string>& after, bool reflectors, bool forced,
                    std::vector<std::string>& notices);

/// The spec of that node, or one in which nothing is set.
NodeSpec spec_of(const std::vector<NodeSpec>& specs, const std::string& node);
/// Whether a peer outside of the cluster is this node's.
bool applies_to(const BgpPeerSpec& peer, const NodeSpec& node);

}  // namespace knet
