// A peer outside of the cluster as rows for people, for `bgp peer show`, `add` and `set`. Values only.
#pragma once

#include <string>
#include <vector>

#include "core/bgp.h"
#include "store/cluster_store.h"

namespace knet {

struct BgpPeerRow {
  std::string name;   // of the flag
  std::string value;
  bool usual = false; // nothing was set
};
/// One for each setting, always in the same order; a password is hidden.
std::vector<BgpPeerRow> bgp_peer_rows(const BgpPeerSpec& peer);

/// Where it is a peer, for people: "all", "n1", "rack == 'a'".
std::string bgp_peer_nodes(const BgpPeerSpec& peer);
/// "10.0.0.1", or the prefix of dynamic neighbours.
std::string bgp_peer_remote(const BgpPeerSpec& peer);

/// By name, or by address if only one has it. Throws Error{usage} with what comes near.
BgpPeerSpec find_bgp_peer(ClusterStore& cluster, const std::string& name);

}  // namespace knet
