// Arithmetic on a pool cut into blocks of one length: the number of a block, counted from address zero. 128 bits wide,
// so that no IPv6 pool overflows. Pure; private to src/core.
#pragma once

#include "base/ip.h"

namespace knet {

using BlockNumber = unsigned __int128;

/// Number of the block of `length` bits that holds `ip`. 1 <= length <= ip.bits().
inline BlockNumber block_number(const IpAddr& ip, int length) {
  BlockNumber value = 0;
  for (size_t i = 0; i < ip.size(); ++i) value = value << 8 | ip.data()[i];
  return value >> (ip.bits() - length);
}

inline Prefix block_at(Family family, BlockNumber number, int length) {
  IpAddr ip = family == Family::v4 ? IpAddr::v4(0) : IpAddr::from_bytes(Family::v6, std::array<uint8_t, 16>{}.data());
  number <<= ip.bits() - length;
  for (size_t i = ip.size(); i-- > 0; number >>= 8) ip.data()[i] = static_cast<uint8_t>(number);
  return {ip, length};
}

}  // namespace knet
