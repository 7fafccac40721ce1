// Bytes of BGP messages for tests: written as hex, put together from their parts, and made up at random.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "bgp/message.h"

namespace knet::bgp::test {

using Octets = std::vector<uint8_t>;

/// Hex digits; all else between them is passed over.
inline Octets hex(std::string_view text) {
  Octets out;
  int high = -1;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) continue;
    if (high >= 0) out.push_back(static_cast<uint8_t>(high << 4 | digit));
    high = high < 0 ? digit : -1;
  }
  return out;
}

inline Octets join(std::initializer_list<Octets> parts) {
  Octets out;
  for (const Octets& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

inline Octets two(size_t value) { return {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)}; }

inline Octets message(uint8_t type, const Octets& body) {
  return join({Octets(16, 0xff), two(19 + body.size()), {type}, body});
}

inline Octets update(std::string_view withdrawn, std::string_view attributes, std::string_view nlri) {
  const Octets gone = hex(withdrawn), with = hex(attributes);
  return message(2, join({two(gone.size()), gone, two(with.size()), with, hex(nlri)}));
}

/// Every message of a run of them, decoded.
inline std::vector<Message> decode_all(Bytes bytes, const SessionTraits& traits) {
  std::vector<Message> out;
  while (!bytes.empty()) {
    const auto length = message_length(bytes);
    const size_t* told = std::get_if<size_t>(&length);
    if (told == nullptr || *told == 0 || *told > bytes.size()) {
      out.push_back(MessageError{{}, "the test's own bytes do not end with a message"});
      return out;
    }
    out.push_back(decode(bytes.first(*told), traits));
    bytes = bytes.subspan(*told);
  }
  return out;
}

/// Sets of attributes and prefixes that could be a peer's.
class Dice {
 public:
  explicit Dice(uint32_t seed) : random_(seed) {}
  uint32_t below(uint32_t count) { return static_cast<uint32_t>(random_() % count); }
  uint32_t any() { return static_cast<uint32_t>(random_()); }
  bool often() { return below(2) == 0; }
  Asn asn(bool wide) { return wide && often() ? 65536 + below(4000000000) : 1 + below(65535); }

  std::vector<AsSegment> path(bool wide, bool confederations) {
    std::vector<AsSegment> out(below(4));
    for (AsSegment& segment : out) {
      segment.type = static_cast<AsSegment::Type>(1 + below(confederations ? 4 : 2));
      segment.asns.resize(1 + below(below(8) == 0 ? 255 : 5));
      for (Asn& asn : segment.asns) asn = this->asn(wide);
    }
    return out;
  }

  Attributes attributes(const SessionTraits& traits, bool v6_next_hop) {
    Attributes out;
    out.origin = static_cast<OriginCode>(below(3));
    out.as_path = path(true, traits.four_octet_as && !traits.ebgp);
    out.next_hop = v6_next_hop ? *IpAddr::parse("fd77::1") : IpAddr::v4(0x0a000000 + below(0xffffff) + 1);
    if (v6_next_hop && often()) out.link_local = *IpAddr::parse("fe80::1234");
    if (often()) out.med = any();
    if (often() && !traits.ebgp) out.local_pref = any();
    out.atomic_aggregate = often();
    if (often()) out.aggregator = Aggregator{asn(true), any()};
    while (often()) out.communities.push_back(any());
    while (often()) out.large_communities.push_back({any(), any(), any()});
    while (often()) out.extended_communities.push_back({0, 2, static_cast<uint8_t>(any())});
    if (often() && !traits.ebgp) out.originator_id = any();
    while (often() && !traits.ebgp) out.cluster_list.push_back(any());
    if (often()) out.unknown.push_back({0xe0, 99, std::vector<uint8_t>(below(400), 7)});
    if (often()) out.unknown.push_back({0xe0, 128, {}});
    for_set(out.communities);
    for_set(out.large_communities);
    for_set(out.extended_communities);
    return out;
  }

  std::vector<Prefix> prefixes(Afi afi, size_t count) {
    std::vector<Prefix> out;
    for (size_t i = 0; i < count; ++i) {
      uint8_t bytes[16];
      for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(any());
      const IpAddr ip = IpAddr::from_bytes(afi == Afi::v4 ? Family::v4 : Family::v6, bytes);
      out.push_back(Prefix{ip, static_cast<int>(below(static_cast<uint32_t>(ip.bits()) + 1))}.masked());
    }
    return out;
  }

 private:
  template <typename T>
  static void for_set(std::vector<T>& values) {
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
  }
  std::mt19937 random_;
};

}  // namespace knet::bgp::test
