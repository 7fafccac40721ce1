// NOTIFICATION, and its meaning in words (RFC 4271 4.5, RFC 4486, RFC 6608, RFC 7313, RFC 8538, RFC 9003).
#include <fmt/core.h>

#include <algorithm>

#include "bgp/message_attributes.h"

namespace knet::bgp {
namespace {

constexpr uint8_t kMaximumPrefixes = 1, kShutdown = 2, kReset = 4, kHardReset = 9;  // subcodes of cease (6)
constexpr size_t kLongestText = 255;
constexpr size_t kMostData = kMaxMessage - kHeaderSize - 2;

std::string_view code_name(uint8_t code) {
  switch (static_cast<ErrorCode>(code)) {
    case ErrorCode::header: return "message header error";
    case ErrorCode::open: return "OPEN message error";
    case ErrorCode::update: return "UPDATE message error";
    case ErrorCode::hold_timer: return "hold timer expired";
    case ErrorCode::state: return "state machine error";
    case ErrorCode::cease: return "cease";
    case ErrorCode::refresh: return "ROUTE-REFRESH message error";
    case ErrorCode::send_hold: return "send hold timer expired";
  }
  return {};
}

/// The names of a code's subcodes from 1 on.
std::span<const std::string_view> subcode_names(uint8_t code) {
  static constexpr std::string_view kHeader[] = {"connection not synchronized", "bad message length",
                                                 "bad message type"};
  static constexpr std::string_view kOpen[] = {"unsupported version",
                                               "bad peer AS",
                                               "bad BGP identifier",
                                               "unsupported optional parameter",
                                               "authentication failure",
                                               "unacceptable hold time",
                                               "unsupported capability",
                                               "",
                                               "",
                                               "",
                                               "role mismatch"};
  static constexpr std::string_view kUpdate[] = {"malformed attribute list",
                                                 "unrecognized well-known attribute",
                                                 "missing well-known attribute",
                                                 "attribute flags error",
                                                 "attribute length error",
                                                 "invalid ORIGIN",
                                                 "AS routing loop",
                                                 "invalid NEXT_HOP",
                                                 "optional attribute error",
                                                 "invalid network field",
                                                 "malformed AS_PATH"};
  static constexpr std::string_view kState[] = {"unexpected message in OpenSent", "unexpected message in OpenConfirm",
                                                "unexpected message in Established"};
  static constexpr std::string_view kCease[] = {"maximum number of prefixes reached",
                                                "administrative shutdown",
                                                "peer de-configured",
                                                "administrative reset",
                                                "connection rejected",
                                                "other configuration change",
                                                "connection collision resolution",
                                                "out of resources",
                                                "hard reset",
                                                "BFD down"};
  static constexpr std::string_view kRefresh[] = {"invalid message length"};
  switch (static_cast<ErrorCode>(code)) {
    case ErrorCode::header: return kHeader;
    case ErrorCode::open: return kOpen;
    case ErrorCode::update: return kUpdate;
    case ErrorCode::hold_timer: return {};
    case ErrorCode::send_hold: return {};
    case ErrorCode::state: return kState;
    case ErrorCode::cease: return kCease;
    case ErrorCode::refresh: return kRefresh;
  }
  return {};
}

/// The length of the UTF-8 sequence that begins here, 0 if it is none (overlong forms, surrogates, cut off).
size_t utf8_length(std::string_view text, char32_t& value) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) {
    value = first;
    return 1;
  }
  const size_t length = first >= 0xf0 && first < 0xf5   ? 4
                        : first >= 0xe0 && first < 0xf0 ? 3
                        : first >= 0xc2 && first < 0xe0 ? 2
                                                        : 0;
  if (length == 0 || text.size() < length) return 0;
  value = first & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3f);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  return overlong || value > 0x10ffff || (value >= 0xd800 && value < 0xe000) ? 0 : length;
}

