// The cluster's BGP settings in words, for `bgp config show` and `set`. Values only.
#pragma once

#include <string>
#include <vector>

#include "core/bgp.h"

namespace knet {

/// What Calico's nodes put on their routes: 2^31 - 1 less the metric 1024 of a route.
inline constexpr uint32_t kCalicoLocalPref = 2'147'482'623;

std::vector<std::string> bgp_prefix_texts(const std::vector<Prefix>& prefixes);
std::string bgp_local_pref_text(uint32_t value);

}  // namespace knet
