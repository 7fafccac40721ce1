// The path attributes of one UPDATE: read with the answers of RFC 7606, and written. Private to src/bgp/message*.cpp.
#pragma once

#include <string>

#include "bgp/message_parts.h"

namespace knet::bgp {

enum class AttributeType : uint8_t {
  origin = 1,
  as_path = 2,
  next_hop = 3,
  med = 4,
  local_pref = 5,
  atomic_aggregate = 6,
  aggregator = 7,
  communities = 8,
  originator_id = 9,
  cluster_list = 10,
  mp_reach = 14,
  mp_unreach = 15,
  extended_communities = 16,
  as4_path = 17,
  as4_aggregator = 18,
  large_communities = 32,
};
namespace attribute_flag {
inline constexpr uint8_t kOptional = 0x80, kTransitive = 0x40, kPartial = 0x20, kExtendedLength = 0x10;
}

/// "AS_PATH", or "attribute 99".
std::string attribute_name(uint8_t type);

struct MpReach {
  IpAddr next_hop, link_local;
  std::vector<Prefix> prefixes;
};
struct MpUnreach {
  Afi afi = Afi::v4;
  std::vector<Prefix> prefixes;
};

/// What the path attributes of an UPDATE say. Of the errors the first of each class is kept; a reset outweighs all.
struct ReadAttributes {
  Attributes attributes;
  bool has_origin = false, has_as_path = false, has_next_hop = false;
  std::optional<MpReach> reach;
  std::optional<MpUnreach> unreach;
  bool foreign_reach = false;  // MP_REACH of a family that is not spoken
  size_t count = 0;            // attributes, also those that were left out
  std::optional<MessageError> reset;
  std::optional<MessageError> withdraw;
  std::optional<MessageError> next_hop_wrong;  // counts only where NEXT_HOP does (RFC 4760 section 3)
  std::vector<std::string> discarded;
};
ReadAttributes read_attributes(Bytes field, const SessionTraits& traits);

inline bool is_confederation(const AsSegment& segment) {
  return segment.type == AsSegment::Type::confed_sequence || segment.type == AsSegment::Type::confed_set;
}

/// The AS_PATH of a two-octet peer made whole with its AS4_PATH (RFC 6793 4.2.3).
std::vector<AsSegment> merge_as4_path(const std::vector<AsSegment>& path, const std::vector<AsSegment>& as4_path);

/// All but MP_REACH in the order of their types; NEXT_HOP only if asked. The writer overflows if there is no room.
void write_attributes(const Attributes& attributes, const SessionTraits& traits, bool next_hop, Writer& out);

}  // namespace knet::bgp