/// Nothing that moves a terminal's cursor, ends the line or turns the direction of writing.
bool harmless(char32_t c) {
  if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xfeff) return false;
  return !(c >= 0x200b && c <= 0x200f) && !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2060 && c <= 0x206f);
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    char32_t value = 0;
    const size_t length = utf8_length(text, value);
    if (length > 0 && harmless(value)) {
      out += text.substr(0, length);
    } else {
      out += '?';
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

/// What the data says beyond code and subcode; "" if nothing for people.
std::string detail(const Notification& notification) {
  const auto& data = notification.data;
  const auto code = static_cast<ErrorCode>(notification.code);
  const uint8_t subcode = notification.subcode;
  if (code == ErrorCode::cease && (subcode == kShutdown || subcode == kReset)) {
    if (data.empty() || data[0] == 0) return "";
    const size_t length = std::min<size_t>(data[0], data.size() - 1);
    return printable({reinterpret_cast<const char*>(data.data()) + 1, length});
  }
  if (code == ErrorCode::cease && subcode == kMaximumPrefixes && data.size() == 7) {
    return fmt::format("limit {} of family {}/{}", get32(&data[3]), get16(data.data()), data[2]);
  }
  if (code == ErrorCode::header && subcode == header_error::kBadLength && data.size() == 2) {
    return fmt::format("{} bytes", get16(data.data()));
  }
  if (code == ErrorCode::header && subcode == header_error::kBadType && !data.empty()) {
    return fmt::format("type {}", data[0]);
  }
  if (code == ErrorCode::open && subcode == open_error::kVersion && data.size() == 2) {
    return fmt::format("it speaks version {}", get16(data.data()));
  }
  if (code == ErrorCode::update && subcode == update_error::kMissing && data.size() == 1)
    return attribute_name(data[0]);
  // The attribute in question as it was sent: flags, type, length, value.
  const bool of_attribute = subcode == update_error::kUnknownWellKnown ||
                            (subcode >= update_error::kFlags && subcode <= update_error::kOptional);
  if (code == ErrorCode::update && of_attribute && data.size() >= 3) return attribute_name(data[1]);
  return "";
}

std::string in_words(const Notification& notification, bool inside_hard_reset) {
  std::string text(code_name(notification.code));
  if (text.empty()) text = fmt::format("error {}", notification.code);
  const auto names = subcode_names(notification.code);
  if (notification.subcode > 0) {
    const bool known = notification.subcode <= names.size() && !names[notification.subcode - 1].empty();
    text += known ? fmt::format(", {}", names[notification.subcode - 1])
                  : fmt::format(", subcode {}", notification.subcode);
  }
  const bool hard = notification.code == static_cast<uint8_t>(ErrorCode::cease) && notification.subcode == kHardReset;
  std::string more;
  if (hard && !inside_hard_reset && notification.data.size() >= 2) {  // RFC 8538 section 3.1: another one inside
    const Notification inner{
        notification.data[0], notification.data[1], {notification.data.begin() + 2, notification.data.end()}};
    more = in_words(inner, true);
  } else if (!hard) {
    more = detail(notification);
  }
  return more.empty() ? text : text + ": " + more;
}

}  // namespace

std::string describe(const Notification& notification) { return in_words(notification, false); }

Notification cease(uint8_t subcode, std::string_view text) {
  Notification notification{static_cast<uint8_t>(ErrorCode::cease), subcode, {}};
  if (text.empty() || (subcode != kShutdown && subcode != kReset)) return notification;
  size_t length = std::min(text.size(), kLongestText);
  // No half of a character.
  while (length > 0 && length < text.size() && (static_cast<uint8_t>(text[length]) & 0xc0) == 0x80) --length;
  notification.data.resize(1 + length);
  notification.data[0] = static_cast<uint8_t>(length);
  std::copy_n(text.begin(), length, notification.data.begin() + 1);
  return notification;
}

Message decode_notification(Bytes body) { return Notification{body[0], body[1], {body.begin() + 2, body.end()}}; }

std::vector<uint8_t> encode(const Notification& notification) {
  const size_t data = std::min(notification.data.size(), kMostData);
  std::vector<uint8_t> body(2 + data);
  body[0] = notification.code;
  body[1] = notification.subcode;
  std::copy_n(notification.data.begin(), data, body.begin() + 2);
  return with_header(MessageType::notification, body);
}

}  // namespace knet::bgp
