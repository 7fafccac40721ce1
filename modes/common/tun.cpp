#include "modes/common/tun.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "core/compose.h"
#include "modes/common/guard.h"
#include "modes/common/plain.h"

namespace knet {

namespace {

constexpr Family kFamilies[] = {Family::v4, Family::v6};
constexpr uint32_t kUsualMtu = 1500;

struct Sides {
  bool v4 = false, v6 = false;
  bool any() const { return v4 || v6; }
  bool has(Family family) const { return family == Family::v6 ? v6 : v4; }
};

// The families in which this node can take part now.
Sides sides_of(const TunTunnel& tunnel, const ClusterView& view, const NetworkConfig& config, ModeState& out) {
  Sides sides;
  for (const Family family : kFamilies) {
    if (!enabled(config, family)) continue;
    if (!uplink_of(view.self, family).dev)
      out.blocker(fmt::format("{}: this node has no IPv{} uplink", tunnel.mode, static_cast<int>(family)));
    else if (subnet_of(view.self.lease, family))
      (family == Family::v6 ? sides.v6 : sides.v4) = true;
  }
  return sides;
}

IpAddr local_of(const LocalNode& self, Family family, const Sides& sides) {
  return sides.has(family) ? uplink_of(self, family).address.addr() : IpAddr();
}

void add_device(const TunTunnel& tunnel, const ModeMtu& mtu, const LocalNode& self, const Sides& sides,
                ModeState& out) {
  Link device;
  device.name = tunnel.dev;
  device.type = LinkType::tun;
  device.mtu = std::max(sides.v4 ? mtu.v4 : 0, sides.v6 ? mtu.v6 : 0);
  out.add(device);
  for (const Family family : kFamilies) {
    if (!sides.has(family)) continue;
    Address address;
    address.dev = tunnel.dev;
    address.prefix = Prefix::host(subnet_of(self.lease, family).masked().addr());
    out.add(address);
  }
  if (!sides.v6 || mtu.v6 == device.mtu) return;
  // IPv6 has less room in the same device: its larger outer header.
  Sysctl sysctl;
  sysctl.path = fmt::format("net/ipv6/conf/{}/mtu", tunnel.dev.view());
  sysctl.value = fmt::format("{}", mtu.v6);
  sysctl.dev = tunnel.dev;
  sysctl.optional = true;
  out.add(std::move(sysctl));
}

void add_filters(const TunTunnel& tunnel, const LocalNode& self, const Sides& sides, ModeState& out) {
  Filter filter;
  filter.tunnel = tunnel.dev;
  filter.wire = tunnel.wire;
  filter.port = tunnel.port;
  filter.dev = tunnel.dev;
  filter.end = TunnelEnd::encap;
  filter.local = local_of(self, Family::v4, sides);
  filter.local6 = local_of(self, Family::v6, sides);
  out.add(filter);
  filter.end = TunnelEnd::decap;
  std::vector<DevName> underlays;
  for (const Family family : kFamilies)
    if (sides.has(family)) underlays.push_back(uplink_of(self, family).dev);
  underlays.erase(std::unique(underlays.begin(), underlays.end()), underlays.end());
  for (const DevName& dev : underlays) {
    filter.dev = dev;
    filter.local = sides.v4 && self.uplink.dev == dev ? self.uplink.address.addr() : IpAddr();
    filter.local6 = sides.v6 && self.uplink6.dev == dev ? self.uplink6.address.addr() : IpAddr();
    out.add(filter);
  }
}

// What BGP says that nodes have besides their leases' subnets: single pods, services.
void add_learned_members(const ClusterView& view, Family family,
                         std::vector<std::pair<TunnelPeer, uint32_t>>& members) {
  if (!view.learned || members.empty()) return;
  std::map<IpAddr, size_t> nodes;
  std::set<Prefix> known;
  for (size_t i = 0; i < members.size(); ++i) {
    nodes.emplace(members[i].first.outer, i);
    known.insert(members[i].first.inner);
  }
  for (const LearnedRoute& route : *view.learned) {
    if (route.dst.family() != family || route.dst.length() == 0) continue;
    const auto node = nodes.find(route.next_hop);
    if (node == nodes.end() || !known.insert(route.dst).second) continue;
    auto member = members[node->second];
    member.first.inner = route.dst;
    members.push_back(std::move(member));
  }
}

void add_members(const TunTunnel& tunnel, const ClusterView& view, const NetworkConfig& config, const Sides& sides,
                 ModeState& out) {
  TunnelPump pump;
  pump.dev = tunnel.dev;
  pump.wire = tunnel.wire;
  pump.port = tunnel.port;
  pump.local = local_of(view.self, Family::v4, sides);
  pump.local6 = local_of(view.self, Family::v6, sides);
  pump.fast_path = tunnel.path == TunPath::bpf;
  for (const Family family : kFamilies) {
    if (!sides.has(family)) continue;
    const uint32_t mtu = underlay_mtu(config, view.self, family);
    if (pump.underlay_mtu == 0 || mtu < pump.underlay_mtu) pump.underlay_mtu = mtu;
    auto members = tunnel_members(view, tunnel.dev, family, tunnel.port);
    if (carrier_of(view) == tunnel.mode) add_learned_members(view, family, members);
    for (const auto& [member, peer] : members) {
      if (pump.fast_path) out.add(member, peer);
      pump.peers.push_back(member);
    }
  }
  out.add(std::move(pump));
}

void add_route(const TunTunnel& tunnel, const Prefix& dst, uint32_t peer, uint32_t metric, ModeState& out) {
  Route route;
  route.dst = dst;
  route.dev = tunnel.dev;
  route.metric = metric;
  out.add(route, peer);
}

}  // namespace

std::string no_bpf(const KernelFeatures& kernel) {
  return kernel.bpf_why.empty() ? "no bpf path on this kernel" : "no bpf path: " + kernel.bpf_why;
}

std::vector<std::pair<TunnelPeer, uint32_t>> tunnel_members(const ClusterView& view, const DevName& dev, Family family,
                                                            uint16_t port) {
  const Prefix& network = family == Family::v6 ? view.config.network6 : view.config.network;
  std::vector<std::pair<TunnelPeer, uint32_t>> members;
  members.reserve(view.leases.size());
  for (uint32_t i = 0; i < view.leases.size(); ++i) {
    const Prefix& subnet = subnet_of(view.leases[i], family);
    const IpAddr& outer = public_ip_of(view.leases[i], family);
    if (!subnet || !subnet.is_masked() || !network.contains(subnet) || !is_node_address(outer, family)) continue;
    TunnelPeer member;
    member.dev = dev;
    member.inner = subnet;
    member.outer = outer;
    member.port = port;
    // flannel's own udp, as its lease tells: it reads one packet at a time, cuts off what is more, and writes it to a device
    // that trusts no half-made checksum. Between virtual machines or veths such packets would arrive as the kernel packs them.
    member.by_user = view.leases[i].mode_implied && port != 0;
    members.emplace_back(member, i);
  }
  return members;
}

void add_tun_tunnel(const TunTunnel& tunnel, const Mode& mode, const ClusterView& view, const NetworkConfig& config,
                    PeerSpan peers, Receive receive, ModeState& out) {
  const bool direct = config.option_bool("DirectRouting", false);
  if (receive == Receive::yes && config.enable_v4 && direct) loosen_uplink(view.self, out);
  const Sides sides = sides_of(tunnel, view, config, out);
  bool needed = receive == Receive::yes;
  for (const Family family : kFamilies) {
    if (!sides.has(family)) continue;
    const Uplink& uplink = uplink_of(view.self, family);
    for (const uint32_t peer : peers) {
      const Lease& lease = view.leases[peer];
      if (!subnet_of(lease, family)) continue;
      if (direct && on_link(uplink, public_ip_of(lease, family))) {
        add_plain_route(uplink, lease, family, peer, out);
      } else {
        add_route(tunnel, subnet_of(lease, family), peer, 0, out);
        needed = true;
      }
    }
  }
  if (!sides.any() || !needed) return;
  add_device(tunnel, tunnel_mtu(mode, config, view.self), view.self, sides, out);
  if (tunnel.path == TunPath::bpf) add_filters(tunnel, view.self, sides, out);
  add_members(tunnel, view, config, sides, out);
  std::vector<OuterWire> wires;
  for (const Family family : kFamilies) {
    if (!sides.has(family)) continue;
    const uint8_t protocol = tunnel.wire == TunnelWire::udp ? kProtocolUdp
                             : family == Family::v6         ? kProtocolIpv6
                                                            : kProtocolIpip;
    wires.push_back({family, protocol, tunnel.port});
    // What nobody has reaches the device's other side, and is answered.
    if (receive == Receive::yes)
      add_route(tunnel, family == Family::v6 ? config.network6 : config.network, Origin::kNoPeer, tunnel.last_metric,
                out);
  }
  drop_from_pods(tunnel.mode, wires, config, out);
}

uint32_t underlay_mtu(const NetworkConfig& config, const LocalNode& self, Family family) {
  const uint32_t of_uplink = uplink_of(self, family).mtu;
  const auto chosen = static_cast<uint32_t>(config.option_int("MTU", 0));
  if (chosen != 0 && (of_uplink == 0 || chosen < of_uplink)) return chosen;
  return of_uplink != 0 ? of_uplink : kUsualMtu;
}

ModeMtu tunnel_mtu(const Mode& mode, const NetworkConfig& config, const LocalNode& self) {
  const auto mtu = [&](Family family) -> uint32_t {
    if (!enabled(config, family)) return 0;
    const uint32_t outer = underlay_mtu(config, self, family), more = mode.overhead(config, family);
    return outer > more ? outer - more : 0;
  };
  return {mtu(Family::v4), mtu(Family::v6)};
}

void check_tunnel_mtu(const Mode& mode, const NetworkConfig& config) {
  const int64_t mtu = config.option_int("MTU", 0);
  const auto least = [&](Family family, int64_t smallest) {
    return enabled(config, family) ? smallest + mode.overhead(config, family) : 0;
  };
  // What a link must carry: RFC 791 (3.2) and RFC 8200 (5).
  const int64_t least_all = std::max(least(Family::v4, 576), least(Family::v6, 1280));
  if (mtu != 0 && mtu < least_all)
    fail(ErrorKind::config, "{}: MTU {} is too small: give 0 for the interface's own, or at least {}", mode.name(), mtu,
         least_all);
}

}  // namespace knet
