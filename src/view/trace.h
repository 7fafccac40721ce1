// The way of a packet from a pod or address to another, hop by hop, as this node's kernel would send it: what was seen
// here, what is assumed of the other node, where it breaks and what mends it. Pure: the caller brings what it observed
// and answers what the kernel's route lookup would say.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/mode.h"
#include "core/plan.h"
#include "core/route_rows.h"
#include "core/view.h"

namespace knet {

struct TraceEnd {
  IpAddr ip;
  std::string name;      // pod's, node's, or the address
  std::string node;      // where it is; "" unknown or outside
  bool pod = false;
  std::string pod_dev = "eth0";
  std::string host_dev;  // "" unknown
};

/// A look into the source pod's own namespace.
struct PodSide {
  bool there = true;        // its interface exists
  bool up = true;
  bool has_address = true;
  uint32_t mtu = 0;
  IpAddr gateway;           // of the route that the packet takes; unset: none
};

/// The kernel's answer for one destination.
struct KernelRoute {
  DevName dev;
  IpAddr via;
  RouteType type = RouteType::unicast;
  Prefix dst;               // the matching prefix, where the kernel tells it
};

struct TraceWorld {
  const ClusterView& view;
  const DesiredState& desired;
  const Observed& observed;
  const std::vector<RouteRow>& rows;
  const ModeRegistry& modes;
  bool agent_runs = false;
  std::optional<PodSide> source_pod;  // where it could be looked into
  /// Nothing: no route.
  std::function<std::optional<KernelRoute>(const IpAddr& dst)> route;
};

struct TraceHop {
  enum class How { seen, assumed, broken };
  std::string where;    // pod or node
  std::string device;
  uint32_t mtu = 0;     // bytes the inner packet may have here is at most this less the encapsulation; 0 unknown
  std::string text;
  How how = How::seen;
};

struct Trace {
  IpAddr from, to;
  std::string mode;         // by which it travels: vxlan, host-gw, "local", "outside"
  uint32_t path_mtu = 0;    // of the inner packet
  std::vector<TraceHop> hops;
  bool broken = false;      // then the last hop is the one
  std::string fix;          // commands that mend it
};

Trace trace(const TraceWorld& world, const TraceEnd& from, const TraceEnd& to);

std::string_view to_string(TraceHop::How how);  // seen, assumed, BROKEN
/// "ok  10.244.1.2 -> 10.244.3.3  vxlan  path MTU 1450" or "BROKEN at n1 knet.1  10.244.1.2 -> 10.244.3.3  vxlan"
std::string headline(const Trace& trace);

/// The peer (index into view.leases) whose subnet or address holds `ip`.
std::optional<size_t> peer_of(const ClusterView& view, const IpAddr& ip);
const Endpoint* endpoint_of(const ClusterView& view, const IpAddr& ip);

}  // namespace knet
