// A store opened with its cluster's config: what commands over leases and nodes begin with. One thread.
#pragma once

#include <memory>
#include <string>

#include "core/config.h"
#include "store/cluster_store.h"

namespace knet {

struct OpenCluster {
  /// Throws Error{store}, or Error{config} if there is no config or it can't be read.
  explicit OpenCluster(const StoreOptions& options);

  std::unique_ptr<Store> store;
  ClusterStore cluster;
  NetworkConfig config;
};

/// "pool: 250 of 254 /24 free", of the family that the cluster has (IPv4 if both).
std::string pool_text(const NetworkConfig& config, const LeaseTable& leases);

/// Of an address or prefix, for JSON: "" where it is unset, never a dash.
template <typename T>
std::string text_of(const T& address) {
  return address ? address.str() : std::string();
}

}  // namespace knet
