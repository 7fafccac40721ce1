// Rules of table knet that keep tunnels to the cluster's nodes. Pods must not speak a tunnel's wire format: behind
// masquerade, or with a forged source, one would look like its node. Pure.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "core/mode.h"

namespace knet {

inline constexpr uint8_t kProtocolIpip = 4;   // RFC 2003
inline constexpr uint8_t kProtocolUdp = 17;   // RFC 768
inline constexpr uint8_t kProtocolIpv6 = 41;  // RFC 2473

/// What a tunnel's outer packets are in one family.
struct OuterWire {
  Family family;
  uint8_t protocol;
  uint16_t port = 0;  // UDP
};

/// Drops what pods send in this form to anything but pods: on its way through this node, and to the node itself. By
/// the source, and by the link, which can't be forged.
void drop_from_pods(std::string_view mode, std::span<const OuterWire> wires, const NetworkConfig& config,
                    ModeState& out);

/// Drops what comes in this form to `local` from any address but the members' (all of one family).
void drop_from_strangers(std::string_view mode, const OuterWire& wire, const IpAddr& local,
                         const std::vector<IpAddr>& members, ModeState& out);

/// The leases' addresses in one family, each once, sorted. All leases': a node sends as its peer announces, whatever
/// it announces itself.
std::vector<IpAddr> member_addresses(const ClusterView& view, Family family);

}  // namespace knet
