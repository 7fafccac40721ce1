// Path attributes onto the wire, also as two-octet speakers read them (RFC 6793 4.2.2).
#include <algorithm>

#include "bgp/message_attributes.h"

namespace knet::bgp {
namespace {

using Type = AttributeType;
using namespace attribute_flag;
constexpr uint8_t kWellKnown = kTransitive, kNonTransitive = kOptional, kPassedOn = kOptional | kTransitive;
constexpr size_t kLongestSegment = 255;

void head(Writer& out, uint8_t flags, uint8_t type, size_t length) {
  out.u8(length > 255 ? flags | kExtendedLength : flags);
  out.u8(type);
  if (length > 255) {
    out.u16(length);
  } else {
    out.u8(static_cast<uint8_t>(length));
  }
}

void head(Writer& out, uint8_t flags, Type type, size_t length) {
  head(out, flags, static_cast<uint8_t>(type), length);
}

void number(Writer& out, uint8_t flags, Type type, uint32_t value) {
  head(out, flags, type, 4);
  out.u32(value);
}

/// A path of more than the message holds overflows the writer; nothing is cut.
void path(Writer& out, Type type, const std::vector<AsSegment>& segments, size_t asn_size) {
  const auto told = [&](const AsSegment& segment) { return type == Type::as_path || !is_confederation(segment); };
  size_t length = 0;
  for (const AsSegment& segment : segments) {
    if (!told(segment)) continue;
    const size_t pieces = (segment.asns.size() + kLongestSegment - 1) / kLongestSegment;
    length += pieces * 2 + segment.asns.size() * asn_size;
  }
  head(out, type == Type::as_path ? kWellKnown : kPassedOn, type, length);
  for (const AsSegment& segment : segments) {
    if (!told(segment)) continue;
    for (size_t from = 0; from < segment.asns.size(); from += kLongestSegment) {
      const size_t count = std::min(kLongestSegment, segment.asns.size() - from);
      out.u8(static_cast<uint8_t>(segment.type));
      out.u8(static_cast<uint8_t>(count));
      for (size_t i = from; i < from + count; ++i) {
        const Asn asn = segment.asns[i];
        if (asn_size == 4) {
          out.u32(asn);
        } else {
          out.u16(asn > 0xffff ? kAsTrans : asn);
        }
      }
    }
  }
}

bool needs_as4_path(const std::vector<AsSegment>& segments) {
  return std::any_of(segments.begin(), segments.end(), [](const AsSegment& segment) {
    return !is_confederation(segment) &&
           std::any_of(segment.asns.begin(), segment.asns.end(), [](Asn asn) { return asn > 0xffff; });
  });
}

void aggregator(Writer& out, const Aggregator& value, bool four_octet_as) {
  head(out, kPassedOn, Type::aggregator, four_octet_as ? 8 : 6);
  if (four_octet_as) {
    out.u32(value.asn);
  } else {
    out.u16(value.asn > 0xffff ? kAsTrans : value.asn);
  }
  out.u32(value.id);
}

void communities(Writer& out, const Attributes& attributes) {
  if (attributes.communities.empty()) return;
  head(out, kPassedOn, Type::communities, attributes.communities.size() * 4);
  for (const uint32_t community : attributes.communities) out.u32(community);
}

void reflection(Writer& out, const Attributes& attributes) {
  if (attributes.originator_id) number(out, kNonTransitive, Type::originator_id, *attributes.originator_id);
  if (attributes.cluster_list.empty()) return;
  head(out, kNonTransitive, Type::cluster_list, attributes.cluster_list.size() * 4);
  for (const uint32_t cluster : attributes.cluster_list) out.u32(cluster);
}

void as4(Writer& out, const Attributes& attributes) {
  if (needs_as4_path(attributes.as_path)) path(out, Type::as4_path, attributes.as_path, 4);
  if (!attributes.aggregator || attributes.aggregator->asn <= 0xffff) return;
  head(out, kPassedOn, Type::as4_aggregator, 8);
  out.u32(attributes.aggregator->asn);
  out.u32(attributes.aggregator->id);
}

}  // namespace

void write_attributes(const Attributes& attributes, const SessionTraits& traits, bool next_hop, Writer& out) {
  head(out, kWellKnown, Type::origin, 1);
  out.u8(static_cast<uint8_t>(attributes.origin));
  path(out, Type::as_path, attributes.as_path, traits.four_octet_as ? 4 : 2);
  if (next_hop) number(out, kWellKnown, Type::next_hop, attributes.next_hop.v4_value());
  if (attributes.med) number(out, kNonTransitive, Type::med, *attributes.med);
  if (attributes.local_pref && !traits.ebgp) number(out, kWellKnown, Type::local_pref, *attributes.local_pref);
  if (attributes.atomic_aggregate) head(out, kWellKnown, Type::atomic_aggregate, 0);
  if (attributes.aggregator) aggregator(out, *attributes.aggregator, traits.four_octet_as);
  communities(out, attributes);
  if (!traits.ebgp) reflection(out, attributes);
  if (!attributes.extended_communities.empty()) {
    head(out, kPassedOn, Type::extended_communities, attributes.extended_communities.size() * 8);
    for (const auto& community : attributes.extended_communities) out.bytes(community.data(), community.size());
  }
  if (!traits.four_octet_as) as4(out, attributes);
  if (!attributes.large_communities.empty()) {
    head(out, kPassedOn, Type::large_communities, attributes.large_communities.size() * 12);
    for (const LargeCommunity& community : attributes.large_communities) {
      out.u32(community.global);
      out.u32(community.local1);
      out.u32(community.local2);
    }
  }
  for (const UnknownAttribute& unknown : attributes.unknown) {
    head(out, static_cast<uint8_t>((unknown.flags & kPartial) | kPassedOn), unknown.type, unknown.value.size());
    out.bytes(unknown.value.data(), unknown.value.size());
  }
}

}  // namespace knet::bgp
