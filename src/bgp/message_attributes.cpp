// Path attributes off the wire. The rules and their order are those of RFC 7606 sections 3 to 7.
#include "bgp/message_attributes.h"

#include <fmt/core.h>

#include <algorithm>
#include <bitset>

namespace knet::bgp {
namespace {

using Type = AttributeType;
constexpr size_t kMostDiscards = 8;  // told in the log; the rest of a hostile message's are left out silently

/// The optional and transitive bits that a known attribute must have; nothing for an unknown one.
std::optional<uint8_t> flags_of(Type type) {
  using namespace attribute_flag;
  switch (type) {
    case Type::origin:
    case Type::as_path:
    case Type::next_hop:
    case Type::local_pref:
    case Type::atomic_aggregate: return kTransitive;
    case Type::med:
    case Type::originator_id:
    case Type::cluster_list:
    case Type::mp_reach:
    case Type::mp_unreach: return kOptional;
    case Type::aggregator:
    case Type::communities:
    case Type::extended_communities:
    case Type::as4_path:
    case Type::as4_aggregator:
    case Type::large_communities: return kOptional | kTransitive;
  }
  return std::nullopt;
}

template <typename T>
void sort_once_each(std::vector<T>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

bool usable_next_hop(const IpAddr& ip) {
  if (ip.is_unspecified() || ip.is_loopback() || ip.is_multicast()) return false;
  return !ip.is_v4() || (ip.v4_value() >> 24 != 0 && ip.v4_value() != 0xffffffff);
}

/// What is wrong with the path, or nothing (RFC 7606 7.2, RFC 7607).
const char* read_path(Reader value, size_t asn_size, std::vector<AsSegment>& path) {
  while (value.left() > 0) {
    if (!value.has(2)) return "a segment is cut off";
    const uint8_t type = value.u8(), count = value.u8();
    if (type < 1 || type > 4) return "a segment of unknown type";
    if (count == 0) return "an empty segment";
    if (!value.has(count * asn_size)) return "a segment ends beyond the attribute";
    AsSegment segment{static_cast<AsSegment::Type>(type), {}};
    segment.asns.reserve(count);
    for (int i = 0; i < count; ++i) {
      segment.asns.push_back(asn_size == 4 ? value.u32() : value.u16());
      if (segment.asns.back() == 0) return "it names AS 0";
    }
    path.push_back(std::move(segment));
  }
  return nullptr;
}

/// Reads the attributes one by one into the result.
class AttributeReader {
 public:
  explicit AttributeReader(const SessionTraits& traits) : traits_(traits) {}
  ReadAttributes run(Reader field);

 private:
  bool next(Reader& field);
  void known(Type type);
  void unknown(uint8_t type, uint8_t flags);
  void read_origin();
  void read_as_path();
  void read_next_hop();
  void read_number(std::optional<uint32_t>& into, Type type);
  void read_internal(Type type);
  void read_aggregator(size_t asn_size, std::optional<Aggregator>& into);
  void read_communities();
  void read_large_communities();
  void read_extended_communities();
  void read_as4(Type type);
  void read_mp_reach();
  void read_mp_unreach();
  void finish();
  bool read_mp_next_hop(Afi afi, Bytes bytes, MpReach& reach);

  void withdraw(uint8_t subcode, std::string_view why) {
    if (!out_.withdraw) out_.withdraw = wrong(subcode, why);
  }
  void reset(uint8_t subcode, std::string_view why) {
    if (!out_.reset) out_.reset = wrong(subcode, why);
  }
  void discard(std::string_view why) {
    if (out_.discarded.size() < kMostDiscards)
      out_.discarded.push_back(fmt::format("{}: {}", attribute_name(type_), why));
  }
  void withdraw_for_length() { withdraw(update_error::kLength, fmt::format("length {}", value_.size())); }
  /// The attribute as it came is the notification's data (RFC 4271 6.3).
  MessageError wrong(uint8_t subcode, std::string_view why) const {
    return error(ErrorCode::update, subcode, fmt::format("UPDATE: {}: {}", attribute_name(type_), why), whole_);
  }

  const SessionTraits& traits_;
  ReadAttributes out_;
  std::bitset<256> seen_;
  std::vector<AsSegment> as4_path_;
  std::optional<Aggregator> as4_aggregator_;
  // the one at hand
  uint8_t type_ = 0;
  Bytes whole_, value_;
};

ReadAttributes AttributeReader::run(Reader field) {
  while (field.left() > 0 && !out_.reset) {
    if (!next(field)) break;
  }
  if (!out_.reset) finish();
  return std::move(out_);
}

/// False if the list ends here, cut off (RFC 7606 section 4).
bool AttributeReader::next(Reader& field) {
  ++out_.count;
  const Bytes from = field.rest();
  const uint8_t flags = from[0];
  const size_t head = flags & attribute_flag::kExtendedLength ? 4 : 3;
  const size_t length = !field.has(head) ? 0 : head == 4 ? get16(&from[2]) : from[2];
  type_ = from.size() > 1 ? from[1] : 0;
  whole_ = from.first(std::min(from.size(), head + length));
  if (!field.has(head) || !field.has(head + length)) {
    withdraw(update_error::kAttributeList, "it ends beyond the path attributes");
    return false;
  }
  field.take(head);
  value_ = field.take(length);
  const auto type = static_cast<Type>(type_);
  if (seen_.test(type_)) {
    if (type == Type::mp_reach || type == Type::mp_unreach) {
      reset(update_error::kAttributeList, "it is there twice");
    } else {
      discard("it is there again");
    }
    return true;
  }
  seen_.set(type_);
  const auto expected = flags_of(type);
  if (!expected) {
    unknown(type_, flags);
    return true;
  }
  const bool internal = type == Type::local_pref || type == Type::originator_id || type == Type::cluster_list;
  if (internal && traits_.ebgp) {
    discard("it comes from another AS");
    return true;
  }
  const uint8_t kind = flags & (attribute_flag::kOptional | attribute_flag::kTransitive);
  if (kind != *expected && type != Type::as4_path && type != Type::as4_aggregator) {
    withdraw(update_error::kFlags, fmt::format("flags {:#04x}", flags));
    // Its prefixes are what is to be withdrawn.
    if (type != Type::mp_reach && type != Type::mp_unreach) return true;
  }
  known(type);
  return true;
}

void AttributeReader::known(Type type) {
  switch (type) {
    case Type::origin: return read_origin();
    case Type::as_path: return read_as_path();
    case Type::next_hop: return read_next_hop();
    case Type::med: return read_number(out_.attributes.med, type);
    case Type::local_pref:
    case Type::originator_id:
    case Type::cluster_list: return read_internal(type);
    case Type::atomic_aggregate:
      if (!value_.empty()) return discard(fmt::format("length {}", value_.size()));
      out_.attributes.atomic_aggregate = true;
      return;
    case Type::aggregator: return read_aggregator(traits_.four_octet_as ? 4 : 2, out_.attributes.aggregator);
    case Type::communities: return read_communities();
    case Type::extended_communities: return read_extended_communities();
    case Type::large_communities: return read_large_communities();
    case Type::as4_path:
    case Type::as4_aggregator: return read_as4(type);
    case Type::mp_reach: return read_mp_reach();
    case Type::mp_unreach: return read_mp_unreach();
  }
}

void AttributeReader::unknown(uint8_t type, uint8_t flags) {
  using namespace attribute_flag;
  if (!(flags & kOptional)) return reset(update_error::kUnknownWellKnown, "not known, and not optional");
  if (!(flags & kTransitive)) return;  // RFC 4271 section 5: ignored, not passed on
  out_.attributes.unknown.push_back(
      {static_cast<uint8_t>(kOptional | kTransitive | kPartial), type, {value_.begin(), value_.end()}});
}

void AttributeReader::read_origin() {
  out_.has_origin = true;
  if (value_.size() != 1) return withdraw_for_length();
  if (value_[0] > 2) return withdraw(update_error::kOrigin, fmt::format("value {}", value_[0]));
  out_.attributes.origin = static_cast<OriginCode>(value_[0]);
}

void AttributeReader::read_as_path() {
  out_.has_as_path = true;
  auto& path = out_.attributes.as_path;
  if (const char* why = read_path(Reader(value_), traits_.four_octet_as ? 4 : 2, path)) {
    return withdraw(update_error::kAsPath, why);
  }
  // RFC 5065 section 5; confederations are not spoken here, but may be passed through by an internal peer.
  if (traits_.ebgp && std::any_of(path.begin(), path.end(), is_confederation)) {
    withdraw(update_error::kAsPath, "confederation segments from another AS");
  }
}

void AttributeReader::read_next_hop() {
  out_.has_next_hop = true;
  if (value_.size() != 4) {
    out_.next_hop_wrong = wrong(update_error::kLength, fmt::format("length {}", value_.size()));
    return;
  }
  const IpAddr ip = IpAddr::from_bytes(Family::v4, value_.data());
  if (!usable_next_hop(ip)) {
    out_.next_hop_wrong = wrong(update_error::kNextHop, ip.str());
    return;
  }
  out_.attributes.next_hop = ip;
}

void AttributeReader::read_number(std::optional<uint32_t>& into, Type) {
  if (value_.size() != 4) return withdraw_for_length();
  into = get32(value_.data());
}

void AttributeReader::read_internal(Type type) {
  if (type == Type::local_pref) return read_number(out_.attributes.local_pref, type);
  if (type == Type::originator_id) return read_number(out_.attributes.originator_id, type);
  if (value_.empty() || value_.size() % 4 != 0) return withdraw_for_length();
  for (Reader value(value_); value.left() > 0;) out_.attributes.cluster_list.push_back(value.u32());
}

void AttributeReader::read_aggregator(size_t asn_size, std::optional<Aggregator>& into) {
  if (value_.size() != asn_size + 4) return discard(fmt::format("length {}", value_.size()));
  Reader value(value_);
  const Asn asn = asn_size == 4 ? value.u32() : value.u16();
  if (asn == 0) return discard("AS 0");
  into = Aggregator{asn, value.u32()};
}

void AttributeReader::read_communities() {
  if (value_.empty() || value_.size() % 4 != 0) return withdraw_for_length();
  auto& communities = out_.attributes.communities;
  communities.reserve(value_.size() / 4);
  for (Reader value(value_); value.left() > 0;) communities.push_back(value.u32());
  sort_once_each(communities);
}

void AttributeReader::read_large_communities() {
  if (value_.empty() || value_.size() % 12 != 0) return withdraw_for_length();
  auto& communities = out_.attributes.large_communities;
  communities.reserve(value_.size() / 12);
  for (Reader value(value_); value.left() > 0;) {
    const uint32_t global = value.u32(), local1 = value.u32();
    communities.push_back({global, local1, value.u32()});
  }
  sort_once_each(communities);
}

void AttributeReader::read_extended_communities() {
  if (value_.empty() || value_.size() % 8 != 0) return withdraw_for_length();
  auto& communities = out_.attributes.extended_communities;
  communities.resize(value_.size() / 8);
  for (size_t i = 0; i < communities.size(); ++i) std::copy_n(&value_[8 * i], 8, communities[i].begin());
  sort_once_each(communities);
}

/// Errors in these never cost more than the attribute (RFC 6793 section 6).
void AttributeReader::read_as4(Type type) {
  if (traits_.four_octet_as) return discard("from a peer that speaks four-octet AS numbers");
  if (type == Type::as4_aggregator) return read_aggregator(4, as4_aggregator_);
  std::vector<AsSegment> path;
  if (const char* why = value_.empty() ? "it is empty" : read_path(Reader(value_), 4, path)) return discard(why);
  std::erase_if(path, is_confederation);
  as4_path_ = std::move(path);
}

/// Fills in the next hop; false if its length is none of this family's.
bool AttributeReader::read_mp_next_hop(Afi afi, Bytes bytes, MpReach& reach) {
  if (afi == Afi::v4 && bytes.size() == 4) {
    reach.next_hop = IpAddr::from_bytes(Family::v4, bytes.data());
    return true;
  }
  const bool v6_allowed = afi == Afi::v6 || traits_.extended_next_hop;
  if (!v6_allowed || (bytes.size() != 16 && bytes.size() != 32)) return false;
  reach.next_hop = IpAddr::from_bytes(Family::v6, bytes.data());
  if (bytes.size() == 16) return true;
  const IpAddr second = IpAddr::from_bytes(Family::v6, bytes.data() + 16);
  if (second.is_link_local()) reach.link_local = second;
  // Speakers without a global address send :: for it.
  if (reach.next_hop.is_unspecified() && reach.link_local) reach.next_hop = reach.link_local;
  return true;
}

void AttributeReader::read_mp_reach() {
  Reader value(value_);
  if (!value.has(5)) return reset(update_error::kOptional, fmt::format("length {}", value_.size()));
  const uint16_t afi_told = value.u16();
  const uint8_t safi = value.u8();
  const auto afi = known_family(afi_told, safi);
  if (!afi) {
    out_.foreign_reach = true;
    return discard(fmt::format("family {}/{} is not spoken", afi_told, safi));
  }
  const size_t next_hop_length = value.u8();
  if (!value.has(next_hop_length + 1)) return reset(update_error::kOptional, "the next hop ends beyond the attribute");
  MpReach reach;
  if (!read_mp_next_hop(*afi, value.take(next_hop_length), reach)) {
    return reset(update_error::kOptional, fmt::format("a next hop of {} bytes", next_hop_length));
  }
  value.u8();
  if (!read_prefixes(*afi, value.rest(), reach.prefixes))
    return reset(update_error::kOptional, "a prefix is malformed");
  if (!usable_next_hop(reach.next_hop)) withdraw(update_error::kOptional, "next hop " + reach.next_hop.str());
  out_.reach = std::move(reach);
}

void AttributeReader::read_mp_unreach() {
  Reader value(value_);
  if (!value.has(3)) return reset(update_error::kOptional, fmt::format("length {}", value_.size()));
  const uint16_t afi_told = value.u16();
  const uint8_t safi = value.u8();
  const auto afi = known_family(afi_told, safi);
  if (!afi) return discard(fmt::format("family {}/{} is not spoken", afi_told, safi));
  MpUnreach unreach{*afi, {}};
  if (!read_prefixes(*afi, value.rest(), unreach.prefixes))
    return reset(update_error::kOptional, "a prefix is malformed");
  out_.unreach = std::move(unreach);
}

void AttributeReader::finish() {
  auto& attributes = out_.attributes;
  std::sort(attributes.unknown.begin(), attributes.unknown.end(),
            [](const auto& a, const auto& b) { return a.type < b.type; });
  // RFC 6793 4.2.3: an AGGREGATOR of another AS than AS_TRANS was put there by a speaker that dropped what is in AS4_*.
  if (attributes.aggregator && as4_aggregator_) {
    if (attributes.aggregator->asn != kAsTrans) return;
    attributes.aggregator = as4_aggregator_;
  }
  if (!as4_path_.empty()) attributes.as_path = merge_as4_path(attributes.as_path, as4_path_);
}

}  // namespace

std::string attribute_name(uint8_t type) {
  switch (static_cast<Type>(type)) {
    case Type::origin: return "ORIGIN";
    case Type::as_path: return "AS_PATH";
    case Type::next_hop: return "NEXT_HOP";
    case Type::med: return "MULTI_EXIT_DISC";
    case Type::local_pref: return "LOCAL_PREF";
    case Type::atomic_aggregate: return "ATOMIC_AGGREGATE";
    case Type::aggregator: return "AGGREGATOR";
    case Type::communities: return "COMMUNITIES";
    case Type::originator_id: return "ORIGINATOR_ID";
    case Type::cluster_list: return "CLUSTER_LIST";
    case Type::mp_reach: return "MP_REACH_NLRI";
    case Type::mp_unreach: return "MP_UNREACH_NLRI";
    case Type::extended_communities: return "EXTENDED_COMMUNITIES";
    case Type::as4_path: return "AS4_PATH";
    case Type::as4_aggregator: return "AS4_AGGREGATOR";
    case Type::large_communities: return "LARGE_COMMUNITIES";
  }
  return fmt::format("attribute {}", type);
}

ReadAttributes read_attributes(Bytes field, const SessionTraits& traits) {
  return AttributeReader(traits).run(Reader(field));
}

}  // namespace knet::bgp
