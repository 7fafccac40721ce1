#include "tunnel/packet.h"

#include "tunnel/checksum.h"

namespace knet {

std::optional<IpHeader> read_ip_header(std::span<const uint8_t> bytes, bool whole) {
  if (bytes.empty()) return std::nullopt;
  IpHeader ip;
  switch (bytes[0] >> 4) {
    case 4: {
      if (bytes.size() < 20) return std::nullopt;
      ip.family = Family::v4;
      ip.size = (bytes[0] & 15) * 4u;
      ip.length = get16(&bytes[2]);
      if (ip.size < 20 || ip.size > bytes.size() || ip.length < ip.size) return std::nullopt;
      const uint16_t fragment = get16(&bytes[6]);
      ip.protocol = bytes[9];
      ip.fragment = (fragment & 0x3fff) != 0;
      ip.first = (fragment & 0x1fff) == 0;
      ip.dont_fragment = (fragment & 0x4000) != 0;
      break;
    }
    case 6:
      if (bytes.size() < 40) return std::nullopt;
      ip.family = Family::v6;
      ip.size = 40;
      ip.length = 40u + get16(&bytes[4]);
      ip.protocol = bytes[6];
      break;
    default:
      return std::nullopt;
  }
  if (whole && ip.length > bytes.size()) return std::nullopt;
  return ip;
}

bool header_checksum_holds(const IpHeader& ip, const uint8_t* packet) {
  return ip.family == Family::v6 || checksum_holds(add_to_checksum(0, packet, ip.size));
}

void set_length(const IpHeader& ip, uint8_t* packet, uint32_t length) {
  if (ip.family == Family::v6) {
    put16(packet + 4, length - 40);
    return;
  }
  put16(packet + 2, length);
  store16(packet + 10, 0);
  store16(packet + 10, finish_checksum(add_to_checksum(0, packet, ip.size)));
}

uint64_t pseudo_header_sum(const IpHeader& ip, const uint8_t* packet, uint8_t protocol, uint32_t length) {
  const uint64_t sum = add_to_checksum(0, packet + ip.addresses(), 2 * ip.address_size());
  return sum + checksum_word(protocol) + checksum_word(length >> 16) + checksum_word(length & 0xffff);
}

}  // namespace knet
