// The part that udp and ipip share: one TUN device for both families, whose packets go to the peers by the BPF filters
// of the kernel's path or by userspace. Pure.
#pragma once

#include <string_view>

#include "core/mode.h"
#include "core/plan.h"

namespace knet {

/// The ways that a TUN device's packets can take.
enum class TunPath : uint8_t { bpf, user };

/// "no bpf path: BPF_PROG_LOAD: Operation not permitted".
std::string no_bpf(const KernelFeatures& kernel);

struct TunTunnel {
  std::string_view mode;
  DevName dev;
  TunnelWire wire = TunnelWire::udp;
  uint16_t port = 0;        // UDP
  TunPath path = TunPath::user;
  uint32_t last_metric = 0;  // of the route for the whole network, behind everything else; each mode has its own
};

/// Device, addresses, filters, members, pump, and the peers' routes; with DirectRouting, plain ones to those on link.
void add_tun_tunnel(const TunTunnel& tunnel, const Mode& mode, const ClusterView& view, const NetworkConfig& config,
                    PeerSpan peers, Receive receive, ModeState& out);

/// The underlay's MTU as the option MTU lowers it, and the tunnel's over it (0 where the family is off).
uint32_t underlay_mtu(const NetworkConfig& config, const LocalNode& self, Family family);
ModeMtu tunnel_mtu(const Mode& mode, const NetworkConfig& config, const LocalNode& self);
/// That the option MTU leaves what each family needs. Throws Error{config}.
void check_tunnel_mtu(const Mode& mode, const NetworkConfig& config);

/// The peers that tunnels take packets from: every lease that could be one's. A node sends to us as we announce, though
/// itself it may still announce another mode.
std::vector<std::pair<TunnelPeer, uint32_t>> tunnel_members(const ClusterView& view, const DevName& dev, Family family,
                                                            uint16_t port);

}  // namespace knet
