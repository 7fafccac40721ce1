#include "core/lease.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "core/json_scan.h"

namespace knet {
namespace {

constexpr size_t kLongestMode = 32;
constexpr size_t kLongestData = 16 * 1024;  // certificates of a foreign backend fit; a key must not cost megabytes

/// "10.5.66.0-24"; nothing unless it is the one canonical text of a masked prefix.
std::optional<Prefix> parse_half(std::string_view text) {
  const size_t dash = text.rfind('-');
  if (dash == std::string_view::npos || text.size() > 64) return std::nullopt;
  std::string slashed(text);
  slashed[dash] = '/';
  const auto prefix = Prefix::parse(slashed);
  if (!prefix || !prefix->is_masked() || prefix->str() != slashed) return std::nullopt;
  return prefix;
}

std::string half(const Prefix& prefix) { return fmt::format("{}-{}", prefix.addr().str(), prefix.length()); }

/// A node's address under `name`; unset for null and for the unspecified address.
IpAddr parse_address(const JsonMember& member, std::string_view name, Family family) {
  if (member.type == JsonType::null) return {};
  if (member.type != JsonType::string)
    fail(ErrorKind::config, "{} is {}, not an address", name, to_string(member.type));
  const std::string text = json_unquote(member.text);
  const auto ip = IpAddr::parse(text);
  if (!ip || ip->family() != family) {
    fail(ErrorKind::config, "{} is \"{}\", not an {} address", name, printable(text),
         family == Family::v4 ? "IPv4" : "IPv6");
  }
  if (ip->is_unspecified()) return {};
  if (ip->is_loopback() || ip->is_multicast()) {
    fail(ErrorKind::config, "{} is {}, which no node can have", name, ip->str());
  }
  return *ip;
}

std::string parse_mode(const JsonMember& member) {
  if (member.type == JsonType::null) return {};
  if (member.type != JsonType::string)
    fail(ErrorKind::config, "BackendType is {}, not a string", to_string(member.type));
  const std::string text = lower(json_unquote(member.text));
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  if (text.size() > kLongestMode || !std::all_of(text.begin(), text.end(), fits)) {
    fail(ErrorKind::config, "BackendType is \"{}\", not a mode's name", printable(text));
  }
  return text;
}

std::string parse_data(const JsonMember& member, std::string_view name) {
  if (member.type == JsonType::null) return {};
  if (member.text.size() > kLongestData) {
    fail(ErrorKind::config, "{} has {} bytes; at most {} are read", name, member.text.size(), kLongestData);
  }
  return json_compact(member.text);
}

void check_family(const Prefix& subnet, const IpAddr& public_ip, std::string_view name) {
  if (subnet && !public_ip) fail(ErrorKind::config, "{} is missing, but the key has the subnet {}", name, subnet.str());
}

}  // namespace

bool Lease::same_content(const Lease& other) const {
  return subnet == other.subnet && subnet6 == other.subnet6 && public_ip == other.public_ip &&
         public_ip6 == other.public_ip6 && mode == other.mode && data == other.data;
}

std::string format_subnet_key(const Prefix& subnet, const Prefix& subnet6) {
  if (!subnet6) return half(subnet);
  return fmt::format("{}&{}", subnet ? half(subnet) : "0.0.0.0-0", half(subnet6));
}

std::optional<SubnetKey> parse_subnet_key(std::string_view key) {
  const size_t both = key.find('&');
  const auto first = parse_half(key.substr(0, both));
  if (!first || !first->is_v4()) return std::nullopt;
  SubnetKey result{*first, {}};
  if (both != std::string_view::npos) {
    const auto second = parse_half(key.substr(both + 1));
    if (!second || !second->is_v6() || second->length() == 0) return std::nullopt;
    result.subnet6 = *second;
    if (first->length() == 0) result.subnet = {};
  }
  if (result.subnet && result.subnet.length() == 0) return std::nullopt;
  return result;
}

Lease placeholder(const SubnetKey& key) {
  Lease lease;
  lease.subnet = key.subnet;
  lease.subnet6 = key.subnet6;
  lease.mode = "alloc";
  return lease;
}

std::string format_lease(const Lease& lease) {
  std::string text =
      fmt::format(R"({{"PublicIP":"{}","PublicIPv6":)", lease.public_ip ? lease.public_ip.str() : "0.0.0.0");
  text += lease.public_ip6 ? json_quote(lease.public_ip6.str()) : "null";
  text += R"(,"BackendType":)" + json_quote(lease.mode);
  if (!lease.data.v4.empty()) text += R"(,"BackendData":)" + lease.data.v4;
  if (!lease.data.v6.empty()) text += R"(,"BackendV6Data":)" + lease.data.v6;
  return text += '}';
}

Lease parse_lease(const SubnetKey& key, std::string_view value, std::string_view default_mode) {
  Lease lease;
  lease.subnet = key.subnet;
  lease.subnet6 = key.subnet6;
  JsonMembers members(value);
  while (const auto member = members.next()) {
    if (equals_ignoring_case(member->key, "PublicIP")) {
      lease.public_ip = parse_address(*member, "PublicIP", Family::v4);
    } else if (equals_ignoring_case(member->key, "PublicIPv6")) {
      lease.public_ip6 = parse_address(*member, "PublicIPv6", Family::v6);
    } else if (equals_ignoring_case(member->key, "BackendType")) {
      lease.mode = parse_mode(*member);
    } else if (equals_ignoring_case(member->key, "BackendData")) {
      lease.data.v4 = parse_data(*member, "BackendData");
    } else if (equals_ignoring_case(member->key, "BackendV6Data")) {
      lease.data.v6 = parse_data(*member, "BackendV6Data");
    }
  }
  if (lease.mode.empty()) {
    lease.mode = default_mode;
    lease.mode_implied = true;
  }
  if (!lease.is_placeholder() || lease.mode != "alloc" || lease.mode_implied) {
    check_family(lease.subnet, lease.public_ip, "PublicIP");
    check_family(lease.subnet6, lease.public_ip6, "PublicIPv6");
  }
  return lease;
}

std::string subnets_text(const Lease& lease) {
  if (!lease.subnet6) return lease.subnet.str();
  if (!lease.subnet) return lease.subnet6.str();
  return lease.subnet.str() + " " + lease.subnet6.str();
}

}  // namespace knet
