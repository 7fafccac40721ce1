#include "kernel/linux_plane_links.h"

#include <errno.h>
#include <fmt/core.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "core/ownership.h"
#include "kernel/rtnl.h"

namespace knet {

namespace {

constexpr int kCreate = NLM_F_CREATE | NLM_F_EXCL;

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
  if (!link.vxlan) return {0, EOPNOTSUPP, fmt::format("{} is no device that knet can make", link.name.view())};
  NlFailure made = make_vxlan(link);
  if (made.error) return made;
  NlFailure marked = mark(link);
  if (marked.error) remove(link);
  return marked;
}

NlFailure LinkMaker::make_vxlan(const Link& link) {
  const VxlanAttrs& vxlan = *link.vxlan;
  int underlay = vxlan.underlay ? link_index(vxlan.underlay.c_str()) : 0;
  if (vxlan.underlay && !underlay) return no_device(vxlan.underlay);
  ifinfomsg head{};
  message_.begin(RTM_NEWLINK, kCreate, head).put_text(IFLA_IFNAME, link.name.view());
  if (link.mtu) message_.put_u32(IFLA_MTU, link.mtu);
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
  head.ifi_change = IFF_UP;
  head.ifi_flags = link.up ? IFF_UP : 0;
  message_.begin(RTM_SETLINK, 0, head);
  if (link.mtu && !(seen && seen->mtu == link.mtu)) message_.put_u32(IFLA_MTU, link.mtu);
  // Not where equal: setting a MAC flushes the device's permanent neighbours.
  if (!link.mac.is_zero() && !(seen && seen->mac == link.mac)) message_.put_mac(IFLA_ADDRESS, link.mac);
  return socket_.request(message_);
}

}  // namespace knet
