// A wireguard peer's backend data in its lease, {"PublicKey":"...","Port":51820}: format and strict parse. Pure.
#pragma once

#include <string>
#include <string_view>

#include "core/netstate.h"

namespace knet {

struct WireguardData {
  WireguardKey public_key{};
  uint16_t port = 0;  // 0: not said, as nodes of older flannels do; the cluster's own counts
};

std::string format_wireguard_data(const WireguardData& data);
/// Throws Error{config}: no data, not an object, no PublicKey, or one that is not the base64 of 32 bytes, or a Port that
/// is none. Keys match as in Go's decoder, ignoring case; unknown ones are passed over. `key` names the data.
WireguardData parse_wireguard_data(std::string_view json, std::string_view key);

}  // namespace knet
