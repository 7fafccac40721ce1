// Short makers of values for tests; a malformed text is the test's own fault and throws.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "core/netstate.h"
#include "core/view.h"

namespace knet::test {

inline IpAddr ip(const std::string& text) { return IpAddr::parse(text).value(); }
inline Prefix prefix(const std::string& text) { return Prefix::parse(text).value(); }
inline DevName dev(const std::string& text) { return DevName(text); }
inline Mac mac(const std::string& text) { return Mac::parse(text).value(); }

/// route("10.244.2.0/24", "knet.1", "10.244.2.0"): protocol 107, not by nexthop.
inline Route route(const std::string& dst, const std::string& device, const std::string& via = "") {
  Route made;
  made.dst = prefix(dst);
  if (!device.empty()) made.dev = dev(device);
  if (!via.empty()) made.via = ip(via);
  return made;
}
/// The same over one more next hop; in order.
inline Route with_hop(Route made, const std::string& device, const std::string& via, bool onlink = false) {
  made.others.push_back({dev(device), ip(via), onlink});
  order_hops(made);
  return made;
}
inline Route blackhole(const std::string& dst, uint32_t metric = 0) {
  Route made = route(dst, "");
  made.type = RouteType::blackhole;
  made.metric = metric;
  return made;
}
inline Nexthop nexthop(const std::string& device, const std::string& via, bool onlink = false) {
  Nexthop made;
  made.dev = dev(device);
  made.via = ip(via);
  made.onlink = onlink;
  return made;
}
inline Address address(const std::string& device, const std::string& text) {
  Address made;
  made.dev = dev(device);
  made.prefix = prefix(text);
  return made;
}
inline Neighbor neighbor(const std::string& device, const std::string& address, const std::string& lladdr) {
  Neighbor made;
  made.dev = dev(device);
  made.ip = ip(address);
  made.mac = mac(lladdr);
  return made;
}
inline FdbEntry fdb(const std::string& device, const std::string& lladdr, const std::string& dst) {
  FdbEntry made;
  made.dev = dev(device);
  made.mac = mac(lladdr);
  made.dst = ip(dst);
  return made;
}
inline Sysctl sysctl(const std::string& path, const std::string& value, const std::string& device = "") {
  Sysctl made;
  made.path = path;
  made.value = value;
  if (!device.empty()) made.dev = dev(device);
  return made;
}
inline Link nic(const std::string& name, bool up = true) {
  Link made;
  made.name = dev(name);
  made.type = LinkType::veth;
  made.mtu = 1500;
  made.up = up;
  return made;
}
inline Link vxlan(const std::string& name, uint32_t vni, const std::string& local, const std::string& underlay,
                  uint16_t port = 8472) {
  Link made;
  made.name = dev(name);
  made.type = LinkType::vxlan;
  made.mtu = 1450;
  VxlanAttrs attrs;
  attrs.vni = vni;
  attrs.port = port;
  attrs.local = ip(local);
  attrs.underlay = dev(underlay);
  made.vxlan = attrs;
  return made;
}

inline Link tun(const std::string& name, uint32_t mtu = 1472) {
  Link made;
  made.name = dev(name);
  made.type = LinkType::tun;
  made.mtu = mtu;
  return made;
}
inline Link ipip(const std::string& name, const std::string& local, const std::string& underlay) {
  Link made;
  made.name = dev(name);
  made.type = LinkType::ipip;
  made.mtu = 1480;
  made.ipip = IpipAttrs{ip(local), dev(underlay)};
  return made;
}
inline Link wireguard(const std::string& name, uint16_t port = 51820, uint8_t key = 1) {
  Link made;
  made.name = dev(name);
  made.type = LinkType::wireguard;
  made.mtu = 1420;
  WireguardAttrs attrs;
  attrs.port = port;
  attrs.public_key.fill(key);
  made.wireguard = attrs;
  return made;
}
inline WireguardPeer wireguard_peer(const std::string& device, uint8_t key, const std::string& allowed,
                                    const std::string& endpoint, uint16_t port = 51820) {
  WireguardPeer made;
  made.dev = dev(device);
  made.public_key.fill(key);
  made.allowed = {prefix(allowed)};
  made.endpoint = ip(endpoint);
  made.port = port;
  return made;
}
/// One end of the udp tunnel `tunnel`, with its digest.
inline Filter filter(const std::string& device, TunnelEnd end, const std::string& tunnel = "knet.udp",
                     const std::string& local = "192.168.77.1", uint16_t port = 8285) {
  Filter made;
  made.dev = dev(device);
  made.end = end;
  made.tunnel = dev(tunnel);
  made.wire = port != 0 ? TunnelWire::udp : TunnelWire::ipip;
  made.port = port;
  made.local = ip(local);
  made.digest = digest(made);
  return made;
}
inline TunnelPeer tunnel_peer(const std::string& device, const std::string& inner, const std::string& outer,
                              uint16_t port = 8285) {
  TunnelPeer made;
  made.dev = dev(device);
  made.inner = prefix(inner);
  made.outer = ip(outer);
  made.port = port;
  return made;
}
inline Shortcut shortcut(const std::string& device) {
  Shortcut made;
  made.dev = dev(device);
  return made;
}
inline PodMtu pod_mtu(const std::string& device, uint32_t mtu) {
  PodMtu made;
  made.dev = dev(device);
  made.netns = "/run/netns/" + device;
  made.ifname = "eth0";
  made.mtu = mtu;
  return made;
}

/// Node n1, 192.168.77.1/24 on eth0, subnet 10.244.1.0/24 of 10.244.0.0/16, in the given mode; no peers, no pods.
inline ClusterView view_of(const std::string& mode) {
  ClusterView view;
  view.config.network = prefix("10.244.0.0/16");
  view.config.mode = mode;
  LocalNode& self = view.self;
  self.name = "n1";
  self.public_ip = ip("192.168.77.1");
  self.uplink.dev = dev("eth0");
  self.uplink.mtu = 1500;
  self.uplink.address = prefix("192.168.77.1/24");
  self.lease.subnet = prefix("10.244.1.0/24");
  self.lease.public_ip = self.public_ip;
  self.lease.mode = mode;
  self.lease.rev = 1;
  view.rev = 1;
  return view;
}
/// The same with IPv6 too: fd00:77::1/64 on eth0, subnet fd10:0:0:1::/64 of fd10::/48.
inline ClusterView dual_view_of(const std::string& mode) {
  ClusterView view = view_of(mode);
  view.config.enable_v6 = true;
  view.config.network6 = prefix("fd10::/48");
  LocalNode& self = view.self;
  self.public_ip6 = ip("fd00:77::1");
  self.uplink6 = self.uplink;
  self.uplink6.address = prefix("fd00:77::1/64");
  self.lease.subnet6 = prefix("fd10:0:0:1::/64");
  self.lease.public_ip6 = self.public_ip6;
  return view;
}
/// Adds a peer n<number> at 192.168.77.<number> with 10.244.<number>.0/24 (and, where on, IPv6 alike).
inline Lease& add_peer(ClusterView& view, int number, const std::string& mode, const std::string& data = "",
                       const std::string& public_ip = "") {
  Lease lease;
  lease.subnet = prefix("10.244." + std::to_string(number) + ".0/24");
  lease.public_ip = ip(public_ip.empty() ? "192.168.77." + std::to_string(number) : public_ip);
  if (view.config.enable_v6) {
    lease.subnet6 = prefix("fd10:0:0:" + std::to_string(number) + "::/64");
    lease.public_ip6 = ip("fd00:77::" + std::to_string(number));
    lease.data.v6 = data;
  }
  lease.mode = mode;
  lease.data.v4 = data;
  lease.rev = 10 + number;
  view.leases.push_back(lease);
  view.names.push_back("n" + std::to_string(number));
  return view.leases.back();
}
inline Endpoint& add_pod(ClusterView& view, const std::string& id, const std::vector<std::string>& addresses) {
  Endpoint endpoint;
  endpoint.id = id;
  endpoint.host_dev = dev("knet" + id);
  endpoint.container = "c-" + id;
  endpoint.ifname = "eth0";
  for (const std::string& address : addresses) endpoint.addresses.push_back(ip(address));
  view.endpoints.push_back(endpoint);
  return view.endpoints.back();
}

}  // namespace knet::test
