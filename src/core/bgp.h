// What the cluster says about BGP, in the store below <prefix>/knet/: the cluster's settings (bgp/config), peers outside
// of it (bgp/peers/<name>), and what was set for single nodes (specs/<node>). Values, strict JSON codecs, and the
// grammar of route filters. Pure. Reading never refuses a newer schema.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ip.h"

namespace knet {

/// The cluster's settings; what is not set in the store has these values.
struct BgpConfig {
  uint32_t asn = 64512;
  bool mesh = true;              // each node a peer of every other; off: of the reflectors
  uint16_t port = 179;
  uint16_t hold_time = 90;       // seconds
  uint16_t restart_time = 120;   // seconds (RFC 4724)
  uint32_t local_pref = 100;     // of what our nodes originate; Calico's nodes use 2147482623
  uint32_t prefix_limit = 20'000;  // routes taken from one peer
  uint32_t max_paths = 8;        // ECMP
  std::string password;          // TCP MD5 between the cluster's nodes; secret
  std::vector<Prefix> advertise;   // besides the pods' subnets, by every node: services, external addresses
  std::vector<Prefix> import;      // besides the cluster's networks: what may be learned
  bool operator==(const BgpConfig&) const = default;
};
std::string format_bgp_config(const BgpConfig& config);
BgpConfig parse_bgp_config(std::string_view json);  // throws Error{config}

/// One line of a filter: "accept 10.0.0.0/8 ge 16 le 24 community 64512:7 set-local-pref 200 add-community 64512:9",
/// "reject any". The first that matches counts; where none does, the peer's usual rule.
struct BgpRule {
  bool accept = true;
  std::optional<Prefix> prefix;   // none: any
  int ge = 0, le = 0;             // lengths; 0: the prefix's own (exactly that, if both are 0)
  std::string community;          // "64512:7", "64512:1:2" (large), "no-export"; "": any
  std::optional<uint32_t> set_local_pref, set_med;
  std::vector<std::string> add_communities;
  bool operator==(const BgpRule&) const = default;
};
BgpRule parse_bgp_rule(std::string_view text);  // throws Error{usage}, naming the word and what may stand there
std::string format(const BgpRule& rule);
bool matches_prefix(const BgpRule& rule, const Prefix& prefix);

enum class BgpNextHop : uint8_t { automatic, self, keep };

/// A peer outside of the cluster: a switch, a router, a route server.
struct BgpPeerSpec {
  std::string name;              // the key; the address as text if nothing else was given ("10.1.0.0-16" for a prefix)
  Prefix remote;                 // a host's; shorter: dynamic neighbours are accepted from it
  uint32_t asn = 0;              // 0: any, for dynamic neighbours only
  std::string node;              // only this node's peer
  std::string selector;          // only of nodes whose labels it matches (core/selector.h); both empty: of all
  std::string password;          // secret
  bool ttl_security = false;
  bool multihop = false;
  bool passive = false;
  bool client = false;           // iBGP: ours as a reflector
  uint16_t port = 179;
  uint16_t hold_time = 0;        // seconds; 0: the cluster's
  BgpNextHop next_hop = BgpNextHop::automatic;
  std::optional<uint32_t> prefix_limit;
  std::vector<BgpRule> import, export_;
  bool operator==(const BgpPeerSpec&) const = default;
};
std::string format_bgp_peer(const BgpPeerSpec& peer);
BgpPeerSpec parse_bgp_peer(std::string_view name, std::string_view json);  // throws Error{config}
void check_bgp_peer_name(std::string_view name);                          // throws Error{usage}

/// What was set for one node (`knet node set`), whether it runs or not. Permanent, unlike its presence.
struct NodeSpec {
  std::string node;
  std::optional<uint32_t> asn;
  std::optional<uint32_t> reflector;  // cluster id (RFC 4456); set: it reflects
  std::string clients;                // selector: whom it serves; "": all nodes that are no reflectors
  std::vector<std::pair<std::string, std::string>> labels;  // sorted by name
  bool pods = true;                   // false: no subnet, no kernel routes
  bool operator==(const NodeSpec&) const = default;
};
std::string format_node_spec(const NodeSpec& spec);
NodeSpec parse_node_spec(std::string_view node, std::string_view json);  // throws Error{config}
/// "1.0.0.1" or a number, not 0. Throws Error{usage}.
uint32_t parse_cluster_id(std::string_view text);
std::string format_cluster_id(uint32_t id);

/// A node that has no subnet (pods false) but speaks: by its record speakers/<node>, which lives as long as a subnet's
/// lease would.
struct BgpSpeakerNode {
  std::string node;
  IpAddr public_ip, public_ip6;
  bool operator==(const BgpSpeakerNode&) const = default;
};

/// All of it, in the view. Sorted by name.
struct BgpView {
  BgpConfig config;
  std::vector<BgpPeerSpec> peers;
  std::vector<NodeSpec> specs;
  std::vector<BgpSpeakerNode> speakers;
  /// Nodes that speak BGP though their leases in ClusterView::leases show another mode: the one before, because no route
  /// to them is learned yet, or the next one, while others still announce bgp. Their public addresses (either family),
  /// sorted.
  std::vector<IpAddr> joined;
  bool operator==(const BgpView&) const = default;
  const NodeSpec* spec(std::string_view node) const;
};

}  // namespace knet
