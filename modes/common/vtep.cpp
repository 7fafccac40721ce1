#include "modes/common/vtep.h"

#include <fmt/core.h>

#include <algorithm>

#include "modes/common/plain.h"
#include "modes/common/vtep_data.h"

namespace knet {

namespace {

// What stands for a peer's VTEP as a gateway; local to this node, so that it may differ from what flannel writes.
// IPv4: the subnet's network address, on link by decree. IPv6: the link-local address of the MAC (RFC 4291, appendix
// A), since the kernel refuses a global one to which any other route leads over another device
// (ip6_route_check_nh_onlink), even the one to be replaced.
IpAddr gateway(const Lease& lease, Family family, const Mac& mac) {
  if (family == Family::v4) return lease.subnet.addr();
  const auto& m = mac.bytes;
  const uint8_t bytes[16] = {0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<uint8_t>(m[0] ^ 2),
                             m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
  return IpAddr::from_bytes(Family::v6, bytes);
}

}  // namespace

Mac vtep_mac(const Lease& lease, Family family) {
  const bool v6 = family == Family::v6;
  return parse_vtep_data(v6 ? lease.data.v6 : lease.data.v4, v6 ? "BackendV6Data" : "BackendData").mac;
}

void drop_shared_macs(const ClusterView& view, const Mac& own, std::vector<Vtep>& vteps, ModeState& out) {
  std::stable_sort(vteps.begin(), vteps.end(), [&](const Vtep& a, const Vtep& b) {
    if (a.mac != b.mac) return a.mac < b.mac;
    return view.leases[a.peer].rev < view.leases[b.peer].rev;
  });
  std::vector<Vtep> kept;
  kept.reserve(vteps.size());
  for (const Vtep& vtep : vteps) {
    const bool like_own = vtep.mac == own;
    if (!like_own && (kept.empty() || kept.back().mac != vtep.mac)) {
      kept.push_back(vtep);
      continue;
    }
    out.notice(fmt::format("{} {} is left out: its VtepMAC {} is also that of {}", name_of(view, vtep.peer),
                           subnets_text(view.leases[vtep.peer]), vtep.mac.str(),
                           like_own ? "this node" : name_of(view, kept.back().peer)));
  }
  vteps = std::move(kept);
}

void add_vtep(const DevName& dev, const Lease& lease, Family family, const Vtep& vtep, ModeState& out) {
  Neighbor neighbor;
  neighbor.dev = dev;
  neighbor.ip = gateway(lease, family, vtep.mac);
  neighbor.mac = vtep.mac;
  out.add(neighbor, vtep.peer);
  FdbEntry entry;
  entry.dev = dev;
  entry.mac = vtep.mac;
  entry.dst = public_ip_of(lease, family);
  out.add(entry, vtep.peer);
}

void add_vtep_route(const DevName& dev, const Prefix& dst, const Lease& lease, const Vtep& vtep, ModeState& out) {
  Route route;
  route.dst = dst;
  route.dev = dev;
  route.via = gateway(lease, dst.family(), vtep.mac);
  route.onlink = dst.is_v4();
  out.add(route, vtep.peer);
}

}  // namespace knet
