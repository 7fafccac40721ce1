// rtnetlink messages for addresses, neighbours and routes, built into an NlMessage: shared by pod_link and linux_plane.
// Sources: include/uapi/linux/rtnetlink.h, if_addr.h, neighbour.h, nexthop.h.
#pragma once

#include <cstdint>
#include <vector>

#include "core/netstate.h"
#include "kernel/netlink.h"

namespace knet {

/// The index of a device in the calling thread's namespace; 0 if there is none.
int link_index(const char* name);

int af_of(const IpAddr& ip);

/// IPv6 addresses are made without duplicate address detection.
void build_new_address(NlMessage& message, int flags, int index, const Prefix& prefix);
void build_delete_address(NlMessage& message, int index, const Prefix& prefix);

/// `state`: NUD_*.
void build_new_neighbor(NlMessage& message, int flags, int index, const IpAddr& ip, const Mac& mac, uint16_t state);

/// A next hop beyond a route's first.
struct HopMessage {
  int index = 0;
  IpAddr via;
  bool onlink = false;
};

/// A route with its device resolved. `index` 0 and `nexthop` 0 for kinds without a device.
struct RouteMessage {
  Prefix dst;
  uint32_t table = Route::kMainTable;
  uint32_t metric = 0;
  RouteType type = RouteType::unicast;
  int index = 0;
  IpAddr via;
  IpAddr src;
  bool onlink = false;
  uint8_t protocol = Route::kProtocol;
  uint32_t mtu = 0;
  uint32_t nexthop = 0;  // id; then index and via stay out
  std::vector<HopMessage> others;  // multipath, all of weight 1
};
void build_new_route(NlMessage& message, int flags, const RouteMessage& route);
/// Matches exactly this destination, metric, type and protocol (and device, next hop id or next hops where given).
void build_delete_route(NlMessage& message, const RouteMessage& route);

uint8_t rtn_of(RouteType type);
RouteType route_type_of(uint8_t rtn);

}  // namespace knet
