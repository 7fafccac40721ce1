// A pod's interface on this node: the record that CNI writes to <run-dir>/endpoints/<11hex>.json (schema 1) and the
// agent reads. tmpfs on purpose: it dies with the pods at a reboot. Values and codec; no fd.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "core/netstate.h"

namespace knet {

struct Endpoint {
  std::string id;         // 11 hex of sha1(network/container/ifname)
  std::string network;    // CNI network name
  std::string container;  // CNI_CONTAINERID
  std::string ifname;     // CNI_IFNAME
  std::string netns;      // CNI_NETNS
  std::string pod;        // "namespace/name" from CNI_ARGS; "" outside Kubernetes
  DevName host_dev;       // "knet" + id
  Mac mac;                // of the pod's end
  std::vector<IpAddr> addresses;
  std::vector<std::pair<std::string, std::string>> labels;
  bool operator==(const Endpoint&) const = default;
};

/// 11 hex of sha1("<network>/<container>/<ifname>").
std::string endpoint_id(std::string_view network, std::string_view container, std::string_view ifname);
DevName pod_link_name(std::string_view id);

/// Out with those whose host link is not there, if links were read: a record that was left over must not hold its address
/// against a newer pod.
void drop_linkless(std::vector<Endpoint>& endpoints, const Observed& observed);

std::string format_endpoint(const Endpoint& endpoint);
/// Throws Error{config}. A newer schema is read as far as it is known.
Endpoint parse_endpoint(std::string_view json);

/// ee:ee:ee:ee:ee:ee, the host end of each pod's veth; its link-local address is the pods' IPv6 gateway.
Mac pod_gateway_mac();
IpAddr pod_gateway(Family family);  // 169.254.1.1, fe80::ecee:eeff:feee:eeee

}  // namespace knet
