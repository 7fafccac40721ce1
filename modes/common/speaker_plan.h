// What this node's BGP speaker has to do, out of the view: its peers by the cluster's topology (mesh or reflectors) and
// those outside of it, what it originates, and the policies. Pure.
#pragma once

#include "bgp/speaker.h"
#include "core/view.h"

namespace knet {

/// `config`: the cluster's, as the bgp mode sees it.
bgp::SpeakerConfig plan_speaker(const ClusterView& view, const NetworkConfig& config);

}  // namespace knet
