// What this node takes from its BGP peers and tells them, as functions with a key: equal keys are equal policies. Pure.
#pragma once

#include <vector>

#include "bgp/speaker.h"
#include "core/view.h"

namespace knet {

/// The cluster's side of every policy.
struct BgpBounds {
  std::vector<Prefix> networks;     // the cluster's
  std::vector<Prefix> more_import;  // BgpConfig::import
  std::vector<Prefix> more_export;  // BgpConfig::advertise
  std::vector<Prefix> own;          // our lease's subnets
};

/// From a node of the cluster: what lies in the networks or may be imported. `ebgp_from`: its AS, which its paths begin
/// with; 0: iBGP.
bgp::Policy cluster_import(const BgpBounds& bounds, bgp::Asn ebgp_from);
/// The peer's rules first, then as for the cluster's nodes. A default route comes by a rule only.
bgp::Policy outside_import(const BgpBounds& bounds, bgp::Asn ebgp_from, const std::vector<BgpRule>& rules);
/// The peer's rules first, then what lies in the networks or is advertised.
bgp::Policy outside_export(const BgpBounds& bounds, const std::vector<BgpRule>& rules);

}  // namespace knet
