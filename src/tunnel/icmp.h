// The ICMP errors by which a tunnel answers for packets that it can't carry (RFC 792, 1812 4.3, 4443), as whole IP packets.
// Pure: the time for the rate limit is given.
#pragma once

#include <array>
#include <chrono>

#include "tunnel/packet.h"

namespace knet {

enum class IcmpError : uint8_t {
  no_route,  // IPv4 destination unreachable, network; IPv6 destination unreachable, no route
  too_big,   // IPv4 fragmentation needed; IPv6 packet too big
};

/// Bytes that an error may have: what no path may refuse.
inline constexpr size_t kMostIcmp4 = 576, kMostIcmp6 = 1280;

/// Writes the error about `packet` (as much of it as is at hand) from `source`, an address of ours of its family, into
/// `out` (kMostIcmp6 bytes). `mtu`: what would have passed, for too_big. The size; 0 if there must be no answer: to an
/// ICMP error, a later fragment, from or to what is no single host.
size_t make_icmp_error(IcmpError error, std::span<const uint8_t> packet, const IpAddr& source, uint32_t mtu,
                       std::span<uint8_t> out);

/// How many errors are sent to one host: 10 at once, then 20 a second. A noisy pod doesn't silence those of others,
/// but for those few that share its slot.
class IcmpLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;
  bool allow(const IpAddr& to, Time now);

 private:
  static constexpr std::chrono::milliseconds kEach{50};
  static constexpr std::chrono::milliseconds kBurst = 10 * kEach;
  std::array<Time, 256> due_{};  // when a slot's bucket is full again
};

}  // namespace knet
