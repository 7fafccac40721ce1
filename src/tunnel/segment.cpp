#include "tunnel/segment.h"

#include <algorithm>

#include "tunnel/checksum.h"

namespace knet {

namespace {

constexpr uint8_t kFin = 0x01, kPsh = 0x08, kCwr = 0x80;

/// Fills in the checksum that the kernel left to us: the field holds the pseudo header's sum (CHECKSUM_PARTIAL).
bool complete_checksum(const VnetHeader& vnet, std::span<uint8_t> packet, uint32_t headers) {
  const size_t field = size_t{vnet.csum_start} + vnet.csum_offset;
  if (vnet.csum_start < headers || field + 2 > packet.size()) return false;
  uint16_t sum = finish_checksum(add_to_checksum(0, &packet[vnet.csum_start], packet.size() - vnet.csum_start));
  // 0 would mean "no checksum" in UDP (RFC 768); for TCP the two are the same number.
  if (sum == 0 && vnet.csum_offset == kUdpChecksum) sum = 0xffff;
  store16(&packet[field], sum);
  return true;
}

}  // namespace

std::optional<Segmenter> Segmenter::of(const VnetHeader& vnet, std::span<uint8_t> packet) {
  const std::optional<IpHeader> ip = read_ip_header(packet);
  if (!ip) return std::nullopt;
  Segmenter cut;
  cut.ip_ = *ip;
  cut.packet_ = packet.first(ip->length);
  const bool needs_sum = (vnet.flags & VnetHeader::kNeedsChecksum) != 0;
  if ((vnet.gso_type & ~VnetHeader::kGsoEcn) == VnetHeader::kGsoNone) {
    if (needs_sum && !complete_checksum(vnet, cut.packet_, ip->size)) return std::nullopt;
    return cut;
  }
  if (!cut.prepare(vnet)) return std::nullopt;
  return cut;
}

bool Segmenter::prepare(const VnetHeader& vnet) {
  const uint8_t type = vnet.gso_type & ~VnetHeader::kGsoEcn;
  const bool v6 = ip_.family == Family::v6;
  if (type == VnetHeader::kGsoUdp)
    udp_ = true;
  else if (type != (v6 ? VnetHeader::kGsoTcp6 : VnetHeader::kGsoTcp4))
    return false;
  const uint8_t protocol = udp_ ? kUdp : kTcp;
  const size_t offset = udp_ ? kUdpChecksum : kTcpChecksum;
  const bool needs_sum = (vnet.flags & VnetHeader::kNeedsChecksum) != 0;
  // IPv6 extension headers, if any, lie between the fixed header and where the kernel says that the checksum starts.
  l4_ = v6 && needs_sum ? vnet.csum_start : ip_.size;
  if (ip_.fragment || vnet.gso_size == 0 || l4_ < ip_.size || l4_ + (udp_ ? 8u : 20u) > packet_.size()) return false;
  if (l4_ == ip_.size && ip_.protocol != protocol) return false;
  if (needs_sum && (vnet.csum_start != l4_ || vnet.csum_offset != offset)) return false;

  const uint8_t* l4 = &packet_[l4_];
  const uint32_t header = udp_ ? 8u : (l4[12] >> 4) * 4u;
  head_ = l4_ + header;
  if (header < (udp_ ? 8u : 20u) || head_ > kMostHead || head_ > packet_.size()) return false;
  gso_size_ = vnet.gso_size;
  const auto payload = static_cast<uint32_t>(packet_.size()) - head_;
  count_ = std::max(1u, (payload + gso_size_ - 1) / gso_size_);
  // The kernel's sum knows the final destination behind a routing header; take the total length out of it
  // (~x is -x in one's complement).
  const auto length = static_cast<uint32_t>(packet_.size()) - l4_;
  sum_ = needs_sum ? uint64_t{load16(l4 + offset)} + static_cast<uint16_t>(~checksum_word(length))
                   : pseudo_header_sum(ip_, packet_.data(), protocol, 0);
  return true;
}

bool Segmenter::next(uint8_t* room, Segment& out) {
  if (made_ == count_) return false;
  const uint32_t index = made_++;
  if (head_ == 0) {
    out = {packet_, {}};
    return true;
  }
  const bool last = made_ == count_;
  const size_t start = head_ + size_t{index} * gso_size_;
  const std::span<const uint8_t> body = packet_.subspan(start, std::min<size_t>(gso_size_, packet_.size() - start));
  std::memcpy(room, packet_.data(), head_);
  const uint32_t size = head_ + static_cast<uint32_t>(body.size());
  if (ip_.family == Family::v4) put16(room + 4, get16(room + 4) + index);
  set_length(ip_, room, size);

  uint8_t* l4 = room + l4_;
  uint8_t* field = l4 + (udp_ ? kUdpChecksum : kTcpChecksum);
  store16(field, 0);
  if (udp_) {
    put16(l4 + 4, size - l4_);
  } else {
    put32(l4 + 4, get32(l4 + 4) + index * gso_size_);
    if (index != 0) l4[kTcpFlags] &= static_cast<uint8_t>(~kCwr);
    if (!last) l4[kTcpFlags] &= static_cast<uint8_t>(~(kFin | kPsh));
  }
  uint64_t sum = add_to_checksum(sum_ + checksum_word(size - l4_), l4, head_ - l4_);
  sum = add_to_checksum(sum, body.data(), body.size());
  const uint16_t checksum = finish_checksum(sum);
  store16(field, udp_ && checksum == 0 ? 0xffff : checksum);
  out = {{room, head_}, body};
  return true;
}

}  // namespace knet
