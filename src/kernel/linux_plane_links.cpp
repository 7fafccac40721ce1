#include "kernel/linux_plane_links.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/if_tunnel.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "base/error.h"
#include "base/tun_node.h"
#include "core/ownership.h"
#include "kernel/rtnl.h"

namespace knet {

namespace {

constexpr int kCreate = NLM_F_CREATE | NLM_F_EXCL;
constexpr uint8_t kInheritTos = 1;  // ip_tunnel_xmit(): the lowest bit means the inner packet's (RFC 2003 3.1)

NlFailure no_device(const DevName& name) { return {0, ENODEV, fmt::format("there is no device {}", name.view())}; }

}  // namespace

NlFailure LinkMaker::remove(const Link& link) {
  ifinfomsg head{};
  head.ifi_index = link.index;
  message_.begin(RTM_DELLINK, 0, head);
  if (!link.index) message_.put_text(IFLA_IFNAME, link.name.view());
  return socket_.request(message_);
}

NlFailure LinkMaker::make(const Link& link) {
  NlFailure made{0, EOPNOTSUPP, fmt::format("{} is no device that knet can make", link.name.view())};
  if (link.vxlan) made = make_vxlan(link);
  if (link.ipip) made = make_ipip(link);
  if (link.wireguard) made = make_wireguard(link);
  if (link.type == LinkType::tun) made = make_tun(link);
  if (made.error) return made;
  NlFailure marked = mark(link);
  if (marked.error) remove(link);
  return marked;
}

void LinkMaker::begin_new(const Link& link) {
  ifinfomsg head{};
  message_.begin(RTM_NEWLINK, kCreate, head).put_text(IFLA_IFNAME, link.name.view());
  if (link.mtu) message_.put_u32(IFLA_MTU, link.mtu);
}

NlFailure LinkMaker::make_vxlan(const Link& link) {
  const VxlanAttrs& vxlan = *link.vxlan;
  int underlay = vxlan.underlay ? link_index(vxlan.underlay.c_str()) : 0;
  if (vxlan.underlay && !underlay) return no_device(vxlan.underlay);
  begin_new(link);
  if (!link.mac.is_zero()) message_.put_mac(IFLA_ADDRESS, link.mac);
  {
    auto info = message_.nest(IFLA_LINKINFO);
    message_.put_text(IFLA_INFO_KIND, "vxlan");
    auto data = message_.nest(IFLA_INFO_DATA);
    message_.put_u32(IFLA_VXLAN_ID, vxlan.vni);
    message_.put_be16(IFLA_VXLAN_PORT, vxlan.port);
    if (vxlan.local) message_.put_ip(vxlan.local.is_v4() ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, vxlan.local);
    if (underlay) message_.put_u32(IFLA_VXLAN_LINK, static_cast<uint32_t>(underlay));
    message_.put_u8(IFLA_VXLAN_LEARNING, vxlan.learning);
  }
  return socket_.request(message_);
}

NlFailure LinkMaker::make_ipip(const Link& link) {
  const IpipAttrs& ipip = *link.ipip;
  int underlay = ipip.underlay ? link_index(ipip.underlay.c_str()) : 0;
  if (ipip.underlay && !underlay) return no_device(ipip.underlay);
  begin_new(link);
  {
    auto info = message_.nest(IFLA_LINKINFO);
    message_.put_text(IFLA_INFO_KIND, "ipip");
    auto data = message_.nest(IFLA_INFO_DATA);
    message_.put_ip(IFLA_IPTUN_LOCAL, ipip.local);
    if (underlay) message_.put_u32(IFLA_IPTUN_LINK, static_cast<uint32_t>(underlay));
    // The outer packet may be fragmented where the inner one may: else those without DF that are too big for the path
    // would be lost. Inner packets with DF get "fragmentation needed" either way (tnl_update_pmtu()). It takes the inner
    // TTL: one of its own would set DF always (ip_tunnel_netlink_parms()).
    message_.put_u8(IFLA_IPTUN_TTL, 0).put_u8(IFLA_IPTUN_TOS, kInheritTos);
    message_.put_u8(IFLA_IPTUN_PMTUDISC, 0);
  }
  NlFailure made = socket_.request(message_);
  if (made.error == EOPNOTSUPP) made.reason = "this kernel has no ipip driver (modprobe ipip)";
  return made;
}

NlFailure LinkMaker::make_wireguard(const Link& link) {
  begin_new(link);
  {
    auto info = message_.nest(IFLA_LINKINFO);
    message_.put_text(IFLA_INFO_KIND, "wireguard");
  }
  NlFailure made = socket_.request(message_);
  if (made.error == EOPNOTSUPP) made.reason = "this kernel has no wireguard driver (modprobe wireguard)";
  if (made.error) return made;
  // Before it is up: then it listens on no other port, not even for a moment.
  NlFailure set = wireguard_.set_device(link_index(link.name.c_str()), *link.wireguard);
  if (set.error) remove(link);
  return set;
}

/// Persistent, so that it stays when the descriptor is closed, here and in the agent.
NlFailure LinkMaker::make_tun(const Link& link) {
  try {
    Fd fd = open_tun_node();
    ifreq request{};
    const std::string_view name = link.name.view();
    memcpy(request.ifr_name, name.data(), name.size());
    request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE | IFF_TUN_EXCL);
    if (ioctl(fd.get(), TUNSETIFF, &request) < 0) throw_errno(errno, "make the TUN device {}", name);
    if (ioctl(fd.get(), TUNSETPERSIST, 1) < 0) throw_errno(errno, "keep the TUN device {}", name);
  } catch (const Error& error) {
    return {0, ENOTSUP, error.text};
  }
  if (!link.mtu) return {};
  ifinfomsg head{};
  head.ifi_index = link_index(link.name.c_str());
  NlFailure set = socket_.request(message_.begin(RTM_SETLINK, 0, head).put_u32(IFLA_MTU, link.mtu));
  if (set.error) remove(link);
  return set;
}

