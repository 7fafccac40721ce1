// Rows of `knet route show`: what is wanted and what is found, folded per destination: a row's state takes in the route,
// its device, next hop, neighbour, fdb entry, tunnel filters and peer, so that "ok" is never a lie. Pure; the agent serves these rows, and the command
// makes them itself straight from store and kernel when no agent runs.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/view.h"

namespace knet {

enum class RowState : uint8_t { ok, pending, broken, foreign, stale, kept, unknown };
std::string_view to_string(RowState state);  // lower case; BROKEN in capitals is the printer's affair

struct RouteRow {
  Prefix dst;
  IpAddr via;            // unset: -
  std::vector<RouteHop> others;  // further next hops, equally good
  std::string dev;       // device, or "blackhole"
  std::string mode;      // "vxlan", "pod", "node", "-" where not ours
  std::string node;      // node name, own name for own rows, "-"
  std::string source;    // lease, cni, bgp, config, kernel, or the foreign protocol's name
  std::string path;      // what moves its packets: "kernel", "bpf", "user" (the agent); "-" where nothing of ours does
  RowState state = RowState::ok;
  std::string why;       // empty when ok
  int64_t since = 0;     // Unix seconds of the last change of state; 0 unknown
  uint32_t table = 254;
  uint32_t metric = 0;
  uint32_t mtu = 0;      // path MTU at this hop: the route's or the device's
  bool onlink = false;
  // the parts, for -o wide: "ok", "missing", "-"
  std::string part_nexthop, part_neighbor, part_fdb;
  std::string part_filter;  // the BPF programs of the tunnel that it goes by
  std::string part_peer;    // the tunnel's entry for the peer: in the BPF map, or of wireguard
};

/// Failures of the last apply by object text (describe()), with the reason; from the reconciler.
using Failures = std::map<std::string, std::string>;

/// Rows sorted by destination. `observed` kinds that were not read make their parts "unknown", never "missing".
std::vector<RouteRow> route_rows(const ClusterView& view, const DesiredState& desired, const Observed& observed,
                                 const Plan& plan, const Failures& failures);

/// "4 wanted: 3 ok, 1 pending.  also found: 1 stale, 1 foreign"
std::string verdict(const std::vector<RouteRow>& rows);
/// Whether --check must exit 3.
bool has_drift(const std::vector<RouteRow>& rows);

/// Name of a route protocol number as iproute2 has it: kernel, boot, static, dhcp, bird, zebra, bgp ...; else the number.
std::string route_protocol_name(uint8_t protocol);

}  // namespace knet
