#include "tunnel/checksum.h"

#include <catch2/catch.hpp>
#include <vector>

#include "tunnel/packet.h"

using namespace knet;

namespace {

// RFC 1071 as it is written, byte by byte.
uint16_t slow_sum(const std::vector<uint8_t>& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    sum += i % 2 == 0 ? bytes[i] << 8 : bytes[i];
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(sum);
}

uint16_t in_host_order(uint16_t stored) {
  uint8_t bytes[2];
  store16(bytes, stored);
  return get16(bytes);
}

}  // namespace

TEST_CASE("the sum of RFC 1071's example") {
  const std::vector<uint8_t> bytes = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  CHECK(in_host_order(fold_checksum(add_to_checksum(0, bytes.data(), bytes.size()))) == 0xddf2);
}

TEST_CASE("sums of all lengths, in one piece and in two") {
  std::vector<uint8_t> bytes;
  uint32_t state = 1;
  for (size_t size = 0; size < 300; ++size) {
    const uint16_t want = slow_sum(bytes);
    CHECK(in_host_order(fold_checksum(add_to_checksum(0, bytes.data(), size))) % 0xffff == want % 0xffff);
    for (size_t cut = 0; cut <= size; cut += 2) {
      const uint64_t first = add_to_checksum(0, bytes.data(), cut);
      const uint64_t both = add_to_checksum(first, bytes.data() + cut, size - cut);
      if (in_host_order(fold_checksum(both)) % 0xffff != want % 0xffff) FAIL("size " << size << " cut at " << cut);
    }
    state = state * 1664525 + 1013904223;
    bytes.push_back(size % 3 == 0 ? 0xff : static_cast<uint8_t>(state >> 24));
  }
}

TEST_CASE("nothing is lost in the largest sums") {
  const std::vector<uint8_t> ones(65534, 0xff);
  uint64_t sum = 0xffffffffffffffff;
  for (int i = 0; i < 1000; ++i) sum = add_to_checksum(sum, ones.data(), ones.size());
  CHECK(fold_checksum(sum) == 0xffff);
  sum = 0;
  for (int i = 0; i < 65535; ++i) sum = add_to_checksum(sum, reinterpret_cast<const uint8_t*>("\x80\x00\x80\x01"), 4);
  CHECK(in_host_order(fold_checksum(sum)) % 0xffff == 0);  // 65535 times anything
}
