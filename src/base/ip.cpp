#include "base/ip.h"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <charconv>
#include <cstring>

namespace knet {
namespace {

uint64_t load_be64(const uint8_t* bytes) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | bytes[i];
  return value;
}

void store_be64(uint8_t* bytes, uint64_t value) {
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(value >> (56 - 8 * i));
}

}  // namespace

IpAddr IpAddr::from_bytes(Family family, const void* bytes) {
  IpAddr ip;
  ip.family_ = family;
  std::memcpy(ip.bytes_.data(), bytes, ip.size());
  return ip;
}

std::optional<IpAddr> IpAddr::parse(std::string_view text) {
  // A NUL inside would hide what comes after it from inet_pton.
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != std::string_view::npos) return std::nullopt;
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  std::memcpy(buffer.data(), text.data(), text.size());
  const bool v6 = text.find(':') != std::string_view::npos;
  std::array<uint8_t, 16> bytes{};
  if (inet_pton(v6 ? AF_INET6 : AF_INET, buffer.data(), bytes.data()) != 1) return std::nullopt;
  return from_bytes(v6 ? Family::v6 : Family::v4, bytes.data());
}

bool IpAddr::is_unspecified() const { return family_ != Family::none && bytes_ == std::array<uint8_t, 16>{}; }

bool IpAddr::is_loopback() const {
  if (is_v4()) return bytes_[0] == 127;
  return is_v6() && load_be64(&bytes_[0]) == 0 && load_be64(&bytes_[8]) == 1;
}

bool IpAddr::is_link_local() const {
  if (is_v4()) return bytes_[0] == 169 && bytes_[1] == 254;
  return is_v6() && bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool IpAddr::is_multicast() const {
  if (is_v4()) return (bytes_[0] & 0xf0) == 0xe0;
  return is_v6() && bytes_[0] == 0xff;
}

IpAddr IpAddr::plus(uint64_t count) const { return plus_shifted(count, 0); }

IpAddr IpAddr::plus_shifted(uint64_t count, int shift) const {
  if (is_v4()) return v4(v4_value() + (shift < 32 ? static_cast<uint32_t>(count << shift) : 0));
  IpAddr sum = *this;
  const uint64_t low = load_be64(&bytes_[8]);
  const uint64_t add_low = shift < 64 ? count << shift : 0;
  const uint64_t add_high = shift <= 0    ? 0
                            : shift < 64  ? count >> (64 - shift)
                            : shift < 128 ? count << (shift - 64)
                                          : 0;
  const uint64_t carry = low + add_low < low ? 1 : 0;
  if (is_v6()) {
    store_be64(&sum.bytes_[0], load_be64(&bytes_[0]) + add_high + carry);
    store_be64(&sum.bytes_[8], low + add_low);
  }
  return sum;
}

std::string IpAddr::str() const {
  if (family_ == Family::none) return "-";
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes_.data(), buffer.data(), buffer.size());
  return buffer.data();
}

std::optional<Prefix> Prefix::parse(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto addr = IpAddr::parse(text.substr(0, slash));
  if (!addr) return std::nullopt;
  const std::string_view digits = text.substr(slash + 1);
  // from_chars takes "-0" and "024"; two texts of one subnet would be two keys in the store.
  if (digits.size() > 1 && (digits.front() == '0' || digits.front() == '-')) return std::nullopt;
  int length = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  if (length < 0 || length > addr->bits()) return std::nullopt;
  return Prefix{*addr, length};
}

Prefix Prefix::masked() const {
  Prefix result = *this;
  const int width = static_cast<int>(addr_.size());
  for (int i = 0; i < width; ++i) {
    const int kept = length_ - i * 8;
    if (kept >= 8) continue;
    result.addr_.data()[i] &= kept <= 0 ? 0 : static_cast<uint8_t>(0xff << (8 - kept));
  }
  return result;
}

bool Prefix::contains(const IpAddr& ip) const {
  if (ip.family() != family() || family() == Family::none) return false;
  const int whole = length_ / 8;
  if (std::memcmp(ip.data(), addr_.data(), whole) != 0) return false;
  const int rest = length_ % 8;
  if (rest == 0) return true;
  return ((ip.data()[whole] ^ addr_.data()[whole]) & static_cast<uint8_t>(0xff << (8 - rest))) == 0;
}

bool Prefix::contains(const Prefix& other) const { return other.length_ >= length_ && contains(other.addr_); }

IpAddr Prefix::last() const {
  IpAddr ip = masked().addr_;
  const int width = static_cast<int>(ip.size());
  for (int i = 0; i < width; ++i) {
    const int kept = length_ - i * 8;
    if (kept >= 8) continue;
    ip.data()[i] |= kept <= 0 ? 0xff : static_cast<uint8_t>(0xff >> kept);
  }
  return ip;
}

std::string Prefix::str() const { return addr_ ? fmt::format("{}/{}", addr_.str(), length_) : "-"; }

std::optional<Mac> Mac::parse(std::string_view text) {
  if (text.size() != 17 || (text[2] != ':' && text[2] != '-')) return std::nullopt;
  Mac mac;
  for (int i = 0; i < 6; ++i) {
    const char* at = text.data() + 3 * i;
    if (i > 0 && at[-1] != text[2]) return std::nullopt;
    const auto [end, error] = std::from_chars(at, at + 2, mac.bytes[i], 16);
    if (error != std::errc{} || end != at + 2) return std::nullopt;
  }
  return mac;
}

std::string Mac::str() const {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3],
                     bytes[4], bytes[5]);
}

}  // namespace knet
