#include "bgp/message.h"

#include <fmt/core.h>

#include <algorithm>

#include "bgp/message_parts.h"

namespace knet::bgp {
namespace {

size_t least_length(uint8_t type) {
  switch (static_cast<MessageType>(type)) {
    case MessageType::open: return 29;
    case MessageType::update: return 23;
    case MessageType::notification: return 21;
    case MessageType::keepalive: return kHeaderSize;
    case MessageType::route_refresh: return kHeaderSize;  // RFC 7313 has its own answer for a wrong length
  }
  return 0;
}

MessageError bad_length(std::string_view what, size_t length) {
  uint8_t data[2];
  put16(data, length);
  return error(ErrorCode::header, header_error::kBadLength, fmt::format("{} of {} bytes", what, length), data);
}

Message decode_refresh(Bytes message) {
  if (message.size() != kHeaderSize + 4) {
    // RFC 7313 section 5: the whole message, as far as a NOTIFICATION can hold it.
    return error(ErrorCode::refresh, 1, fmt::format("ROUTE-REFRESH of {} bytes", message.size()),
                 message.first(std::min(message.size(), kMaxMessage - kHeaderSize - 2)));
  }
  const uint8_t* body = message.data() + kHeaderSize;
  const auto afi = known_family(get16(body), body[3]);
  if (!afi || body[2] > 2) return UnknownRefresh{};
  return RouteRefresh{*afi, static_cast<RouteRefresh::Kind>(body[2])};
}

}  // namespace

MessageError error(ErrorCode code, uint8_t subcode, std::string why, Bytes data) {
  return {{static_cast<uint8_t>(code), subcode, {data.begin(), data.end()}}, std::move(why)};
}

void write_header(uint8_t* at, MessageType type, size_t length) {
  std::fill_n(at, 16, uint8_t{0xff});
  put16(at + 16, length);
  at[18] = static_cast<uint8_t>(type);
}

std::vector<uint8_t> with_header(MessageType type, Bytes body) {
  std::vector<uint8_t> message(kHeaderSize + body.size());
  write_header(message.data(), type, message.size());
  std::copy(body.begin(), body.end(), message.begin() + kHeaderSize);
  return message;
}

std::variant<size_t, MessageError> message_length(Bytes bytes) {
  const auto marker = bytes.first(std::min<size_t>(bytes.size(), 16));
  // What is no BGP is told at its first byte: no need to wait for 19 of them.
  if (!std::all_of(marker.begin(), marker.end(), [](uint8_t byte) { return byte == 0xff; })) {
    return error(ErrorCode::header, header_error::kNotSynchronized, "the message does not begin with BGP's marker");
  }
  if (bytes.size() < kHeaderSize) return size_t{0};
  const size_t length = get16(&bytes[16]);
  if (length < kHeaderSize || length > kMaxMessage) return bad_length("message", length);
  return length;
}

Message decode(Bytes message, const SessionTraits& traits) {
  const auto length = message_length(message);
  if (const auto* wrong = std::get_if<MessageError>(&length)) return *wrong;
  const size_t told = std::get<size_t>(length);
  if (told == 0 || told != message.size()) return bad_length("incomplete message", told);
  const uint8_t type = message[18];
  const size_t least = least_length(type);
  if (least == 0) {
    return error(ErrorCode::header, header_error::kBadType, fmt::format("message of unknown type {}", type),
                 {&type, 1});
  }
  const Bytes body = message.subspan(kHeaderSize);
  switch (static_cast<MessageType>(type)) {
    case MessageType::open: return told < least ? bad_length("OPEN", told) : decode_open(body);
    case MessageType::update: return told < least ? bad_length("UPDATE", told) : decode_update(body, traits);
    case MessageType::notification: return told < least ? bad_length("NOTIFICATION", told) : decode_notification(body);
    case MessageType::keepalive: return told != least ? Message(bad_length("KEEPALIVE", told)) : Keepalive{};
    case MessageType::route_refresh: break;
  }
  return decode_refresh(message);
}

std::vector<uint8_t> encode(const Keepalive&) { return with_header(MessageType::keepalive, {}); }

std::vector<uint8_t> encode(const RouteRefresh& refresh) {
  const uint8_t body[] = {0, static_cast<uint8_t>(afi_number(refresh.afi)), static_cast<uint8_t>(refresh.kind),
                          kUnicast};
  return with_header(MessageType::route_refresh, body);
}

}  // namespace knet::bgp
