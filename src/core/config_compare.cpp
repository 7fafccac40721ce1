// What a changed network config means for nodes that run.
#include <fmt/core.h>

#include "core/config_pool.h"
#include "core/mode.h"

namespace knet {
namespace {

constexpr std::string_view kRejoin =
    "on every node: knet leave; then once: knet init --force with the new values; then on every node: knet join "
    "(pods keep their old addresses until they are made anew)";
constexpr std::string_view kRejoinOutside =
    "knet init --force with the new values; then on each node whose subnet is outside (knet subnet list): knet leave, "
    "knet join, "
    "and make its pods anew";
constexpr std::string_view kRestart =
    "knet init --force with the new values; then on every node: systemctl restart knet (two nodes reach each other's "
    "pods "
    "again when both are done)";

struct Pool {
  bool enabled;
  Prefix network;
  int length;
  IpAddr min, max;
};

Pool pool4(const NetworkConfig& config) {
  return {config.enable_v4, config.network, config.subnet_len, config.subnet_min, config.subnet_max};
}
Pool pool6(const NetworkConfig& config) {
  return {config.enable_v6, config.network6, config.subnet_len6, config.subnet_min6, config.subnet_max6};
}

void compare_pools(const Pool& from, const Pool& to, const PoolWords& words, std::string_view family,
                   std::vector<ConfigChange>& changes) {
  if (from.enabled != to.enabled) {
    changes.push_back({fmt::format("{} {} -> {}", family, from.enabled ? "on" : "off", to.enabled ? "on" : "off"),
                       false, std::string(kRejoin)});
    return;
  }
  if (!from.enabled) return;
  const bool wider =
      to.network.contains(from.network) && to.length == from.length && to.min <= from.min && to.max >= from.max;
  if (from.network != to.network) {
    const std::string what = fmt::format("{} {} -> {}", words.network, from.network.str(), to.network.str());
    changes.push_back({what, wider, wider ? "" : std::string(kRejoin)});
  }
  if (from.length != to.length) {
    changes.push_back({fmt::format("{} {} -> {}", words.length, from.length, to.length), false, std::string(kRejoin)});
  }
  // Bounds that only follow the network or the length are no change of their own.
  if (from.network != to.network || from.length != to.length) return;
  if (from.min != to.min) {
    const bool live = to.min < from.min;
    changes.push_back({fmt::format("{} {} -> {}", words.min, from.min.str(), to.min.str()), live,
                       live ? "" : std::string(kRejoinOutside)});
  }
  if (from.max != to.max) {
    const bool live = to.max > from.max;
    changes.push_back({fmt::format("{} {} -> {}", words.max, from.max.str(), to.max.str()), live,
                       live ? "" : std::string(kRejoinOutside)});
  }
}

}  // namespace

std::vector<ConfigChange> compare(const NetworkConfig& from, const NetworkConfig& to, const ModeRegistry& modes) {
  std::vector<ConfigChange> changes;
  compare_pools(pool4(from), pool4(to), {"Network", "SubnetLen", "SubnetMin", "SubnetMax"}, "IPv4", changes);
  compare_pools(pool6(from), pool6(to), {"IPv6Network", "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax"}, "IPv6",
                changes);
  if (from.mode != to.mode) {
    changes.push_back({fmt::format("Backend.Type {} -> {}", from.mode, to.mode), false,
                       fmt::format("knet mode set {} changes the nodes over one by one while pods talk", to.mode)});
  } else {
    for (const OptionSpec& spec : modes.get(to.mode).options()) {
      if (effective_option(from, spec) == effective_option(to, spec)) continue;
      const std::string before = shown_option(from, spec), after = shown_option(to, spec);
      changes.push_back({fmt::format("Backend.{} {} -> {}", spec.name, before.empty() ? "\"\"" : before,
                                     after.empty() ? "\"\"" : after),
                         spec.live, spec.live ? "" : std::string(kRestart)});
    }
  }
  if (from.masquerade != to.masquerade) {
    changes.push_back({fmt::format("Knet.Masquerade {} -> {}", from.masquerade, to.masquerade), true, ""});
  }
  return changes;
}

}  // namespace knet
