// The host's own routes, by which next hops that are not on link are found. Pure.
#pragma once

#include <vector>

#include "core/netstate.h"
#include "core/view.h"

namespace knet {

/// Where a host has more (a full routing table of the internet), the shorter prefixes are kept: they cover the others.
inline constexpr size_t kMaxHostRoutes = 4096;

/// Unicast routes of the main table that are not ours (another protocol), lie outside `networks` (the cluster's) and are
/// alive, both families, connected ones too; of several next hops the first. Sorted, at most kMaxHostRoutes.
std::vector<HostRoute> host_routes(const Observed& observed, const std::vector<Prefix>& networks);

}  // namespace knet
