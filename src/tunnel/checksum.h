// The Internet checksum (RFC 1071), as sums that pieces are added to. Sums are over 16-bit words in memory order, so that
// what is folded is stored as it is, on any machine; every piece but the last must have an even length. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace knet {

/// `sum` and the `size` bytes at `data`. An odd last byte counts as the first of its word. Never overflows below 16 GiB.
uint64_t add_to_checksum(uint64_t sum, const uint8_t* data, size_t size);

/// A 16-bit number in host order as a word of a sum.
inline uint64_t checksum_word(uint32_t number) {
  const auto n = static_cast<uint16_t>(number);
  if constexpr (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) return __builtin_bswap16(n);
  return n;
}

/// The sum in 16 bits, not complemented.
inline uint16_t fold_checksum(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

/// The field's value for this sum (of everything, the field itself taken as 0).
inline uint16_t finish_checksum(uint64_t sum) { return static_cast<uint16_t>(~fold_checksum(sum)); }

/// Whether bytes that carry their checksum are intact.
inline bool checksum_holds(uint64_t sum) { return fold_checksum(sum) == 0xffff; }

}  // namespace knet
