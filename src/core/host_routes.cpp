#include "core/host_routes.h"

#include <algorithm>

namespace knet {

std::vector<HostRoute> host_routes(const Observed& observed, const std::vector<Prefix>& networks) {
  std::vector<HostRoute> found;
  for (const Route& route : observed.net.routes) {
    if (route.table != Route::kMainTable || route.type != RouteType::unicast || route.protocol == Route::kProtocol) continue;
    if (route.dead || !route.dev) continue;
    if (const Link* link = observed.net.find_link(route.dev); link != nullptr && !link->up) continue;
    if (std::any_of(networks.begin(), networks.end(), [&](const Prefix& network) { return network.contains(route.dst); }))
      continue;
    found.push_back({route.dst, route.dev, route.via, std::get<2>(route.key())});
  }
  if (found.size() > kMaxHostRoutes) {
    std::stable_sort(found.begin(), found.end(),
                     [](const HostRoute& a, const HostRoute& b) { return a.dst.length() < b.dst.length(); });
    found.resize(kMaxHostRoutes);
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

}  // namespace knet
