// What is ours: the only place that decides whether an observed object may be changed or removed. Pure.
// Routes: protocol 107 and a destination inside the cluster's networks. Links: our exact names plus our alias.
// Addresses, neighbours, fdb entries, wireguard peers: those on a link of ours. tc filters: by their name. nft: table knet (knet-hostports belongs to CNI's portmap,
// which writes it without an agent; only `knet leave` removes it).
#pragma once

#include <string_view>
#include <vector>

#include "core/netstate.h"

namespace knet {

/// Text in IFLA_IFALIAS of each link of ours.
inline constexpr std::string_view kLinkAlias = "knet";

struct Ownership {
  std::vector<Prefix> networks;   // the cluster's networks, both families
  /// Set for join's and the flanneld applet's takeover: flannel's own leftovers may be replaced and removed too:
  /// its devices (is_flannel_link) and the protocol-boot routes inside the networks over them or via a peer's address.
  bool adopt_flannel = false;
  std::vector<IpAddr> peer_addresses;  // of the leases, sorted
  /// What BGP's rules let in besides: routes of ours may lie there, others' are never adopted.
  std::vector<Prefix> learnable;
  /// Cluster networks that this node had before (config change): their protocol-107 routes are still ours.
  std::vector<Prefix> former_networks;

  bool owns(const Link& link) const;
  bool owns(const Address& address, const NetState& observed) const;
  bool owns(const Neighbor& neighbor, const NetState& observed) const;
  bool owns(const FdbEntry& entry, const NetState& observed) const;
  bool owns(const WireguardPeer& peer, const NetState& observed) const;
  bool owns(const Filter& filter) const { (void)filter; return true; }  // observed only where it carries our name
  bool owns(const Shortcut& shortcut) const { (void)shortcut; return true; }  // observed only where the program has our name
  bool owns(const TunnelPeer& peer) const { (void)peer; return true; }  // observed only in maps of our filters
  bool owns(const Nexthop& nexthop) const;
  bool owns(const Route& route) const;
  bool owns(const ForwardAccept& rule) const { (void)rule; return true; }  // observed only where it carries our comment
  bool owns(const NftTable& table) const;
  /// The networks and what is learnable: where routes of ours may lie now.
  std::vector<Prefix> claimed() const;
  /// Inside them, now or before.
  bool inside(const Prefix& prefix) const;
  /// A pod's host veth: "knet" + 11 hex. It belongs to CNI; the agent never makes or removes it.
  static bool is_pod_link(std::string_view name);
  /// flannel.<VNI> and flannel-v6.<VNI> (vxlan of that VNI), flannel.ipip, flannel-wg, flannel-wg-v6, flannel0.
  static bool is_flannel_link(const Link& link);
};

}  // namespace knet
