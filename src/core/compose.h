// compose(): the only producer of DesiredState. Pure. It makes the node's own part (blackhole of the own subnet,
// sysctls, masquerade, forward accepts, pods' host routes) and, for each mode that is announced, still to be received,
// or spoken by a peer, calls that mode with just its peers.
#pragma once

#include "core/mode.h"
#include "core/plan.h"
#include "core/view.h"

namespace knet {

/// Two producers of one key are an Error{bug} that names both, unless the precedence table (compose.cpp) says who wins.
/// A peer whose data its mode refuses is left out with a notice. Sorted and complete.
DesiredState compose(const ClusterView& view, const ModeRegistry& modes);

/// Whether compose() calls this mode: it is the config's, announced, still received, spoken by a peer, or the carrier.
bool takes_part(const ClusterView& view, const Mode& mode);

/// The mode whose device takes what BGP learned to nodes that aren't reached plainly (bgp's option Encap): it then takes
/// part as if it were received. "" where bgp takes no part or encapsulates nothing.
std::string carrier_of(const ClusterView& view);
/// The config of bgp as its carrier sees it: the options that the two share.
NetworkConfig carrier_config(const NetworkConfig& bgp, const Mode& carrier);
/// The config that compose() calls this mode with: its own, or that of a mere carrier.
NetworkConfig config_of(const ClusterView& view, const Mode& mode);

/// What is ours for this view.
Ownership ownership_of(const ClusterView& view);

/// The MTU of pods' interfaces: the smallest over all modes that this node sends by or receives.
ModeMtu pod_mtu(const ClusterView& view, const ModeRegistry& modes);

}  // namespace knet
