#include "core/subnet_env.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"

namespace knet {
namespace {

// The file holds the subnet's first host address, which bridges and docker take as theirs.
std::string gateway(const Prefix& subnet) { return Prefix(subnet.addr().plus(1), subnet.length()).str(); }

}  // namespace

std::string format_subnet_env(const SubnetEnv& env) {
  std::string out;
  if (env.network) out += fmt::format("FLANNEL_NETWORK={}\n", env.network.str());
  if (env.subnet) out += fmt::format("FLANNEL_SUBNET={}\n", gateway(env.subnet));
  if (env.network6) out += fmt::format("FLANNEL_IPV6_NETWORK={}\n", env.network6.str());
  if (env.subnet6) out += fmt::format("FLANNEL_IPV6_SUBNET={}\n", gateway(env.subnet6));
  uint32_t both = env.mtu.v4 ? env.mtu.v4 : env.mtu.v6;
  if (env.mtu.v4 && env.mtu.v6) both = std::min(env.mtu.v4, env.mtu.v6);
  out += fmt::format("FLANNEL_MTU={}\nFLANNEL_IPMASQ={}\n", both, env.masquerade);
  if (env.subnet && env.subnet6) out += fmt::format("KNET_MTU_V4={}\nKNET_MTU_V6={}\n", env.mtu.v4, env.mtu.v6);
  return out;
}

std::optional<SubnetEnv> parse_subnet_env(std::string_view text) {
  SubnetEnv env;
  uint32_t both = 0;
  for (std::string_view line : split(text, '\n')) {
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view key = trim(line.substr(0, equals));
    const std::string_view value = trim(line.substr(equals + 1));
    auto prefix = [&] { return Prefix::parse(value).value_or(Prefix{}).masked(); };
    auto number = [&] { return static_cast<uint32_t>(std::clamp<int64_t>(parse_int(value).value_or(0), 0, 65535)); };
    if (key == "FLANNEL_NETWORK") env.network = prefix();
    else if (key == "FLANNEL_SUBNET") env.subnet = prefix();
    else if (key == "FLANNEL_IPV6_NETWORK") env.network6 = prefix();
    else if (key == "FLANNEL_IPV6_SUBNET") env.subnet6 = prefix();
    else if (key == "FLANNEL_MTU") both = number();
    else if (key == "KNET_MTU_V4") env.mtu.v4 = number();
    else if (key == "KNET_MTU_V6") env.mtu.v6 = number();
    else if (key == "FLANNEL_IPMASQ") env.masquerade = value == "true";
  }
  if (!env.subnet && !env.subnet6) return std::nullopt;
  if (env.subnet && !env.mtu.v4) env.mtu.v4 = both;
  if (env.subnet6 && !env.mtu.v6) env.mtu.v6 = both;
  return env;
}

}  // namespace knet
