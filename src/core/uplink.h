// Choice of the NIC and address by which other nodes reach this one. Pure: from observed links, addresses and routes
// and the user's selector to one answer, with the reason and what was passed over. A tie is decided the same way each
// time (lowest route metric, then lowest ifindex) and said.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/netstate.h"
#include "core/view.h"

namespace knet {

/// What the user asked for; saved in the state dir as given, so that a renamed or replaced NIC is found again.
struct UplinkSelector {
  std::vector<std::string> ifaces;         // names or addresses, first that matches
  std::vector<std::string> iface_regexes;  // on addresses of every link first, then on names (ECMAScript)
  std::optional<IpAddr> can_reach;         // the link and source of the route to this address
  IpAddr public_ip, public_ip6;            // put into the lease; also picks the link if nothing else does
  bool operator==(const UplinkSelector&) const = default;
};

struct UplinkChoice {
  Uplink uplink, uplink6;  // the family that is off stays empty
  IpAddr public_ip, public_ip6;
  std::string why;                       // "default route", "--iface eth1", "--iface-regex '^10\.'"
  std::vector<std::string> passed_over;  // "eth1 10.9.0.5", "docker0 172.17.0.1"
  std::string tie;                       // "" or how it was decided
};

/// `reach` is the kernel's answer for selector.can_reach (dev, src), if asked.
struct ReachAnswer {
  DevName dev;
  IpAddr src;
};

/// Global unicast before link-local, permanent before DHCP/SLAAC, usable ones only; never a device of ours, flannel's
/// or a pod's. In order: ifaces, regexes, can_reach; without those the link with public_ip, the default route's, the
/// only one. A default route's preferred source counts first. An IPv6 link-local address is taken only if it is named;
/// an IPv4 /32 beside a wider address (VRRP) last. Throws Error{config} that lists the candidates when nothing matches,
/// and Error{usage} for a regex that can't be used (no back-references: it is matched in polynomial time).
UplinkChoice choose_uplink(const NetState& observed, const UplinkSelector& selector, bool want_v4, bool want_v6,
                           const std::optional<ReachAnswer>& reach);

}  // namespace knet
