#include "modes/common/plain.h"

#include <fmt/core.h>

#include "base/error.h"

namespace knet {

const Uplink& uplink_of(const LocalNode& self, Family family) {
  return family == Family::v6 ? self.uplink6 : self.uplink;
}

const Prefix& subnet_of(const Lease& lease, Family family) {
  return family == Family::v6 ? lease.subnet6 : lease.subnet;
}

const IpAddr& public_ip_of(const Lease& lease, Family family) {
  return family == Family::v6 ? lease.public_ip6 : lease.public_ip;
}

bool enabled(const NetworkConfig& config, Family family) {
  return family == Family::v6 ? config.enable_v6 : config.enable_v4;
}

std::string name_of(const ClusterView& view, uint32_t peer) {
  return peer < view.names.size() ? view.names[peer] : public_ip_of(view.leases[peer], Family::v4).str();
}

bool is_node_address(const IpAddr& address, Family family) {
  return address.family() == family && !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
}

bool on_link(const Uplink& uplink, const IpAddr& peer) { return uplink.dev && uplink.address.contains(peer); }

void add_plain_route(const Uplink& uplink, const Lease& lease, Family family, uint32_t peer, ModeState& out) {
  Route route;
  route.dst = subnet_of(lease, family);
  route.via = public_ip_of(lease, family);
  route.dev = uplink.dev;
  out.add(route, peer);
}

void loosen_uplink(const LocalNode& self, ModeState& out) {
  if (!self.uplink.dev || self.rp_filter_all == 2) return;
  const std::string dev = self.uplink.dev.str();
  if (!self.may_lower_rp_filter) {
    if (self.rp_filter_all == 1)
      out.notice(
          fmt::format("net.ipv4.conf.all.rp_filter is 1 (strict) and is left so: what a peer sends by {} is "
                      "dropped while it is reached another way",
                      dev));
    return;
  }
  Sysctl sysctl;
  sysctl.path = "net/ipv4/conf/" + dev + "/rp_filter";
  sysctl.value = "2";
  sysctl.dev = self.uplink.dev;
  if (self.rp_filter_all == 0) {
    sysctl.also = "0";
  } else {
    out.notice(
        fmt::format("net.ipv4.conf.all.rp_filter is 1 (strict): {} is set to 2 (loose), which counts for it", dev));
  }
  out.add(std::move(sysctl));
}

ModeMtu plain_mtu(const NetworkConfig& config, const LocalNode& self) {
  const auto mtu = [&](Family family) -> uint32_t {
    if (!enabled(config, family)) return 0;
    const uint32_t of_uplink = uplink_of(self, family).mtu;
    return of_uplink != 0 ? of_uplink : 1500;
  };
  return {mtu(Family::v4), mtu(Family::v6)};
}

void check_peer_addresses(const Lease& lease) {
  for (const Family family : {Family::v4, Family::v6}) {
    if (!subnet_of(lease, family)) continue;
    const IpAddr& address = public_ip_of(lease, family);
    const char* key = family == Family::v6 ? "PublicIPv6" : "PublicIP";
    if (!address) fail(ErrorKind::config, "it has no {}", key);
    if (!is_node_address(address, family))
      fail(ErrorKind::config, "its {} {} is not an address of a node", key, address.str());
  }
}

}  // namespace knet
