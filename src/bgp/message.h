// BGP-4 messages on the wire: encode and decode (RFC 4271 section 4 and what extends it). Pure; every byte from the
// peer is hostile: lengths are checked before they are believed, and nothing is allocated beyond what a message of
// 4,096 bytes can hold. What is wrong with an UPDATE is told in the classes of RFC 7606.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "bgp/attributes.h"

namespace knet::bgp {

using Bytes = std::span<const uint8_t>;
inline constexpr size_t kHeaderSize = 19;
inline constexpr size_t kMaxMessage = 4096;

enum class MessageType : uint8_t { open = 1, update = 2, notification = 3, keepalive = 4, route_refresh = 5 };

/// Address families that are spoken: unicast only (SAFI 1).
enum class Afi : uint8_t { v4 = 0, v6 = 1 };
inline constexpr size_t kAfis = 2;

struct Notification {
  uint8_t code = 0;  // RFC 4271 4.5; RFC 4486 for cease (6)
  uint8_t subcode = 0;
  std::vector<uint8_t> data;
  bool operator==(const Notification&) const = default;
};
/// "cease, administrative shutdown: upgrading" (RFC 9003 text, made printable); never empty.
std::string describe(const Notification& notification);
/// A shutdown or reset with a message for people of at most 255 bytes (RFC 9003).
Notification cease(uint8_t subcode, std::string_view text = {});

struct GracefulRestart {      // RFC 4724
  bool restarting = false;    // R bit
  bool notification = false;  // N bit (RFC 8538)
  uint16_t restart_time = 0;  // seconds, 12 bits
  bool long_lived = false;    // RFC 9494 is understood, though maybe for no family: LLGR_STALE routes may be sent
  struct Family {
    bool offered = false;
    bool forwarding_kept = false;  // F bit; the long-lived one's where the family is only there
    uint32_t llgr_time = 0;        // seconds, 24 bits (RFC 9494); 0 not offered
    bool operator==(const Family&) const = default;
  };
  Family families[kAfis];
  bool operator==(const GracefulRestart&) const = default;
};

/// What one side offers in its OPEN (RFC 5492). Unknown capabilities are passed over.
struct Capabilities {
  bool multiprotocol[kAfis] = {false, false};     // both false in an OPEN without any: IPv4 unicast alone
  bool other_families = false;  // multiprotocol too, for families that are none of ours
  bool extended_next_hop = false;                 // IPv4 routes over IPv6 next hops (RFC 8950)
  bool route_refresh = false;                     // RFC 2918
  bool enhanced_refresh = false;                  // RFC 7313
  bool four_octet_as = false;                     // RFC 6793
  bool extended_message = false;                  // RFC 8654: never offered here
  bool add_path_receive[kAfis] = {false, false};  // RFC 7911, as the peer says; never offered here
  bool add_path_send[kAfis] = {false, false};
  std::optional<GracefulRestart> graceful_restart;
  std::vector<uint8_t> unknown;  // codes, for people: once each, in order; never sent
  bool operator==(const Capabilities&) const = default;
};

struct Open {
  Asn asn = 0;             // the four-octet one where the capability carries it
  uint16_t hold_time = 0;  // seconds; 0, or 3 and more
  RouterId id = 0;
  Capabilities capabilities;
  bool operator==(const Open&) const = default;
};

/// What changes how UPDATEs of a session are read and written.
struct SessionTraits {
  bool four_octet_as = true;
  bool extended_next_hop = false;
  bool ebgp = false;
  Asn local_as = 0;
};

/// One UPDATE. Prefixes carry their family and no host bits; those of the message's own fields and of the MP attributes
/// are together in `withdrawn`. A family that was not agreed on is the receiver's to pass over.
struct Update {
  std::vector<Prefix> withdrawn;
  /// The message's own NLRI or, in a message without, that of MP_REACH; attributes->next_hop is theirs either way.
  std::vector<Prefix> reachable;
  std::optional<Attributes> attributes;  // with reachable, unless they are to be withdrawn
  /// Only of an MP_REACH beside the message's own NLRI: the same attributes, but this next hop.
  std::vector<Prefix> mp_reachable;
  IpAddr mp_next_hop, mp_link_local;
  std::optional<Afi> end_of_rib;  // RFC 4724 section 2
  /// RFC 7606: reachable (and mp_reachable) are to be treated as withdrawn, because of this; "" if fine.
  std::string treat_as_withdraw;
  /// Attributes that were left out as malformed (RFC 7606 attribute discard), for the log; the first few.
  std::vector<std::string> discarded;
  bool operator==(const Update&) const = default;
};

struct RouteRefresh {
  Afi afi = Afi::v4;
  enum class Kind : uint8_t { request = 0, begin = 1, end = 2 } kind = Kind::request;  // RFC 7313
  bool operator==(const RouteRefresh&) const = default;
};
struct Keepalive {
  bool operator==(const Keepalive&) const = default;
};
struct UnknownRefresh {  // of a family that is not spoken, or a kind that is not known: ignored
  bool operator==(const UnknownRefresh&) const = default;
};

/// What has to be sent before the session is closed.
struct MessageError {
  Notification notification;
  std::string why;  // for the log: "UPDATE: path attributes end beyond the message"
  bool operator==(const MessageError&) const = default;
};

using Message = std::variant<Open, Update, Notification, Keepalive, RouteRefresh, UnknownRefresh, MessageError>;

/// The length of the message that begins here, 0 if its header is not all there yet; an error for a wrong marker or
/// length (RFC 4271 6.1).
std::variant<size_t, MessageError> message_length(Bytes bytes);
/// One whole message. Attributes of an UPDATE are checked as RFC 7606 says. Never throws.
Message decode(Bytes message, const SessionTraits& traits);

std::vector<uint8_t> encode(const Open& open);
std::vector<uint8_t> encode(const Notification& notification);
std::vector<uint8_t> encode(const Keepalive&);
std::vector<uint8_t> encode(const RouteRefresh& refresh);
std::vector<uint8_t> encode_end_of_rib(Afi afi);

/// Appends as few UPDATEs as hold these prefixes (all of one family, each message at most kMaxMessage) to `out`.
/// IPv4 with an IPv4 next hop goes into the message's own fields; all else into MP attributes. The attributes go out as
/// they are: who sends to an eBGP peer has put its AS in front; only what must not leave an AS (LOCAL_PREF,
/// ORIGINATOR_ID, CLUSTER_LIST) is left out by traits.ebgp. Returns the number of messages: 0 if the attributes leave
/// no room for a prefix, or the next hop cannot be told to this peer (none, or IPv6 for IPv4 without
/// traits.extended_next_hop).
size_t encode_reach(Afi afi, std::span<const Prefix> prefixes, const Attributes& attributes,
                    const SessionTraits& traits, std::vector<uint8_t>& out);
size_t encode_withdraw(Afi afi, std::span<const Prefix> prefixes, std::vector<uint8_t>& out);

}  // namespace knet::bgp
