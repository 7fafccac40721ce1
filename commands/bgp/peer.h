// A peer outside of the cluster as rows for people, for `bgp peer show`, `add` and `set`. Values only.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/bgp.h"
#include "store/cluster_store.h"

namespace knet {

struct BgpPeerFlags;

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

std::string bgp_peer_asn(const BgpPeerSpec& peer);       // "any" for none
std::string_view to_string(BgpNextHop next_hop);         // as the flag has it
nlohmann::ordered_json bgp_peer_json(const BgpPeerSpec& peer);

/// Given flags over what is there; `password`: as read from the file that was given. Throws Error{usage}.
void apply_bgp_peer(const BgpPeerFlags& flags, const std::string& password, BgpPeerSpec& peer);
/// An address or a prefix, as typed. Throws Error{usage}.
Prefix bgp_remote_of(const std::string& text);

/// By name, or by address if only one has it. Throws Error{usage} with what comes near.
BgpPeerSpec find_bgp_peer(ClusterStore& cluster, const std::string& name);

}  // namespace knet
