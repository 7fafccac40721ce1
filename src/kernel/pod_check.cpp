#include <linux/rtnetlink.h>

#include <algorithm>

#include "base/error.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/pod_link.h"
#include "kernel/rtnl_read.h"

namespace knet {

namespace {

using Findings = std::vector<std::string>;

const Link* find_link(const std::vector<Link>& links, std::string_view name) {
  auto at = std::find_if(links.begin(), links.end(), [&](const Link& link) { return link.name.view() == name; });
  return at == links.end() ? nullptr : &*at;
}

bool has_route(const std::vector<Route>& routes, const Prefix& dst, const IpAddr& via, uint8_t protocol = 0) {
  return std::any_of(routes.begin(), routes.end(), [&](const Route& route) {
    return route.dst == dst && route.via == via && (!protocol || route.protocol == protocol);
  });
}

void check_host_end(const PodLinkRequest& request, Findings& findings) {
  NlSocket socket(NETLINK_ROUTE);
  std::vector<Link> links;
  read_links(socket, links);
  const Link* link = find_link(links, request.host_dev.view());
  std::string dev = request.host_dev.str();
  if (!link) {
    findings.push_back("the host's device " + dev + " is gone");
    return;
  }
  if (!link->up) findings.push_back("the host's device " + dev + " is down");
  if (link->mac != pod_gateway_mac())
    findings.push_back(dev + " has the MAC " + link->mac.str() + ", not the gateway's");
  std::vector<Route> routes;
  std::vector<NexthopEntry> nexthops;
  read_routes(socket, LinkIndex(links), nexthops, routes, link->index);
  bool v4 = false;
  for (const IpAddr& ip : request.addresses) {
    v4 = v4 || ip.is_v4();
    if (!has_route(routes, Prefix::host(ip), {}, Route::kProtocol))
      findings.push_back("the host has no route to " + ip.str() + " over " + dev);
  }
  std::vector<Address> addresses;
  read_addresses(socket, LinkIndex(links), addresses, link->index);
  Prefix gateway = Prefix::host(pod_gateway(Family::v4));
  auto is_gateway = [&](const Address& address) { return address.prefix == gateway; };
  if (v4 && std::none_of(addresses.begin(), addresses.end(), is_gateway))
    findings.push_back(dev + " has lost the pods' gateway address " + gateway.str());
}

void check_pod_end(const PodLinkRequest& request, Findings& findings) {
  NlSocket socket(NETLINK_ROUTE);
  std::vector<Link> links;
  read_links(socket, links);
  const Link* link = find_link(links, request.ifname);
  if (!link) {
    findings.push_back("the pod has no interface " + request.ifname);
    return;
  }
  if (link->type != LinkType::veth) findings.push_back(request.ifname + " in the pod is not a veth");
  if (!link->up) findings.push_back(request.ifname + " in the pod is down");
  if (request.mac && link->mac != *request.mac)
    findings.push_back(request.ifname + " in the pod has the MAC " + link->mac.str() + ", not " + request.mac->str());
  if (request.mtu && link->mtu != request.mtu)
    findings.push_back(fmt::format("{} in the pod has MTU {}, not {}", request.ifname, link->mtu, request.mtu));
  LinkIndex index(links);
  std::vector<Address> addresses;
  std::vector<Route> routes;
  std::vector<NexthopEntry> nexthops;
  read_addresses(socket, index, addresses, link->index);
  read_routes(socket, index, nexthops, routes, link->index);
  for (const IpAddr& ip : request.addresses) {
    auto has = [&](const Address& address) { return address.prefix == Prefix::host(ip); };
    if (std::none_of(addresses.begin(), addresses.end(), has))
      findings.push_back("the pod has no address " + ip.str() + " on " + request.ifname);
  }
  for (Family family : {Family::v4, Family::v6}) {
    auto of_family = [&](const IpAddr& ip) { return ip.family() == family; };
    if (std::none_of(request.addresses.begin(), request.addresses.end(), of_family)) continue;
    IpAddr gateway = pod_gateway(family);
    if (family == Family::v4 && !has_route(routes, Prefix::host(gateway), {}))
      findings.push_back("the pod has no route to its gateway " + gateway.str());
    Prefix any(family == Family::v4 ? IpAddr::v4(0) : *IpAddr::parse("::"), 0);
    if (request.default_route && !has_route(routes, any, gateway))
      findings.push_back("the pod has no default route via " + gateway.str());
  }
}

}  // namespace

std::vector<std::string> check_pod_link(const PodLinkRequest& request) {
  Findings findings;
  check_host_end(request, findings);
  in_netns(request.netns_fd, [&] { check_pod_end(request, findings); });
  return findings;
}

}  // namespace knet
