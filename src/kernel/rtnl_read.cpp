#include "kernel/rtnl_read.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/if_tunnel.h>
#include <linux/ipv6.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "core/ownership.h"
#include "kernel/rtnl.h"

namespace knet {

namespace {

using Dump = NlSocket::Dump;

LinkType link_type_of(std::string_view kind, uint16_t arphrd) {
  if (kind == "veth") return LinkType::veth;
  if (kind == "bridge") return LinkType::bridge;
  if (kind == "vxlan") return LinkType::vxlan;
  if (kind == "ipip") return LinkType::ipip;
  if (kind == "wireguard") return LinkType::wireguard;
  return arphrd == ARPHRD_LOOPBACK ? LinkType::loopback : LinkType::other;
}

/// `underlay` gets the index: the name is known only when all links are read.
VxlanAttrs parse_vxlan(Attr data, int& underlay) {
  Attrs<IFLA_VXLAN_LOCAL6> attrs(data);
  VxlanAttrs vxlan;
  vxlan.vni = attrs[IFLA_VXLAN_ID].u32();
  vxlan.port = attrs[IFLA_VXLAN_PORT].be16();
  vxlan.local = attrs[IFLA_VXLAN_LOCAL6] ? attrs[IFLA_VXLAN_LOCAL6].ip() : attrs[IFLA_VXLAN_LOCAL].ip();
  vxlan.learning = attrs[IFLA_VXLAN_LEARNING].u8() != 0;
  underlay = static_cast<int>(attrs[IFLA_VXLAN_LINK].u32());
  return vxlan;
}

/// Nothing where it has one remote end, or is driven by routes' metadata: those are none that knet would make.
std::optional<IpipAttrs> parse_ipip(Attr data, int& underlay) {
  Attrs<IFLA_IPTUN_COLLECT_METADATA> attrs(data);
  if (attrs[IFLA_IPTUN_REMOTE].u32() != 0 || attrs[IFLA_IPTUN_COLLECT_METADATA]) return std::nullopt;
  underlay = static_cast<int>(attrs[IFLA_IPTUN_LINK].u32());
  IpipAttrs ipip;
  ipip.local = attrs[IFLA_IPTUN_LOCAL].ip();
  return ipip;
}

/// Whether it is made as ours are; with other flags the tunnels' two ways could not use it.
bool is_our_kind_of_tun(Attr data) {
  Attrs<IFLA_TUN_MULTI_QUEUE> attrs(data);
  return attrs[IFLA_TUN_TYPE].u8() == IFF_TUN && !attrs[IFLA_TUN_PI].u8() && attrs[IFLA_TUN_VNET_HDR].u8() &&
         attrs[IFLA_TUN_PERSIST].u8() && attrs[IFLA_TUN_MULTI_QUEUE].u8();
}

bool ipv6_disabled(Attr af_spec) {
  if (!af_spec) return false;
  Attrs<AF_INET6> families(af_spec);
  if (!families[AF_INET6]) return true;
  Attr conf = Attrs<IFLA_INET6_CONF>(families[AF_INET6])[IFLA_INET6_CONF];
  int32_t disabled = 0;
  size_t at = DEVCONF_DISABLE_IPV6 * sizeof disabled;
  if (conf.size() >= at + sizeof disabled)
    memcpy(&disabled, static_cast<const char*>(conf.data()) + at, sizeof disabled);
  return disabled != 0;
}

Link parse_link(const nlmsghdr* message, int& underlay) {
  auto* head = static_cast<const ifinfomsg*>(NLMSG_DATA(message));
  Attrs<IFLA_LINK_NETNSID> attrs(message, sizeof *head);
  Attrs<IFLA_INFO_DATA> info(attrs[IFLA_LINKINFO]);
  Link link;
  link.name = DevName(attrs[IFLA_IFNAME].text());
  link.index = head->ifi_index;
  link.type = link_type_of(info[IFLA_INFO_KIND].text(), head->ifi_type);
  link.mtu = attrs[IFLA_MTU].u32();
  link.mac = attrs[IFLA_ADDRESS].mac();
  link.up = head->ifi_flags & IFF_UP;
  link.running = attrs[IFLA_CARRIER] ? attrs[IFLA_CARRIER].u8() != 0 : (head->ifi_flags & IFF_RUNNING) != 0;
  link.ours = attrs[IFLA_IFALIAS].text() == kLinkAlias;
  link.no_ipv6 = ipv6_disabled(attrs[IFLA_AF_SPEC]);
  if (Attr peer = attrs[IFLA_LINK_NETNSID]) link.peer_netns = static_cast<int>(peer.u32());
  if (link.type == LinkType::vxlan) link.vxlan = parse_vxlan(info[IFLA_INFO_DATA], underlay);
  if (link.type == LinkType::ipip) link.ipip = parse_ipip(info[IFLA_INFO_DATA], underlay);
  if (info[IFLA_INFO_KIND].text() == "tun" && is_our_kind_of_tun(info[IFLA_INFO_DATA])) link.type = LinkType::tun;
  return link;
}

}  // namespace

LinkIndex::LinkIndex(const std::vector<Link>& links) {
  entries_.reserve(links.size());
  for (const Link& link : links) entries_.push_back({link.index, link.name, link.ours, link.type});
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.index < b.index; });
}

