// This node's wireguard key: <state-dir>/wg.key, mode 0600, base64 and a newline as `wg genkey` writes it. Made once and
// kept over restarts; the private key is never held longer than it takes to tell the public one, and never logged.
#pragma once

#include "agent/node.h"
#include "core/view.h"

namespace knet {

enum class MakeKey : uint8_t { no, yes, for_show };  // for_show: one that is not kept, for a dry run

/// Fills self.wireguard_key and wireguard_key_file. Where the config's mode, or one of its earlier ones, is wireguard and
/// there is no key yet, `make` makes one. No key, or one that this user may not read, leaves the public one zero.
/// Throws Error{config} if the file holds no key, Error{kernel} if it can't be written.
void know_wireguard_key(LocalNode& self, const NodePaths& paths, const NetworkConfig& config, MakeKey make);

}  // namespace knet
