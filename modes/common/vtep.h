// vxlan's entries for a peer, whichever mode reaches it by vxlan: a neighbour that stands for its VTEP, an fdb entry
// from there to its public address, and the routes by way of it. Pure.
#pragma once

#include <vector>

#include "core/mode.h"

namespace knet {

struct Vtep {
  Mac mac;
  uint32_t peer;  // into ClusterView::leases
};

/// Of the lease's backend data. Throws Error{config}.
Mac vtep_mac(const Lease& lease, Family family);

/// Two nodes with one MAC (a cloned machine) would get each other's packets: the older lease counts.
void drop_shared_macs(const ClusterView& view, const Mac& own, std::vector<Vtep>& vteps, ModeState& out);

void add_vtep(const DevName& dev, const Lease& lease, Family family, const Vtep& vtep, ModeState& out);
void add_vtep_route(const DevName& dev, const Prefix& dst, const Lease& lease, const Vtep& vtep, ModeState& out);

}  // namespace knet
