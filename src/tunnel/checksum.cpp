#include "tunnel/checksum.h"

namespace knet {

namespace {

uint64_t load64(const uint8_t* data) {
  uint64_t word;
  std::memcpy(&word, data, sizeof word);
  return word;
}

}  // namespace

uint64_t add_to_checksum(uint64_t sum, const uint8_t* data, size_t size) {
  // Halves of 64-bit words in counters of 64 bits: no carry to care for, and nothing waits for anything.
  uint64_t low = 0, high = 0, low2 = 0, high2 = 0;
  for (; size >= 32; size -= 32, data += 32) {
    const uint64_t a = load64(data), b = load64(data + 8), c = load64(data + 16), d = load64(data + 24);
    low += (a & 0xffffffff) + (b & 0xffffffff);
    high += (a >> 32) + (b >> 32);
    low2 += (c & 0xffffffff) + (d & 0xffffffff);
    high2 += (c >> 32) + (d >> 32);
  }
  for (; size >= 8; size -= 8, data += 8) {
    const uint64_t a = load64(data);
    low += a & 0xffffffff;
    high += a >> 32;
  }
  if (size != 0) {
    uint64_t rest = 0;
    std::memcpy(&rest, data, size);
    low += rest & 0xffffffff;
    high += rest >> 32;
  }
  // Each at most 2^48 here for any packet; folded so that a caller may add for ever.
  return (sum & 0xffffffff) + (sum >> 32) + fold_checksum(low) + fold_checksum(high) + fold_checksum(low2) +
         fold_checksum(high2);
}

}  // namespace knet