const LinkIndex::Entry* LinkIndex::find(int index) const {
  auto at = std::lower_bound(entries_.begin(), entries_.end(), index,
                             [](const Entry& entry, int wanted) { return entry.index < wanted; });
  return at != entries_.end() && at->index == index ? &*at : nullptr;
}

bool read_links(NlSocket& socket, std::vector<Link>& out) {
  size_t start = out.size();
  std::vector<std::pair<size_t, int>> underlays;  // position in out, index of the underlay
  NlMessage message;
  ifinfomsg head{};
  message.begin(RTM_GETLINK, 0, head).put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  auto reset = [&] {
    out.resize(start);
    underlays.clear();
  };
  auto result = socket.dump(message, reset, [&](const nlmsghdr* answer) {
    if (answer->nlmsg_type != RTM_NEWLINK) return;
    int underlay = 0;
    out.push_back(parse_link(answer, underlay));
    if (underlay) underlays.emplace_back(out.size() - 1, underlay);
  });
  for (auto [position, index] : underlays)
    for (size_t i = start; i < out.size(); ++i)
      if (out[i].index == index) {
        Link& link = out[position];
        (link.vxlan ? link.vxlan->underlay : link.ipip->underlay) = out[i].name;
      }
  return result == Dump::whole;
}

bool read_addresses(NlSocket& socket, const LinkIndex& links, std::vector<Address>& out, int only_index) {
  size_t start = out.size();
  NlMessage message;
  ifaddrmsg head{};
  head.ifa_index = static_cast<uint32_t>(only_index);
  message.begin(RTM_GETADDR, 0, head);
  auto result = socket.dump(
      message, [&] { out.resize(start); },
      [&](const nlmsghdr* answer) {
        if (answer->nlmsg_type != RTM_NEWADDR) return;
        auto* found = static_cast<const ifaddrmsg*>(NLMSG_DATA(answer));
        Attrs<IFA_FLAGS> attrs(answer, sizeof *found);
        auto* link = links.find(static_cast<int>(found->ifa_index));
        if (!link || (only_index && link->index != only_index)) return;
        uint32_t flags = attrs[IFA_FLAGS] ? attrs[IFA_FLAGS].u32() : found->ifa_flags;
        Address address;
        address.dev = link->name;
        IpAddr ip = attrs[IFA_LOCAL] ? attrs[IFA_LOCAL].ip() : attrs[IFA_ADDRESS].ip();
        address.prefix = Prefix(ip, found->ifa_prefixlen);
        address.permanent = flags & IFA_F_PERMANENT;
        address.usable = !(flags & (IFA_F_DEPRECATED | IFA_F_DADFAILED | IFA_F_TEMPORARY)) &&
                         !((flags & IFA_F_TENTATIVE) && !(flags & IFA_F_OPTIMISTIC));
        // The secondary flag of IPv4 has the value of IPv6's temporary.
        if (ip.is_v4()) address.usable = !(flags & IFA_F_DEPRECATED);
        out.push_back(address);
      });
  return result == Dump::whole;
}