/// Alias and address mode before up: no link-local address appears, which nobody would use on a tunnel.
NlFailure LinkMaker::mark(const Link& link) {
  ifinfomsg head{};
  head.ifi_index = link_index(link.name.c_str());
  message_.begin(RTM_SETLINK, 0, head).put(IFLA_IFALIAS, kLinkAlias.data(), kLinkAlias.size());
  {
    auto families = message_.nest(IFLA_AF_SPEC);
    auto inet6 = message_.nest(AF_INET6);
    message_.put_u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  }
  NlFailure marked = socket_.request(message_);
  if (marked.error == EAFNOSUPPORT) {  // IPv6 is off on this device or in this kernel
    message_.begin(RTM_SETLINK, 0, head).put(IFLA_IFALIAS, kLinkAlias.data(), kLinkAlias.size());
    marked = socket_.request(message_);
  }
  if (marked.error || !link.up) return marked;
  head.ifi_flags = head.ifi_change = IFF_UP;
  return socket_.request(message_.begin(RTM_SETLINK, 0, head));
}

NlFailure LinkMaker::change(const Link& link, const Link* seen) {
  ifinfomsg head{};
  head.ifi_index = link_index(link.name.c_str());
  if (!head.ifi_index) return no_device(link.name);
  if (link.wireguard && !(seen && seen->wireguard == link.wireguard))
    if (NlFailure set = wireguard_.set_device(head.ifi_index, *link.wireguard); set.error) return set;
  head.ifi_change = IFF_UP;
  head.ifi_flags = link.up ? IFF_UP : 0;
  message_.begin(RTM_SETLINK, 0, head);
  if (link.mtu && !(seen && seen->mtu == link.mtu)) message_.put_u32(IFLA_MTU, link.mtu);
  // Not where equal: setting a MAC flushes the device's permanent neighbours.
  if (!link.mac.is_zero() && !(seen && seen->mac == link.mac)) message_.put_mac(IFLA_ADDRESS, link.mac);
  return socket_.request(message_);
}

}  // namespace knet
