// A pod's veth pair, made and removed in as few netlink round trips as the kernel allows. The hot path of CNI ADD and
// DEL. design.md 3 (names, MAC, gateways) and facts on the order: pod addresses only after its routes; IPv6 DAD off on
// both ends before up. Used by src/cni on one thread; opens its own sockets.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/endpoint.h"
#include "core/netstate.h"

namespace knet {

struct PodLinkRequest {
  DevName host_dev;
  std::string ifname;  // in the pod
  int netns_fd = -1;
  std::vector<IpAddr> addresses;    // /32 and /128 in the pod
  uint32_t mtu = 0;                 // of the link: the larger family's
  uint32_t mtu_v4 = 0, mtu_v6 = 0;  // on the pod's default routes where smaller than the link's; 0: none
  bool default_route = true;
  std::optional<Mac> mac;
};

struct PodLinkResult {
  Mac mac;  // of the pod's end
  Mac host_mac;
};

/// Makes the pair (peer directly in the pod): the host's end up with MAC ee:..., the gateways' addresses, strict
/// rp_filter, no duplicate address detection, host routes /32 and /128 with protocol 107; the pod's end with the
/// gateway as a permanent neighbour, the route to it, the default route, and the addresses last. Nothing has to be
/// resolved for the first packet. Everything is undone on failure. Error{conflict} if the host device or the pod's
/// ifname exists, or a foreign route holds a pod address.
PodLinkResult add_pod_link(const PodLinkRequest& request);

/// Deletes the pair from the host side (its routes go with it). False if there is none.
bool remove_pod_link(const DevName& host_dev);

/// What differs from what add_pod_link made, one line each; empty: all there. For CNI CHECK.
std::vector<std::string> check_pod_link(const PodLinkRequest& request);

/// `lo` up in the pod's namespace.
void loopback_up(int netns_fd);

}  // namespace knet
