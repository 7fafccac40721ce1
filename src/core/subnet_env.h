// subnet.env: flannel's format, which CNI plugins, docker and scripts read. Values and codec; no fd.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/mode.h"

namespace knet {

struct SubnetEnv {
  Prefix network, network6;
  Prefix subnet, subnet6;   // as networks, not as the gateway's address that the file holds
  ModeMtu mtu;
  bool masquerade = false;
};

/// FLANNEL_* lines in flannel's order; with both families KNET_MTU_V4 and KNET_MTU_V6 besides, since they differ.
std::string format_subnet_env(const SubnetEnv& env);
/// Unknown lines are passed over; nothing if no subnet can be read.
std::optional<SubnetEnv> parse_subnet_env(std::string_view text);

}  // namespace knet
