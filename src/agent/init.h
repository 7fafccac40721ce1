// `knet init` and `knet config set`: the cluster's config into the store, after a look at what this host already uses.
// One thread; blocks. Nothing is written before everything was checked.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"
#include "core/plan.h"
#include "store/cluster_store.h"

namespace knet {

/// The pods' networks against what the host has. Refusals: an address of the host inside them, or a foreign route into
/// them. Notices: a wider foreign route or on-link net around them. Our devices and flannel's don't count.
struct HostClashes {
  std::vector<std::string> refusals;
  std::vector<std::string> notices;
};
HostClashes host_clashes(const NetworkConfig& config, const NetState& host);

struct InitOptions {
  NetworkConfig config;
  bool force = false;    // over a different config, and in spite of clashes
  bool dry_run = false;
};

struct InitReport {
  enum class Outcome { written, replaced, equal, not_written } outcome = Outcome::written;  // not_written: dry run
  std::string json;      // as it stands, or would
  std::string where;     // store, for people
  std::string key;
  bool embedded = false;
  std::vector<std::string> notices;
};

/// Throws Error{conflict} if a different config stands there (naming the differences), Error{config} for clashes.
InitReport run_init(ClusterStore& store, Plane& host, const ModeRegistry& modes, const InitOptions& options);

/// One "Key=Value" of `knet config set`: Network, SubnetLen ..., Masquerade, Mode, or an option of the mode (with or
/// without "Backend."). Keys match case-insensitively. Throws Error{usage}, Error{config}.
NetworkConfig with_changes(const NetworkConfig& config, const std::vector<std::string>& changes, const ModeRegistry& modes);

struct ConfigSetReport {
  std::vector<ConfigChange> changes;  // empty: all was so already
  std::string where;
  std::string key;
};

/// Compare-and-swap on what was read. Throws Error{config} if there is no config, Error{conflict} with the steps for
/// what can't be changed while nodes run, or if somebody else changed it meanwhile.
ConfigSetReport set_config(ClusterStore& store, const ModeRegistry& modes, const std::vector<std::string>& changes, bool dry_run);

}  // namespace knet
