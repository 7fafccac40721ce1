#include "modes/common/vtep_data.h"

#include <fmt/core.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace knet {

namespace {

constexpr uint32_t kMaxVni = 16777215;

void check_mac(const Mac& mac, std::string_view text, std::string_view key) {
  if (mac.is_zero() || (mac.bytes[0] & 1) != 0)
    fail(ErrorKind::config, "{}: VtepMAC '{}' is not a unicast MAC address", key, printable(text));
}

// The bytes that knet and flannel write; a JSON tree for each of thousands of peers would cost more than the rest.
std::optional<VtepData> parse_canonical(std::string_view json, std::string_view key) {
  constexpr std::string_view head = R"({"VNI":)", middle = R"(,"VtepMAC":")", tail = R"("})";
  constexpr size_t kMacText = 17;
  if (!json.starts_with(head)) return std::nullopt;
  json.remove_prefix(head.size());
  VtepData data;
  const auto [end, error] = std::from_chars(json.data(), json.data() + json.size(), data.vni);
  if (error != std::errc() || data.vni > kMaxVni) return std::nullopt;
  json.remove_prefix(static_cast<size_t>(end - json.data()));
  if (!json.starts_with(middle)) return std::nullopt;
  json.remove_prefix(middle.size());
  if (json.size() != kMacText + tail.size() || json.substr(kMacText) != tail) return std::nullopt;
  const auto mac = Mac::parse(json.substr(0, kMacText));
  if (!mac) return std::nullopt;
  data.mac = *mac;
  check_mac(data.mac, json.substr(0, kMacText), key);
  return data;
}

}  // namespace

std::string format_vtep_data(const VtepData& data) {
  return fmt::format(R"({{"VNI":{},"VtepMAC":"{}"}})", data.vni, data.mac.str());
}

VtepData parse_vtep_data(std::string_view json, std::string_view key) {
  if (json.empty() || json == "null") fail(ErrorKind::config, "it has no {} with a VtepMAC", key);
  if (const auto data = parse_canonical(json, key)) return *data;
  const nlohmann::json tree = parse_json(json, key);
  if (!tree.is_object()) fail(ErrorKind::config, "{} is not an object", key);
  VtepData data;
  bool has_mac = false;
  for (const auto& [name, value] : tree.items()) {
    if (equals_ignoring_case(name, "VNI")) {
      if (!value.is_number_unsigned() || value.get<uint64_t>() > kMaxVni)
        fail(ErrorKind::config, "{}: VNI {} is not a number from 0 to {}", key, printable(value.dump()), kMaxVni);
      data.vni = value.get<uint32_t>();
    } else if (equals_ignoring_case(name, "VtepMAC")) {
      const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      const auto mac = value.is_string() ? Mac::parse(text) : std::nullopt;
      if (!mac) fail(ErrorKind::config, "{}: VtepMAC '{}' is not a MAC address", key, printable(text));
      check_mac(*mac, text, key);
      data.mac = *mac;
      has_mac = true;
    }
  }
  if (!has_mac) fail(ErrorKind::config, "{} has no VtepMAC", key);
  return data;
}

}  // namespace knet
