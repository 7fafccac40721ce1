// Plain routes to peers on the same link: host-gw's whole work, and vxlan's with DirectRouting. Pure.
#pragma once

#include "core/mode.h"

namespace knet {

/// One family's side of this node and of a peer.
const Uplink& uplink_of(const LocalNode& self, Family family);
const Prefix& subnet_of(const Lease& lease, Family family);
const IpAddr& public_ip_of(const Lease& lease, Family family);
bool enabled(const NetworkConfig& config, Family family);

/// A peer's name for people.
std::string name_of(const ClusterView& view, uint32_t peer);

/// Whether it can be a node's: of this family, and neither unspecified nor loopback nor multicast.
bool is_node_address(const IpAddr& address, Family family);

/// Whether the peer's address lies in the prefix of the uplink's own.
bool on_link(const Uplink& uplink, const IpAddr& peer);

/// `subnet via peer's address dev uplink`.
void add_plain_route(const Uplink& uplink, const Lease& lease, Family family, uint32_t peer, ModeState& out);

/// Pods' packets come in on the uplink itself, and while a peer's mode changes not by the way that the answer takes:
/// rp_filter must not be strict there. The kernel takes the greater of `all` and the device's
/// (Documentation/networking/ip-sysctl.rst), so the device's own value is enough, whatever `all` is.
void loosen_uplink(const LocalNode& self, ModeState& out);

/// The uplinks' own MTUs; 1500 where not known.
ModeMtu plain_mtu(const NetworkConfig& config, const LocalNode& self);

/// Throws Error{config} if the peer has a subnet but no address in a family that it shares with it.
void check_peer_addresses(const Lease& lease);

}  // namespace knet
