// UPDATE, read and packed (RFC 4271 4.3 and 6.3, RFC 4760, RFC 7606).
#include <fmt/core.h>

#include <cstring>

#include "bgp/message_attributes.h"

namespace knet::bgp {
namespace {

using Type = AttributeType;
constexpr size_t kLongestPrefix = 17;              // on the wire: length and an IPv6 address
constexpr size_t kAttributesAt = kHeaderSize + 4;  // where path attributes begin if nothing is withdrawn
constexpr size_t kMpHead = 4;                      // flags, type, length of two bytes: always the extended form

MessageError update_error_of(uint8_t subcode, std::string why) {
  return error(ErrorCode::update, subcode, "UPDATE: " + why);
}

/// The well-known mandatory attribute that reachable prefixes lack, or nothing (RFC 4271 section 5).
std::optional<Type> missing(const ReadAttributes& read, bool own_nlri) {
  if (!read.has_origin) return Type::origin;
  if (!read.has_as_path) return Type::as_path;
  if (own_nlri && !read.has_next_hop) return Type::next_hop;
  return std::nullopt;
}

/// Puts the prefixes, and what they come with, where they belong.
void place(ReadAttributes& read, Update& update) {
  if (read.unreach) {
    auto& gone = read.unreach->prefixes;
    update.withdrawn.insert(update.withdrawn.end(), gone.begin(), gone.end());
  }
  const bool mp = read.reach && !read.reach->prefixes.empty();
  if (mp && !update.reachable.empty()) {
    update.mp_reachable = std::move(read.reach->prefixes);
    update.mp_next_hop = read.reach->next_hop;
    update.mp_link_local = read.reach->link_local;
  } else if (mp) {
    update.reachable = std::move(read.reach->prefixes);
    read.attributes.next_hop = read.reach->next_hop;
    read.attributes.link_local = read.reach->link_local;
  }
  if (update.reachable.empty()) return;
  if (read.withdraw) {
    update.treat_as_withdraw = std::move(read.withdraw->why);
  } else {
    update.attributes = std::move(read.attributes);
  }
}

/// One prefix at `at`, where kLongestPrefix bytes may be written; how many count.
size_t put_prefix(uint8_t* at, const Prefix& prefix) {
  const int length = prefix.length();
  const size_t bytes = static_cast<size_t>(length + 7) / 8;
  at[0] = static_cast<uint8_t>(length);
  std::memcpy(at + 1, prefix.addr().data(), 16);  // IpAddr has 16 bytes in either family
  if (length % 8 != 0) at[bytes] &= static_cast<uint8_t>(0xff << (8 - length % 8));
  return 1 + bytes;
}

/// Fills messages with prefixes from `start` on, up to `limit`. `finish` completes a message whose prefixes end at the
/// place that it is given, all but the header, and says where the message ends.
template <typename Finish>
size_t pack(Afi afi, std::span<const Prefix> prefixes, uint8_t* message, size_t start, size_t limit, Finish finish,
            std::vector<uint8_t>& out) {
  size_t at = start, messages = 0;
  const auto flush = [&] {
    const size_t end = finish(at);
    write_header(message, MessageType::update, end);
    out.insert(out.end(), message, message + end);
    ++messages;
    at = start;
  };
  const Family family = family_of(afi);
  for (const Prefix& prefix : prefixes) {
    if (prefix.family() != family) continue;
    if (at + 1 + static_cast<size_t>(prefix.length() + 7) / 8 > limit) flush();
    at += put_prefix(message + at, prefix);
  }
  if (at > start) flush();
  return messages;
}

void put_mp_head(Writer& out, Type type, Afi afi) {
  out.u8(attribute_flag::kOptional | attribute_flag::kExtendedLength);
  out.u8(static_cast<uint8_t>(type));
  out.u16(0);
  out.u16(afi_number(afi));
  out.u8(kUnicast);
}

size_t reach_in_own_fields(std::span<const Prefix> prefixes, const Attributes& attributes, const SessionTraits& traits,
                           std::vector<uint8_t>& out) {
  uint8_t message[kMaxMessage + kLongestPrefix];
  Writer writer({message + kAttributesAt, kMaxMessage - kAttributesAt});
  write_attributes(attributes, traits, true, writer);
  const size_t start = kAttributesAt + writer.size();
  if (writer.overflowed() || start + 5 > kMaxMessage) return 0;
  put16(message + kHeaderSize, 0);
  put16(message + kHeaderSize + 2, writer.size());
  return pack(
      Afi::v4, prefixes, message, start, kMaxMessage, [](size_t at) { return at; }, out);
}

size_t reach_in_mp(Afi afi, std::span<const Prefix> prefixes, const Attributes& attributes, const SessionTraits& traits,
                   std::vector<uint8_t>& out) {
  uint8_t message[kMaxMessage + kLongestPrefix];
  uint8_t others[kMaxMessage];
  Writer tail(others);
  write_attributes(attributes, traits, false, tail);
  // RFC 7606 5.1: MP_REACH comes first, so that it is found though an attribute behind it is malformed.
  Writer head({message + kAttributesAt, kMaxMessage - kAttributesAt});
  put_mp_head(head, Type::mp_reach, afi);
  const bool both = attributes.link_local.is_v6() && attributes.next_hop.is_v6();
  head.u8(static_cast<uint8_t>(attributes.next_hop.size() + (both ? 16 : 0)));
  head.bytes(attributes.next_hop.data(), attributes.next_hop.size());
  if (both) head.bytes(attributes.link_local.data(), 16);
  head.u8(0);
  const size_t start = kAttributesAt + head.size();
  if (tail.overflowed() || start + kLongestPrefix + tail.size() > kMaxMessage) return 0;
  put16(message + kHeaderSize, 0);
  const auto finish = [&](size_t at) {
    std::memcpy(message + at, others, tail.size());
    put16(message + kHeaderSize + 2, at + tail.size() - kAttributesAt);
    put16(message + kAttributesAt + 2, at - kAttributesAt - kMpHead);
    return at + tail.size();
  };
  return pack(afi, prefixes, message, start, kMaxMessage - tail.size(), finish, out);
}

}  // namespace

bool read_prefixes(Afi afi, Bytes field, std::vector<Prefix>& out) {
  const size_t width = afi == Afi::v4 ? 32 : 128;
  size_t count = 0;
  for (Reader reader(field); reader.left() > 0; ++count) {
    const size_t length = reader.u8();
    if (length > width || !reader.has((length + 7) / 8)) return false;
    reader.take((length + 7) / 8);
  }
  out.reserve(out.size() + count);
  for (Reader reader(field); reader.left() > 0;) {
    const int length = reader.u8();
    const Bytes given = reader.take(static_cast<size_t>(length + 7) / 8);
    uint8_t bytes[16] = {};
    if (!given.empty()) std::memcpy(bytes, given.data(), given.size());
    if (length % 8 != 0) bytes[length / 8] &= static_cast<uint8_t>(0xff << (8 - length % 8));
    out.emplace_back(IpAddr::from_bytes(family_of(afi), bytes), length);
  }
  return true;
}

Message decode_update(Bytes bytes, const SessionTraits& traits) {
  Reader body(bytes);
  const size_t withdrawn_length = body.u16();
  if (!body.has(withdrawn_length + 2)) {
    return update_error_of(update_error::kAttributeList, "withdrawn routes end beyond the message");
  }
  const Bytes withdrawn = body.take(withdrawn_length);
  const size_t attributes_length = body.u16();
  if (!body.has(attributes_length)) {
    return update_error_of(update_error::kAttributeList, "path attributes end beyond the message");
  }
  const Bytes attributes = body.take(attributes_length);
  Update update;
  if (!read_prefixes(Afi::v4, withdrawn, update.withdrawn)) {
    return update_error_of(update_error::kNetwork, "a withdrawn prefix is malformed");
  }
  if (!read_prefixes(Afi::v4, body.rest(), update.reachable)) {
    return update_error_of(update_error::kNetwork, "a prefix is malformed");
  }
  ReadAttributes read = read_attributes(attributes, traits);
  if (read.reset) return *std::move(read.reset);

  const bool own_nlri = !update.reachable.empty();
  const bool any_nlri = own_nlri || read.foreign_reach || (read.reach && !read.reach->prefixes.empty());
  if (read.next_hop_wrong && !read.withdraw && (own_nlri || !read.reach))
    read.withdraw = std::move(read.next_hop_wrong);
  if (const auto lacks = missing(read, own_nlri); lacks && any_nlri && !read.withdraw) {
    const uint8_t type = static_cast<uint8_t>(*lacks);
    read.withdraw = error(ErrorCode::update, update_error::kMissing,
                          fmt::format("UPDATE: {} is missing", attribute_name(type)), {&type, 1});
  }
  // RFC 7606 5.2: prefixes may have been lost by what is wrong, and cannot be withdrawn then.
  const bool only_unreach = read.count == 1 && read.unreach;
  if (read.withdraw && !any_nlri && !only_unreach) return *std::move(read.withdraw);

  if (withdrawn.empty() && body.left() == 0) {
    if (read.count == 0) update.end_of_rib = Afi::v4;
    if (read.count == 1 && read.unreach && read.unreach->prefixes.empty()) update.end_of_rib = read.unreach->afi;
  }
  place(read, update);
  update.discarded = std::move(read.discarded);
  return update;
}

std::vector<uint8_t> encode_end_of_rib(Afi afi) {
  if (afi == Afi::v4) return with_header(MessageType::update, std::vector<uint8_t>(4));
  const uint8_t body[] = {0, 0, 0, 6,       attribute_flag::kOptional, static_cast<uint8_t>(Type::mp_unreach),
                          3, 0, 2, kUnicast};
  return with_header(MessageType::update, body);
}

size_t encode_reach(Afi afi, std::span<const Prefix> prefixes, const Attributes& attributes,
                    const SessionTraits& traits, std::vector<uint8_t>& out) {
  if (afi == Afi::v4 && attributes.next_hop.is_v4()) return reach_in_own_fields(prefixes, attributes, traits, out);
  if (!attributes.next_hop.is_v6() || (afi == Afi::v4 && !traits.extended_next_hop)) return 0;
  return reach_in_mp(afi, prefixes, attributes, traits, out);
}

size_t encode_withdraw(Afi afi, std::span<const Prefix> prefixes, std::vector<uint8_t>& out) {
  uint8_t message[kMaxMessage + kLongestPrefix];
  if (afi == Afi::v4) {
    const auto finish = [&](size_t at) {
      put16(message + kHeaderSize, at - kHeaderSize - 2);
      put16(message + at, 0);
      return at + 2;
    };
    return pack(afi, prefixes, message, kHeaderSize + 2, kMaxMessage - 2, finish, out);
  }
  put16(message + kHeaderSize, 0);
  Writer head({message + kAttributesAt, kMaxMessage - kAttributesAt});
  put_mp_head(head, Type::mp_unreach, afi);
  const auto finish = [&](size_t at) {
    put16(message + kHeaderSize + 2, at - kAttributesAt);
    put16(message + kAttributesAt + 2, at - kAttributesAt - kMpHead);
    return at;
  };
  return pack(afi, prefixes, message, kAttributesAt + head.size(), kMaxMessage, finish, out);
}

}  // namespace knet::bgp
