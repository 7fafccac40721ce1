// Addresses: IpAddr (IPv4 or IPv6), Prefix (address and length), Mac. Plain values, 17/18/6 bytes,
// ordered, hashable by their bytes, no allocation. IPv4 sorts before IPv6.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace knet {

enum class Family : uint8_t { none = 0, v4 = 4, v6 = 6 };

class IpAddr {
 public:
  constexpr IpAddr() = default;
  /// From a host-order 32-bit value: 0x0a000001 is 10.0.0.1.
  static constexpr IpAddr v4(uint32_t host_order) {
    IpAddr ip;
    ip.family_ = Family::v4;
    for (int i = 0; i < 4; ++i) ip.bytes_[i] = static_cast<uint8_t>(host_order >> (24 - 8 * i));
    return ip;
  }
  /// From 4 or 16 network-order bytes.
  static IpAddr from_bytes(Family family, const void* bytes);
  /// Accepts exactly what inet_pton accepts; no zone, no brackets, no prefix length.
  static std::optional<IpAddr> parse(std::string_view text);

  constexpr Family family() const { return family_; }
  constexpr bool is_v4() const { return family_ == Family::v4; }
  constexpr bool is_v6() const { return family_ == Family::v6; }
  /// False for a default-constructed address. 0.0.0.0 and :: are set.
  constexpr explicit operator bool() const { return family_ != Family::none; }
  /// 32, 128, or 0 for a default-constructed address.
  constexpr int bits() const { return static_cast<int>(size()) * 8; }
  constexpr size_t size() const { return is_v4() ? 4 : is_v6() ? 16 : 0; }
  const uint8_t* data() const { return bytes_.data(); }
  uint8_t* data() { return bytes_.data(); }

  /// Host-order 32-bit value; only for v4.
  constexpr uint32_t v4_value() const {
    return uint32_t{bytes_[0]} << 24 | uint32_t{bytes_[1]} << 16 | uint32_t{bytes_[2]} << 8 | bytes_[3];
  }
  bool is_unspecified() const;
  bool is_loopback() const;
  bool is_link_local() const;
  bool is_multicast() const;
  /// The address `count` further on, wrapping in its family's width; used to walk blocks and hosts.
  IpAddr plus(uint64_t count) const;
  /// The address `count << shift` further on; shift counts from the low end. For blocks wider than 64 bits.
  IpAddr plus_shifted(uint64_t count, int shift) const;

  /// Canonical text (RFC 5952 for IPv6); "-" if default-constructed.
  std::string str() const;
  auto operator<=>(const IpAddr&) const = default;

 private:
  Family family_ = Family::none;  // first: v4 sorts before v6
  std::array<uint8_t, 16> bytes_{};
};

class Prefix {
 public:
  constexpr Prefix() = default;
  /// Keeps the address as given; see masked(). A length outside the family's width is brought to its nearer end.
  constexpr Prefix(IpAddr addr, int length)
      : addr_(addr), length_(static_cast<uint8_t>(std::clamp(length, 0, addr.bits()))) {}
  /// "10.0.0.0/8" or "fd00::/8"; a missing or too long length is refused, and so are signs and
  /// leading zeros in it; host bits are kept.
  static std::optional<Prefix> parse(std::string_view text);
  /// /32 or /128 of one address.
  static constexpr Prefix host(IpAddr addr) { return {addr, addr.bits()}; }

  constexpr const IpAddr& addr() const { return addr_; }
  constexpr int length() const { return length_; }
  constexpr Family family() const { return addr_.family(); }
  constexpr bool is_v4() const { return addr_.is_v4(); }
  constexpr bool is_v6() const { return addr_.is_v6(); }
  constexpr explicit operator bool() const { return static_cast<bool>(addr_); }
  bool is_host() const { return addr_ && length_ == addr_.bits(); }
  /// The same prefix with host bits cleared.
  Prefix masked() const;
  bool is_masked() const { return masked() == *this; }
  bool contains(const IpAddr& ip) const;
  bool contains(const Prefix& other) const;
  bool overlaps(const Prefix& other) const { return contains(other) || other.contains(*this); }
  /// The highest address: the broadcast address of an IPv4 prefix.
  IpAddr last() const;

  /// "10.244.1.0/24"; host prefixes too are written with their length. "-" if default-constructed.
  std::string str() const;
  auto operator<=>(const Prefix&) const = default;

 private:
  IpAddr addr_;
  uint8_t length_ = 0;
};

struct Mac {
  std::array<uint8_t, 6> bytes{};
  /// Six pairs of hex digits between five ':' or five '-'.
  static std::optional<Mac> parse(std::string_view text);
  bool is_zero() const { return *this == Mac{}; }
  /// Lower case, with ':'.
  std::string str() const;
  auto operator<=>(const Mac&) const = default;
};

}  // namespace knet
