// OPEN and its capabilities (RFC 4271 4.2 and 6.2, RFC 5492, RFC 9072).
#include <fmt/core.h>

#include <algorithm>

#include "bgp/message_parts.h"

namespace knet::bgp {
namespace {

enum class Capability : uint8_t {
  multiprotocol = 1,
  route_refresh = 2,
  extended_next_hop = 5,
  extended_message = 6,
  graceful_restart = 64,
  four_octet_as = 65,
  add_path = 69,
  enhanced_refresh = 70,
  long_lived = 71,
};
constexpr uint8_t kCapabilities = 2;      // the optional parameter
constexpr uint8_t kExtendedLength = 255;  // RFC 9072
constexpr uint8_t kVersion = 4;

/// What is known only when all capabilities have been read.
struct Pending {
  std::optional<Asn> asn;
  std::optional<GracefulRestart> restart;
  struct LongLived {
    bool there = false;
    GracefulRestart::Family families[kAfis];
  } long_lived;
};

// RFC 4724 section 3. Of several instances the last counts, so each replaces what was there.
bool read_graceful_restart(Reader value, Pending& pending) {
  if (!value.has(2) || (value.left() - 2) % 4 != 0) return false;
  const uint16_t head = value.u16();
  GracefulRestart restart;
  restart.restarting = head & 0x8000;
  restart.notification = head & 0x4000;
  restart.restart_time = head & 0x0fff;
  while (value.has(4)) {
    const uint16_t afi = value.u16();
    const auto known = known_family(afi, value.u8());
    const uint8_t flags = value.u8();
    if (known) restart.families[static_cast<size_t>(*known)] = {true, (flags & 0x80) != 0, 0};
  }
  pending.restart = restart;
  return true;
}

bool read_long_lived(Reader value, Pending& pending) {  // RFC 9494 section 3
  if (value.left() % 7 != 0) return false;
  pending.long_lived = {.there = true, .families = {}};
  while (value.has(7)) {
    const uint16_t afi = value.u16();
    const auto known = known_family(afi, value.u8());
    const uint32_t flags_and_time = value.u32();
    if (!known) continue;
    pending.long_lived.families[static_cast<size_t>(*known)] = {true, (flags_and_time >> 31) != 0,
                                                                flags_and_time & 0xffffff};
  }
  return true;
}

bool read_add_path(Reader value, Capabilities& out) {  // RFC 7911 section 4
  if (value.left() % 4 != 0) return false;
  while (value.has(4)) {
    const uint16_t afi = value.u16();
    const auto known = known_family(afi, value.u8());
    const uint8_t direction = value.u8();
    if (!known || direction > 3) continue;
    out.add_path_receive[static_cast<size_t>(*known)] = direction & 1;
    out.add_path_send[static_cast<size_t>(*known)] = direction & 2;
  }
  return true;
}

bool read_extended_next_hop(Reader value, Capabilities& out) {  // RFC 8950 section 4
  if (value.left() % 6 != 0) return false;
  while (value.has(6)) {
    const uint16_t afi = value.u16(), safi = value.u16(), next_hop_afi = value.u16();
    if (afi == 1 && safi == kUnicast && next_hop_afi == 2) out.extended_next_hop = true;
  }
  return true;
}

/// One capability; false if it is known and its value malformed.
bool read_capability(uint8_t code, Reader value, Capabilities& out, Pending& pending) {
  switch (static_cast<Capability>(code)) {
    case Capability::multiprotocol: {
      if (value.left() != 4) return false;
      const uint16_t afi = value.u16();
      value.u8();
      const auto known = known_family(afi, value.u8());
      (known ? out.multiprotocol[static_cast<size_t>(*known)] : out.other_families) = true;
      return true;
    }
    case Capability::route_refresh: return out.route_refresh = true;
    case Capability::enhanced_refresh: return out.enhanced_refresh = true;
    case Capability::extended_message: return out.extended_message = true;
    case Capability::extended_next_hop: return read_extended_next_hop(value, out);
    case Capability::graceful_restart: return read_graceful_restart(value, pending);
    case Capability::long_lived: return read_long_lived(value, pending);
    case Capability::add_path: return read_add_path(value, out);
    case Capability::four_octet_as:
      if (value.left() != 4) return false;
      pending.asn = value.u32();
      return out.four_octet_as = true;
  }
  if (std::find(out.unknown.begin(), out.unknown.end(), code) == out.unknown.end()) out.unknown.push_back(code);
  return true;
}

// Long-lived restart without the graceful one is ignored (RFC 9494 section 3).
void join_restart(const Pending& pending, Capabilities& out) {
  out.graceful_restart = pending.restart;
  if (!pending.restart || !pending.long_lived.there) return;
  GracefulRestart& restart = *out.graceful_restart;
  restart.long_lived = true;
  for (size_t i = 0; i < kAfis; ++i) {
    const auto& family = pending.long_lived.families[i];
    if (!family.offered || family.llgr_time == 0) continue;
    restart.families[i].llgr_time = family.llgr_time;
    if (!restart.families[i].offered) restart.families[i].forwarding_kept = family.forwarding_kept;
  }
}

MessageError open_error_of(uint8_t subcode, std::string why, Bytes data = {}) {
  return error(ErrorCode::open, subcode, "OPEN: " + why, data);
}

/// The optional parameters; an error, or nothing.
std::optional<MessageError> read_parameters(Reader body, Capabilities& out, Pending& pending) {
  size_t length = body.u8();
  const bool extended = length != 0 && body.has(3) && body.rest()[0] == kExtendedLength;
  if (extended) {
    body.u8();
    length = body.u16();
  }
  if (length != body.left()) {
    return open_error_of(open_error::kUnspecific,
                         fmt::format("{} bytes of optional parameters, {} told", body.left(), length));
  }
  const size_t head = extended ? 3 : 2;
  while (body.left() > 0) {
    if (!body.has(head)) return open_error_of(open_error::kUnspecific, "an optional parameter is cut off");
    const uint8_t type = body.u8();
    const size_t size = extended ? body.u16() : body.u8();
    if (!body.has(size)) return open_error_of(open_error::kUnspecific, "an optional parameter ends beyond the message");
    Reader parameter(body.take(size));
    if (type != kCapabilities) {
      return open_error_of(open_error::kParameter, fmt::format("unknown optional parameter {}", type));
    }
    while (parameter.left() > 0) {
      if (!parameter.has(2)) return open_error_of(open_error::kUnspecific, "a capability is cut off");
      const uint8_t code = parameter.u8(), value_size = parameter.u8();
      if (!parameter.has(value_size) || !read_capability(code, Reader(parameter.take(value_size)), out, pending)) {
        return open_error_of(open_error::kUnspecific, fmt::format("capability {} is malformed", code));
      }
    }
  }
  return std::nullopt;
}

void put(Writer& out, Capability code, Bytes value) {
  out.u8(static_cast<uint8_t>(code));
  out.u8(static_cast<uint8_t>(value.size()));
  out.bytes(value.data(), value.size());
}

void put_restart(Writer& out, const GracefulRestart& restart) {
  uint8_t room[2 + 7 * kAfis];
  Writer graceful(room);
  graceful.u16((restart.restarting ? 0x8000 : 0) | (restart.notification ? 0x4000 : 0) |
               std::min<uint16_t>(restart.restart_time, 0x0fff));
  for (const Afi afi : {Afi::v4, Afi::v6}) {
    const auto& family = restart.families[static_cast<size_t>(afi)];
    if (!family.offered) continue;
    graceful.u16(afi_number(afi));
    graceful.u8(kUnicast);
    graceful.u8(family.forwarding_kept ? 0x80 : 0);
  }
  put(out, Capability::graceful_restart, {room, graceful.size()});
  if (!restart.long_lived) return;
  Writer long_lived(room);
  for (const Afi afi : {Afi::v4, Afi::v6}) {
    const auto& family = restart.families[static_cast<size_t>(afi)];
    if (family.llgr_time == 0) continue;
    long_lived.u16(afi_number(afi));
    long_lived.u8(kUnicast);
    long_lived.u32((family.forwarding_kept ? 0x80000000 : 0) | std::min<uint32_t>(family.llgr_time, 0xffffff));
  }
  put(out, Capability::long_lived, {room, long_lived.size()});
}

void put_capabilities(Writer& out, const Open& open) {
  const Capabilities& mine = open.capabilities;
  for (const Afi afi : {Afi::v4, Afi::v6}) {
    const uint8_t family[] = {0, static_cast<uint8_t>(afi_number(afi)), 0, kUnicast};
    if (mine.multiprotocol[static_cast<size_t>(afi)]) put(out, Capability::multiprotocol, family);
  }
  if (mine.route_refresh) put(out, Capability::route_refresh, {});
  const uint8_t v4_over_v6[] = {0, 1, 0, kUnicast, 0, 2};
  if (mine.extended_next_hop) put(out, Capability::extended_next_hop, v4_over_v6);
  if (mine.extended_message) put(out, Capability::extended_message, {});
  if (mine.graceful_restart) put_restart(out, *mine.graceful_restart);
  if (mine.four_octet_as) {
    uint8_t asn[4];
    put32(asn, open.asn);
    put(out, Capability::four_octet_as, asn);
  }
  uint8_t room[4 * kAfis];
  Writer add_path(room);
  for (const Afi afi : {Afi::v4, Afi::v6}) {
    const auto i = static_cast<size_t>(afi);
    const int direction = (mine.add_path_receive[i] ? 1 : 0) | (mine.add_path_send[i] ? 2 : 0);
    if (direction != 0) add_path.u32(uint32_t{afi_number(afi)} << 16 | kUnicast << 8 | direction);
  }
  if (add_path.size() > 0) put(out, Capability::add_path, {room, add_path.size()});
  if (mine.enhanced_refresh) put(out, Capability::enhanced_refresh, {});
}

}  // namespace

Message decode_open(Bytes bytes) {
  Reader body(bytes);
  const uint8_t version = body.u8();
  if (version != kVersion) {
    const uint8_t best[] = {0, kVersion};
    return open_error_of(open_error::kVersion, fmt::format("version {}", version), best);
  }
  Open open;
  open.asn = body.u16();
  open.hold_time = body.u16();
  open.id = body.u32();
  if (open.asn == 0) return open_error_of(open_error::kPeerAs, "AS 0");
  if (open.hold_time == 1 || open.hold_time == 2) {
    return open_error_of(open_error::kHoldTime, fmt::format("hold time {} s", open.hold_time));
  }
  if (open.id == 0) return open_error_of(open_error::kIdentifier, "BGP identifier 0.0.0.0");
  Pending pending;
  if (auto wrong = read_parameters(body, open.capabilities, pending)) return *std::move(wrong);
  if (pending.asn == Asn{0}) return open_error_of(open_error::kPeerAs, "AS 0");  // RFC 7607
  open.asn = pending.asn.value_or(open.asn);
  join_restart(pending, open.capabilities);
  return open;
}

std::vector<uint8_t> encode(const Open& open) {
  uint8_t room[10 + 2 + 255];
  Writer body(room);
  body.u8(kVersion);
  body.u16(open.asn > 0xffff ? kAsTrans : open.asn);
  body.u16(open.hold_time);
  body.u32(open.id);
  uint8_t capability_room[253];  // all there is takes less than 80
  Writer capabilities(capability_room);
  put_capabilities(capabilities, open);
  if (capabilities.size() == 0) {
    body.u8(0);
  } else {
    body.u8(static_cast<uint8_t>(capabilities.size() + 2));
    body.u8(kCapabilities);
    body.u8(static_cast<uint8_t>(capabilities.size()));
    body.bytes(capability_room, capabilities.size());
  }
  return with_header(MessageType::open, {room, body.size()});
}

}  // namespace knet::bgp