bool read_neighbors(NlSocket& socket, const LinkIndex::Entry& link, std::vector<Neighbor>& out) {
  size_t start = out.size();
  NlMessage message;
  ndmsg head{};
  message.begin(RTM_GETNEIGH, 0, head).put_u32(NDA_IFINDEX, static_cast<uint32_t>(link.index));
  auto result = socket.dump(
      message, [&] { out.resize(start); },
      [&](const nlmsghdr* answer) {
        auto* found = static_cast<const ndmsg*>(NLMSG_DATA(answer));
        if (answer->nlmsg_type != RTM_NEWNEIGH || found->ndm_ifindex != link.index) return;
        if (!(found->ndm_state & NUD_PERMANENT) || found->ndm_family == AF_BRIDGE) return;
        Attrs<NDA_LLADDR> attrs(answer, sizeof *found);
        out.push_back({link.name, attrs[NDA_DST].ip(), attrs[NDA_LLADDR].mac(), {}});
      });
  return result == Dump::whole;
}

bool read_fdb(NlSocket& socket, const LinkIndex::Entry& link, std::vector<FdbEntry>& out) {
  size_t start = out.size();
  NlMessage message;
  ndmsg head{};
  head.ndm_family = AF_BRIDGE;
  head.ndm_ifindex = link.index;
  message.begin(RTM_GETNEIGH, 0, head);
  auto result = socket.dump(
      message, [&] { out.resize(start); },
      [&](const nlmsghdr* answer) {
        auto* found = static_cast<const ndmsg*>(NLMSG_DATA(answer));
        if (answer->nlmsg_type != RTM_NEWNEIGH || found->ndm_ifindex != link.index) return;
        if (found->ndm_family != AF_BRIDGE || !(found->ndm_flags & NTF_SELF)) return;
        Attrs<NDA_LLADDR> attrs(answer, sizeof *found);
        out.push_back({link.name, attrs[NDA_LLADDR].mac(), attrs[NDA_DST].ip(), {}});
      });
  return result == Dump::whole;
}

bool read_nexthops(NlSocket& socket, std::vector<NexthopEntry>& out) {
  out.clear();
  NlMessage message;
  nhmsg head{};
  message.begin(RTM_GETNEXTHOP, 0, head);
  auto result = socket.dump(
      message, [&] { out.clear(); },
      [&](const nlmsghdr* answer) {
        if (answer->nlmsg_type != RTM_NEWNEXTHOP) return;
        auto* found = static_cast<const nhmsg*>(NLMSG_DATA(answer));
        Attrs<NHA_GATEWAY> attrs(answer, sizeof *found);
        out.push_back({attrs[NHA_ID].u32(), static_cast<int>(attrs[NHA_OIF].u32()), attrs[NHA_GATEWAY].ip(),
                       found->nh_protocol, (found->nh_flags & RTNH_F_ONLINK) != 0,
                       static_cast<bool>(attrs[NHA_GROUP])});
      });
  std::sort(out.begin(), out.end(), [](const NexthopEntry& a, const NexthopEntry& b) { return a.id < b.id; });
  return result == Dump::whole || (result == Dump::refused && socket.dump_error() == EOPNOTSUPP);
}

namespace {

// RTA_GATEWAY, or the gateway of the other family (RTA_VIA).
template <int kMax>
IpAddr gateway_of(const Attrs<kMax>& attrs) {
  if (Attr gateway = attrs[RTA_GATEWAY]) return gateway.ip();
  const Attr via = attrs[RTA_VIA];
  constexpr size_t kFamilyBytes = sizeof(rtvia);
  if (via.size() != kFamilyBytes + 16) return {};
  return IpAddr::from_bytes(Family::v6, static_cast<const uint8_t*>(via.data()) + kFamilyBytes);
}

// Next hops of unequal weight are told as `multipath` alone.
void read_hops(Attr list, const LinkIndex& links, Route& route) {
  auto* hop = static_cast<const rtnexthop*>(list.data());
  auto left = static_cast<int>(list.size());
  bool first = true, dead = true;
  uint8_t weight = 0;
  for (; RTNH_OK(hop, left); left -= static_cast<int>(RTNH_ALIGN(hop->rtnh_len)), hop = RTNH_NEXT(hop)) {
    Attrs<RTA_VIA> attrs(RTNH_DATA(hop), hop->rtnh_len - sizeof *hop);
    RouteHop found;
    if (auto* link = links.find(hop->rtnh_ifindex)) found.dev = link->name;
    found.via = gateway_of(attrs);
    found.onlink = hop->rtnh_flags & RTNH_F_ONLINK;
    dead = dead && (hop->rtnh_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN));
    if (first) {
      route.dev = found.dev;
      route.via = found.via;
      route.onlink = found.onlink;
      weight = hop->rtnh_hops;
    } else {
      route.others.push_back(found);
      route.multipath = route.multipath || hop->rtnh_hops != weight;
    }
    first = false;
  }
  route.dead = dead;
  order_hops(route);
}

}  // namespace

