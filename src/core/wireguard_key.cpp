#include "core/wireguard_key.h"

#include <algorithm>

#include "base/base64.h"

namespace knet {

std::optional<WireguardKey> parse_wireguard_key(std::string_view text) {
  const auto bytes = base64_decode(text);
  WireguardKey key;
  if (!bytes || bytes->size() != key.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), key.begin());
  return key;
}

std::string format_wireguard_key(const WireguardKey& key) {
  return base64_encode(std::string_view(reinterpret_cast<const char*>(key.data()), key.size()));
}

}  // namespace knet
