#include "commands/common/cluster.h"

#include "base/error.h"
#include "core/mode.h"

namespace knet {

OpenCluster::OpenCluster(const StoreOptions& options)
    : store(open_store(options)), cluster(*store, StorePaths{options.prefix}) {
  const std::optional<ConfigText> text = cluster.load_config();
  if (!text)
    fail(ErrorKind::config, "{} holds no network config at {}; write one with: knet init --store {} --network 10.244.0.0/16",
         store->where(), cluster.paths().config(), options.url);
  config = parse_network_config(text->json, mode_registry());
}

std::string pool_text(const NetworkConfig& config, const LeaseTable& leases) {
  const Family family = config.enable_v4 ? Family::v4 : Family::v6;
  std::vector<Prefix> taken;
  for (const LeaseRow& row : leases.rows)
    if (const Prefix& subnet = config.enable_v4 ? row.lease.subnet : row.lease.subnet6) taken.push_back(subnet);
  return fmt::format("pool: {} of {} /{} free", free_subnets(config, taken, family), pool_size(config, family),
                     config.enable_v4 ? config.subnet_len : config.subnet_len6);
}

}  // namespace knet
