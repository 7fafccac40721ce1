#include "agent/subnet_env.h"

#include "base/file.h"
#include "core/subnet_env.h"

namespace knet {

bool write_subnet_env(const NodePaths& paths, const NetworkConfig& config, const Lease& lease, const ModeMtu& mtu) {
  SubnetEnv env;
  env.network = config.enable_v4 ? config.network : Prefix{};
  env.network6 = config.enable_v6 ? config.network6 : Prefix{};
  env.subnet = lease.subnet;
  env.subnet6 = lease.subnet6;
  env.mtu = mtu;
  env.masquerade = config.masquerade;
  // Not durable: it lives on tmpfs, and CNI waits for it.
  return write_file(paths.subnet_env(), format_subnet_env(env), 0644, false);
}

void refuse_pods(const NodePaths& paths, const std::string& why, Subnet subnet) {
  write_file(paths.no_pods(), why + "\n", 0644, false);
  if (subnet == Subnet::none) remove_file(paths.subnet_env());
}

}  // namespace knet
