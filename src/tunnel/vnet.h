// The header that goes before each packet on a TUN device with IFF_VNET_HDR: the virtio specification's (5.1.6), in the
// machine's byte order. linux/virtio_net.h has the same, but can't be read by C++.
#pragma once

#include <cstdint>

namespace knet {

struct VnetHeader {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len;      // bytes of all headers; a hint
  uint16_t gso_size;     // payload bytes of each segment
  uint16_t csum_start;   // where summing begins
  uint16_t csum_offset;  // from there, where the sum goes
  static constexpr uint8_t kNeedsChecksum = 1;
  static constexpr uint8_t kGsoNone = 0, kGsoTcp4 = 1, kGsoTcp6 = 4, kGsoUdp = 5, kGsoEcn = 0x80;
};
static_assert(sizeof(VnetHeader) == 10);

}  // namespace knet
