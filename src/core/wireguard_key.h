// A wireguard key as text: base64 of its 32 bytes, as `wg` writes it. Pure; private keys pass through here only on
// their way to and from their file.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/netstate.h"

namespace knet {

/// Nothing unless it is the canonical base64 of 32 bytes.
std::optional<WireguardKey> parse_wireguard_key(std::string_view text);
std::string format_wireguard_key(const WireguardKey& key);

}  // namespace knet
