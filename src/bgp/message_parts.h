// What the files of the codec share: headers, families on the wire, prefixes, errors. Private to src/bgp/message*.cpp.
#pragma once

#include <string>
#include <string_view>

#include "bgp/message.h"
#include "bgp/wire.h"

namespace knet::bgp {

inline constexpr uint16_t kAsTrans = 23456;  // RFC 6793
inline constexpr uint8_t kUnicast = 1;       // SAFI

/// Codes and subcodes of NOTIFICATION that the codec itself answers with (RFC 4271 4.5, RFC 7313, RFC 9687).
enum class ErrorCode : uint8_t { header = 1, open = 2, update = 3, hold_timer = 4, state = 5, cease = 6, refresh = 7, send_hold = 8 };
namespace header_error {
inline constexpr uint8_t kNotSynchronized = 1, kBadLength = 2, kBadType = 3;
}
namespace open_error {
inline constexpr uint8_t kUnspecific = 0, kVersion = 1, kPeerAs = 2, kIdentifier = 3, kParameter = 4, kHoldTime = 6;
}
namespace update_error {
inline constexpr uint8_t kAttributeList = 1, kUnknownWellKnown = 2, kMissing = 3, kFlags = 4, kLength = 5, kOrigin = 6,
                         kNextHop = 8, kOptional = 9, kNetwork = 10, kAsPath = 11;
}

MessageError error(ErrorCode code, uint8_t subcode, std::string why, Bytes data = {});

/// AFI 1 or 2 with SAFI unicast; nothing for what is not spoken.
inline std::optional<Afi> known_family(uint16_t afi, uint8_t safi) {
  if (safi != kUnicast || (afi != 1 && afi != 2)) return std::nullopt;
  return afi == 1 ? Afi::v4 : Afi::v6;
}
inline uint16_t afi_number(Afi afi) { return afi == Afi::v4 ? 1 : 2; }
inline Family family_of(Afi afi) { return afi == Afi::v4 ? Family::v4 : Family::v6; }

/// A whole message of a type around a body of at most kMaxMessage - kHeaderSize bytes.
std::vector<uint8_t> with_header(MessageType type, Bytes body);
/// The 19 bytes; the length is that of the whole message.
void write_header(uint8_t* at, MessageType type, size_t length);

/// Bodies, without header.
Message decode_open(Bytes body);
Message decode_update(Bytes body, const SessionTraits& traits);
Message decode_notification(Bytes body);

/// Appends the prefixes of an NLRI field, host bits cleared. False if the field cannot be parsed (RFC 7606 5.3):
/// nothing is appended then.
bool read_prefixes(Afi afi, Bytes field, std::vector<Prefix>& out);

}  // namespace knet::bgp
