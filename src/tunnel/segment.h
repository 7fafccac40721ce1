// A packet as the kernel hands it over a TUN device with a virtio-net header (vnet.h) made into packets that
// can go over a wire: TCP and UDP super-packets are cut up as the kernel's own segmentation would, missing checksums are
// filled in. The payload is not copied. The header is not trusted. Pure; no allocation.
#pragma once

#include <optional>

#include "tunnel/packet.h"
#include "tunnel/vnet.h"

namespace knet {

/// One packet in two pieces, for two iovecs.
struct Segment {
  std::span<const uint8_t> head;
  std::span<const uint8_t> body;  // may be empty
  uint32_t size() const { return static_cast<uint32_t>(head.size() + body.size()); }
};

class Segmenter {
 public:
  /// Room for the headers of one segment; a packet with more (long IPv6 extension headers) is refused.
  static constexpr size_t kMostHead = 256;

  /// Nothing if packet and virtio header contradict each other or the packet is no IP packet. `packet` is written to: a
  /// packet that is not to be cut gets its checksum in place.
  static std::optional<Segmenter> of(const VnetHeader& vnet, std::span<uint8_t> packet);

  const IpHeader& ip() const { return ip_; }
  /// How many segments there will be.
  uint32_t count() const { return count_; }
  /// The next one; its headers are made in `room` (kMostHead bytes), which must live as long as the segment.
  /// False when there are no more.
  bool next(uint8_t* room, Segment& out);

 private:
  bool prepare(const VnetHeader& vnet);

  IpHeader ip_;
  std::span<uint8_t> packet_;
  bool udp_ = false;
  uint32_t l4_ = 0;        // offset of the TCP or UDP header
  uint32_t head_ = 0;      // bytes of all headers; 0: not cut
  uint32_t gso_size_ = 0;  // payload of each segment but the last
  uint32_t count_ = 1;
  uint32_t made_ = 0;
  uint64_t sum_ = 0;       // of the pseudo header without its length
};

}  // namespace knet
