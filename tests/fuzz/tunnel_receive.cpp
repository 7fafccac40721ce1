// What a tunnel's socket receives: a datagram of packets, checked and joined. Whatever comes, each packet is written to the
// device whole and once, super-packets are what the segmentation of the other direction takes, and nothing is made up.
// Input: two bytes for the size of each packet, then the datagram.
#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "tunnel/coalesce.h"
#include "tunnel/segment.h"

using namespace knet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const size_t each = 1 + (size_t{data[0]} << 8 | data[1]);
  std::vector<uint8_t> bytes(data + 2, data + size);
  size_t payload_in = 0, payload_out = 0;
  Coalescer coalescer([&](const VnetHeader& vnet, std::span<const iovec> pieces) {
    std::vector<uint8_t> packet;
    for (const iovec& piece : pieces) {
      const auto* start = static_cast<const uint8_t*>(piece.iov_base);
      packet.insert(packet.end(), start, start + piece.iov_len);
    }
    fuzz::hold(packet.size() <= kLargestPacket + 40);
    const std::optional<IpHeader> ip = read_ip_header(packet);
    fuzz::hold(ip && ip->length == packet.size());
    payload_out += packet.size();
    std::optional<Segmenter> cut = Segmenter::of(vnet, packet);
    fuzz::hold(cut.has_value());
    uint8_t room[Segmenter::kMostHead];
    uint32_t count = 0;
    for (Segment segment; cut->next(room, segment);) ++count;
    fuzz::hold(count == cut->count());
    // Headers that were left out when segments were joined.
    if (vnet.gso_type != 0 && pieces.size() > 1) payload_out += (count - 1) * size_t{vnet.hdr_len};
  });
  coalescer.set_mtu(1472, 1452);
  for (std::span<uint8_t> rest = bytes; !rest.empty();) {
    const std::span<uint8_t> packet = rest.first(std::min(each, rest.size()));
    rest = rest.subspan(packet.size());
    const std::optional<IpHeader> ip = read_ip_header(packet);
    if (!ip) continue;
    (void)header_checksum_holds(*ip, packet.data());
    if (coalescer.add(*ip, packet.first(ip->length))) payload_in += ip->length;
  }
  coalescer.flush();
  fuzz::hold(payload_in == payload_out);
  return 0;
}
