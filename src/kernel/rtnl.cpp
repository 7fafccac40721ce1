#include "kernel/rtnl.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/fd.h"

namespace knet {

int link_index(const char* name) {
  Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
  if (!fd || ioctl(fd.get(), SIOCGIFINDEX, &request) < 0) return 0;
  return request.ifr_ifindex;
}

int af_of(const IpAddr& ip) { return ip.is_v4() ? AF_INET : ip.is_v6() ? AF_INET6 : AF_UNSPEC; }

namespace {

void build_address(NlMessage& message, int type, int flags, int index, const Prefix& prefix) {
  const IpAddr& ip = prefix.addr();
  ifaddrmsg head{};
  head.ifa_family = static_cast<uint8_t>(af_of(ip));
  head.ifa_prefixlen = static_cast<uint8_t>(prefix.length());
  head.ifa_index = static_cast<uint32_t>(index);
  head.ifa_scope = ip.is_link_local() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  if (ip.is_v6()) head.ifa_flags = IFA_F_NODAD;
  message.begin(type, flags, head);
  message.put_ip(IFA_LOCAL, ip);
  message.put_ip(IFA_ADDRESS, ip);
}

// An IPv4 route over an IPv6 gateway names its family too (RTA_VIA, RFC 5549).
void put_gateway(NlMessage& message, const IpAddr& dst, const IpAddr& via) {
  if (via.family() == dst.family()) {
    message.put_ip(RTA_GATEWAY, via);
    return;
  }
  std::array<uint8_t, sizeof(rtvia) + 16> data{};
  const auto family = static_cast<__kernel_sa_family_t>(af_of(via));
  memcpy(data.data(), &family, sizeof family);
  memcpy(data.data() + sizeof family, via.data(), via.size());
  message.put(RTA_VIA, data.data(), sizeof family + via.size());
}

// Equal weights. Which of them a packet takes is the host's affair (net.ipv4.fib_multipath_hash_policy, and IPv6's): the
// default, by addresses, keeps every flow and every fragment between two pods on one way and spreads over pods; by ports
// would help few pods with many connections, and is a choice for all of the host's routes, so knet leaves it alone.
void put_hops(NlMessage& message, const RouteMessage& route) {
  auto nest = message.nest(RTA_MULTIPATH);
  const auto put = [&](int index, const IpAddr& via, bool onlink) {
    rtnexthop hop{};
    hop.rtnh_flags = onlink ? RTNH_F_ONLINK : 0;
    hop.rtnh_ifindex = index;
    const size_t before = message.size();
    message.put_raw(&hop, sizeof hop);
    if (via) put_gateway(message, route.dst.addr(), via);
    hop.rtnh_len = static_cast<uint16_t>(message.size() - before);
    memcpy(reinterpret_cast<char*>(message.header()) + before, &hop, sizeof hop);
  };
  put(route.index, route.via, route.onlink);
  for (const HopMessage& hop : route.others) put(hop.index, hop.via, hop.onlink);
}

void put_route_head(NlMessage& message, int type, int flags, const RouteMessage& route, uint8_t scope) {
  rtmsg head{};
  head.rtm_family = static_cast<uint8_t>(af_of(route.dst.addr()));
  head.rtm_dst_len = static_cast<uint8_t>(route.dst.length());
  head.rtm_table = route.table < 256 ? static_cast<uint8_t>(route.table) : static_cast<uint8_t>(RT_TABLE_COMPAT);
  head.rtm_protocol = route.protocol;
  head.rtm_scope = scope;
  head.rtm_type = rtn_of(route.type);
  if (route.onlink && !route.nexthop && route.others.empty() && type == RTM_NEWROUTE) head.rtm_flags = RTNH_F_ONLINK;
  message.begin(type, flags, head);
  message.put_ip(RTA_DST, route.dst.addr());
  if (route.table >= 256) message.put_u32(RTA_TABLE, route.table);
  if (route.metric) message.put_u32(RTA_PRIORITY, route.metric);
  if (route.nexthop) {
    message.put_u32(RTA_NH_ID, route.nexthop);
  } else if (!route.others.empty()) {
    put_hops(message, route);
  } else {
    if (route.index) message.put_u32(RTA_OIF, static_cast<uint32_t>(route.index));
    if (route.via) put_gateway(message, route.dst.addr(), route.via);
  }
}

}  // namespace

void build_new_address(NlMessage& message, int flags, int index, const Prefix& prefix) {
  build_address(message, RTM_NEWADDR, flags, index, prefix);
}

void build_delete_address(NlMessage& message, int index, const Prefix& prefix) {
  build_address(message, RTM_DELADDR, 0, index, prefix);
}

void build_new_neighbor(NlMessage& message, int flags, int index, const IpAddr& ip, const Mac& mac, uint16_t state) {
  ndmsg head{};
  head.ndm_family = static_cast<uint8_t>(af_of(ip));
  head.ndm_ifindex = index;
  head.ndm_state = state;
  message.begin(RTM_NEWNEIGH, flags, head);
  message.put_ip(NDA_DST, ip);
  message.put_mac(NDA_LLADDR, mac);
}

void build_new_route(NlMessage& message, int flags, const RouteMessage& route) {
  bool on_link = route.type == RouteType::unicast && !route.via && !route.nexthop &&
                 std::none_of(route.others.begin(), route.others.end(),
                              [](const HopMessage& hop) { return static_cast<bool>(hop.via); });
  put_route_head(message, RTM_NEWROUTE, flags, route, on_link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
  if (route.src) message.put_ip(RTA_PREFSRC, route.src);
  if (route.mtu) {
    auto metrics = message.nest(RTA_METRICS);
    message.put_u32(RTAX_MTU, route.mtu);
  }
}

void build_delete_route(NlMessage& message, const RouteMessage& route) {
  put_route_head(message, RTM_DELROUTE, 0, route, RT_SCOPE_NOWHERE);
}

uint8_t rtn_of(RouteType type) {
  switch (type) {
    case RouteType::unicast:
      return RTN_UNICAST;
    case RouteType::blackhole:
      return RTN_BLACKHOLE;
    case RouteType::unreachable:
      return RTN_UNREACHABLE;
    case RouteType::prohibit:
      return RTN_PROHIBIT;
    case RouteType::throw_:
      return RTN_THROW;
    case RouteType::local:
      return RTN_LOCAL;
    case RouteType::other:
      break;
  }
  return RTN_UNSPEC;
}

RouteType route_type_of(uint8_t rtn) {
  switch (rtn) {
    case RTN_UNICAST:
      return RouteType::unicast;
    case RTN_BLACKHOLE:
      return RouteType::blackhole;
    case RTN_UNREACHABLE:
      return RouteType::unreachable;
    case RTN_PROHIBIT:
      return RouteType::prohibit;
    case RTN_THROW:
      return RouteType::throw_;
    case RTN_LOCAL:
      return RouteType::local;
    default:
      return RouteType::other;
  }
}

}  // namespace knet