std::optional<Route> parse_route(const nlmsghdr* message, const LinkIndex& links,
                                 const std::vector<NexthopEntry>& nexthops) {
  auto* head = static_cast<const rtmsg*>(NLMSG_DATA(message));
  Attrs<RTA_NH_ID> attrs(message, sizeof *head);
  Route route;
  route.type = route_type_of(head->rtm_type);
  if (route.type == RouteType::other || (head->rtm_flags & RTM_F_CLONED)) return std::nullopt;
  bool v4 = head->rtm_family == AF_INET;
  static const IpAddr any6 = *IpAddr::parse("::");
  IpAddr dst = attrs[RTA_DST] ? attrs[RTA_DST].ip() : v4 ? IpAddr::v4(0) : any6;
  route.dst = Prefix(dst, head->rtm_dst_len);
  route.table = attrs[RTA_TABLE] ? attrs[RTA_TABLE].u32() : head->rtm_table;
  route.metric = attrs[RTA_PRIORITY].u32();
  route.protocol = head->rtm_protocol;
  route.via = gateway_of(attrs);
  route.src = attrs[RTA_PREFSRC].ip();
  route.onlink = head->rtm_flags & RTNH_F_ONLINK;
  route.dead = head->rtm_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN);
  int index = static_cast<int>(attrs[RTA_OIF].u32());
  if (Attr id = attrs[RTA_NH_ID]) {
    route.by_nexthop = true;
    auto at = std::lower_bound(nexthops.begin(), nexthops.end(), id.u32(),
                               [](const NexthopEntry& entry, uint32_t wanted) { return entry.id < wanted; });
    if (at != nexthops.end() && at->id == id.u32()) {
      index = at->index;
      route.via = at->via;
      route.onlink = at->onlink;
      route.multipath = at->group;
    }
  }
  // IPv6's "unreachable" kinds name lo as their device.
  if (route.type == RouteType::unicast || route.type == RouteType::local)
    if (auto* link = links.find(index)) route.dev = link->name;
  if (Attr hops = attrs[RTA_MULTIPATH]; hops && !route.by_nexthop) read_hops(hops, links, route);
  if (attrs[RTA_METRICS]) route.mtu = Attrs<RTAX_MTU>(attrs[RTA_METRICS])[RTAX_MTU].u32();
  return route;
}

bool read_routes(NlSocket& socket, const LinkIndex& links, const std::vector<NexthopEntry>& nexthops,
                 std::vector<Route>& out, int only_index) {
  bool whole = true;
  for (int family : {AF_INET, AF_INET6}) {
    size_t family_start = out.size();
    NlMessage message;
    rtmsg head{};
    head.rtm_family = static_cast<uint8_t>(family);
    head.rtm_table = RT_TABLE_MAIN;
    message.begin(RTM_GETROUTE, 0, head);
    if (only_index) message.put_u32(RTA_OIF, static_cast<uint32_t>(only_index));
    auto result = socket.dump(
        message, [&] { out.resize(family_start); },
        [&](const nlmsghdr* answer) {
          if (answer->nlmsg_type != RTM_NEWROUTE) return;
          auto route = parse_route(answer, links, nexthops);
          if (!route || route->table != Route::kMainTable) return;
          if (only_index) {
            auto* link = links.find(only_index);
            if (!link || !route->any_dev([&](const DevName& dev) { return dev == link->name; })) return;
          }
          out.push_back(std::move(*route));
        });
    // A table that has never had a route is "not there" under strict checking.
    bool empty = result == Dump::refused && socket.dump_error() == ENOENT;
    if (empty) out.resize(family_start);
    bool no_ipv6 = result == Dump::refused && socket.dump_error() == EOPNOTSUPP && family == AF_INET6;
    whole = whole && (result == Dump::whole || empty || no_ipv6);
  }
  return whole;
}

}  // namespace knet
