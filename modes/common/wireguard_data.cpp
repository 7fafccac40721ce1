#include "modes/common/wireguard_data.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/text.h"
#include "core/json_scan.h"
#include "core/wireguard_key.h"

namespace knet {

std::string format_wireguard_data(const WireguardData& data) {
  return fmt::format(R"({{"PublicKey":"{}","Port":{}}})", format_wireguard_key(data.public_key), data.port);
}

WireguardData parse_wireguard_data(std::string_view json, std::string_view key) {
  if (json.empty() || json == "null") fail(ErrorKind::config, "it has no {} with a PublicKey", key);
  if (trim(json).empty() || trim(json).front() != '{') fail(ErrorKind::config, "{} is not an object", key);
  WireguardData data;
  bool has_key = false;
  JsonMembers members(json);
  while (const auto member = members.next()) {
    if (equals_ignoring_case(member->key, "PublicKey")) {
      const std::string text =
          member->type == JsonType::string ? json_unquote(member->text) : std::string(member->text);
      const auto public_key = member->type == JsonType::string ? parse_wireguard_key(text) : std::nullopt;
      if (!public_key || *public_key == WireguardKey{})
        fail(ErrorKind::config, "{}: PublicKey '{}' is not the base64 of a key of 32 bytes", key, printable(text));
      data.public_key = *public_key;
      has_key = true;
    } else if (equals_ignoring_case(member->key, "Port")) {
      if (member->type == JsonType::null) continue;
      const int64_t port = member->type == JsonType::number ? parse_int(member->text).value_or(-1) : -1;
      if (port < 0 || port > 65535)
        fail(ErrorKind::config, "{}: Port {} is not a number from 0 to 65535", key, printable(member->text));
      data.port = static_cast<uint16_t>(port);
    }
  }
  if (!has_key) fail(ErrorKind::config, "{} has no PublicKey", key);
  return data;
}

}  // namespace knet
