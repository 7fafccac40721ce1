#include "tunnel/icmp.h"

#include <algorithm>

#include "tunnel/checksum.h"

namespace knet {

namespace {

constexpr uint8_t kHopLimit = 64;
constexpr uint8_t kInternetControl = 0xc0;  // precedence 6 (RFC 1812 4.3.2.5)

bool one_host(const IpAddr& ip) {
  if (ip.is_multicast() || ip.is_unspecified() || ip.is_loopback()) return false;
  // "This network", and class E with the limited broadcast (RFC 1122 3.2.1.3).
  return !ip.is_v4() || (ip.data()[0] != 0 && ip.data()[0] < 240);
}

/// The first header that is no extension header, behind an IPv6 header; what can't be followed counts as an error of
/// ICMP, which nobody answers (RFC 4443 2.4 e).
bool may_answer_v6(std::span<const uint8_t> packet) {
  uint8_t next = packet[6];
  size_t at = 40;
  for (int headers = 0; headers < 8; ++headers) {
    switch (next) {
      case 0:    // hop-by-hop options
      case 43:   // routing
      case 60:   // destination options
        if (at + 2 > packet.size()) return false;
        next = packet[at];
        at += (packet[at + 1] + 1u) * 8;
        break;
      case 44:  // fragment
        if (at + 8 > packet.size() || (get16(&packet[at + 2]) & 0xfff8) != 0) return false;
        next = packet[at];
        at += 8;
        break;
      case 51:  // authentication
        if (at + 2 > packet.size()) return false;
        next = packet[at];
        at += (packet[at + 1] + 2u) * 4;
        break;
      case kIcmp6:
        return at < packet.size() && packet[at] >= 128 && packet[at] != 137;  // no error, no redirect
      default:
        return true;
    }
  }
  return false;
}

bool may_answer_v4(const IpHeader& ip, std::span<const uint8_t> packet) {
  if (!ip.first) return false;
  if (ip.protocol != kIcmp) return true;
  if (packet.size() <= ip.size) return false;
  switch (packet[ip.size]) {
    case 3: case 4: case 5: case 11: case 12: return false;
    default: return true;
  }
}

size_t finish_v4(IcmpError error, std::span<const uint8_t> packet, const IpAddr& source, uint32_t mtu,
                 std::span<uint8_t> out) {
  const size_t quoted = std::min(packet.size(), kMostIcmp4 - 28);
  const size_t size = 28 + quoted;
  std::memset(out.data(), 0, 28);
  out[0] = 0x45;
  out[1] = kInternetControl;
  put16(&out[2], static_cast<uint32_t>(size));
  out[8] = kHopLimit;
  out[9] = kIcmp;
  std::memcpy(&out[12], source.data(), 4);
  std::memcpy(&out[16], &packet[12], 4);
  store16(&out[10], finish_checksum(add_to_checksum(0, out.data(), 20)));
  out[20] = 3;
  if (error == IcmpError::too_big) {
    out[21] = 4;
    put16(&out[26], std::min(mtu, 65535u));  // RFC 1191 4
  }
  std::memcpy(&out[28], packet.data(), quoted);
  store16(&out[22], finish_checksum(add_to_checksum(0, &out[20], size - 20)));
  return size;
}

size_t finish_v6(IcmpError error, std::span<const uint8_t> packet, const IpAddr& source, uint32_t mtu,
                 std::span<uint8_t> out) {
  const size_t quoted = std::min(packet.size(), kMostIcmp6 - 48);
  const size_t size = 48 + quoted;
  std::memset(out.data(), 0, 48);
  out[0] = 0x60;
  put16(&out[4], static_cast<uint32_t>(size - 40));
  out[6] = kIcmp6;
  out[7] = kHopLimit;
  std::memcpy(&out[8], source.data(), 16);
  std::memcpy(&out[24], &packet[8], 16);
  out[40] = error == IcmpError::too_big ? 2 : 1;
  if (error == IcmpError::too_big) put32(&out[44], mtu);
  std::memcpy(&out[48], packet.data(), quoted);
  IpHeader ip;
  ip.family = Family::v6;
  const auto length = static_cast<uint32_t>(size - 40);
  store16(&out[42], finish_checksum(add_to_checksum(pseudo_header_sum(ip, out.data(), kIcmp6, length), &out[40], length)));
  return size;
}

}  // namespace

size_t make_icmp_error(IcmpError error, std::span<const uint8_t> packet, const IpAddr& source, uint32_t mtu,
                       std::span<uint8_t> out) {
  const std::optional<IpHeader> ip = read_ip_header(packet, false);
  if (!ip || source.family() != ip->family || out.size() < kMostIcmp6) return 0;
  if (!one_host(ip->source(packet.data())) || !one_host(ip->destination(packet.data()))) return 0;
  packet = packet.first(std::min<size_t>(ip->length, packet.size()));
  if (ip->family == Family::v6)
    return may_answer_v6(packet) ? finish_v6(error, packet, source, mtu, out) : 0;
  return may_answer_v4(*ip, packet) ? finish_v4(error, packet, source, mtu, out) : 0;
}

bool IcmpLimit::allow(const IpAddr& to, Time now) {
  uint32_t hash = 2166136261;  // FNV-1a
  for (size_t i = 0; i < to.size(); ++i) hash = (hash ^ to.data()[i]) * 16777619;
  Time& due = due_[(hash ^ hash >> 16) % due_.size()];
  if (due < now) due = now;
  if (due + kEach > now + kBurst) return false;
  due += kEach;
  return true;
}

}  // namespace knet
