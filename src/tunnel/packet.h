// The headers of one IP packet as they lie in memory: checked reading and writing at byte offsets, for packets that come
// from the network or from a pod. Nothing here reads past what it was given. Pure; no allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "base/big_endian.h"
#include "base/ip.h"

namespace knet {

/// Sixteen bits in memory order, as checksums are kept.
inline uint16_t load16(const uint8_t* at) {
  uint16_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
inline void store16(uint8_t* at, uint16_t value) { std::memcpy(at, &value, sizeof value); }

inline constexpr uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kIcmp6 = 58;
inline constexpr size_t kLargestPacket = 65535;
inline constexpr size_t kTcpFlags = 13, kTcpChecksum = 16, kUdpChecksum = 6;  // offsets in their headers

/// What an IP header says, once it has been found to agree with the bytes that are there.
struct IpHeader {
  Family family = Family::none;
  uint8_t protocol = 0;     // IPv4: protocol; IPv6: of the first header after the fixed one
  uint32_t size = 0;        // bytes of the header: 20 to 60, or 40
  uint32_t length = 0;      // bytes of the whole packet by its own word
  bool fragment = false;    // IPv4: a part of a packet, first or later
  bool first = true;        // IPv4: has the start of the payload
  bool dont_fragment = true;  // always so for IPv6

  size_t addresses() const { return family == Family::v6 ? 8 : 12; }  // offset of the source, the destination follows
  size_t address_size() const { return family == Family::v6 ? 16 : 4; }
  IpAddr source(const uint8_t* packet) const { return IpAddr::from_bytes(family, packet + addresses()); }
  IpAddr destination(const uint8_t* packet) const {
    return IpAddr::from_bytes(family, packet + addresses() + address_size());
  }
};

/// Version, header length, total or payload length against what is there (RFC 791, 8200). Bytes after the packet's end
/// are allowed, as the kernel does. Nothing if it is no IP packet. `whole` false: only its start is at hand, `length` may
/// be more.
std::optional<IpHeader> read_ip_header(std::span<const uint8_t> bytes, bool whole = true);

/// Of an IPv4 header; true for IPv6, which has none.
bool header_checksum_holds(const IpHeader& ip, const uint8_t* packet);
/// Sets the total or payload length and IPv4's checksum.
void set_length(const IpHeader& ip, uint8_t* packet, uint32_t length);

/// The sum of the pseudo header of TCP or UDP (RFC 9293 3.1, 768, 8200 8.1) for an upper-layer packet of `length` bytes.
uint64_t pseudo_header_sum(const IpHeader& ip, const uint8_t* packet, uint8_t protocol, uint32_t length);

}  // namespace knet
