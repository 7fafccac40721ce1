// A packet from a TUN device behind a virtio-net header that nobody vouches for. Input: the 10 bytes of the header, then the
// packet. Segments, if any, are packets whose lengths agree, and together carry the payload.
#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "tunnel/segment.h"

using namespace knet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  VnetHeader vnet;
  if (size < sizeof vnet) return 0;
  std::memcpy(&vnet, data, sizeof vnet);
  std::vector<uint8_t> packet(data + sizeof vnet, data + size);
  std::optional<Segmenter> cut = Segmenter::of(vnet, packet);
  if (!cut) return 0;
  const size_t length = cut->ip().length;
  std::vector<uint8_t> room(Segmenter::kMostHead);
  size_t payload = 0, headers = 0;
  uint32_t count = 0;
  for (Segment segment; cut->next(room.data(), segment); ++count) {
    std::vector<uint8_t> whole(segment.head.begin(), segment.head.end());
    whole.insert(whole.end(), segment.body.begin(), segment.body.end());
    const std::optional<IpHeader> ip = read_ip_header(whole);
    fuzz::hold(ip && ip->length == whole.size());
    fuzz::hold(count == 0 || segment.body.size() <= vnet.gso_size);
    headers = segment.head.size();
    payload += segment.body.size();
  }
  fuzz::hold(count == cut->count());
  fuzz::hold(headers + payload == length);
  return 0;
}
