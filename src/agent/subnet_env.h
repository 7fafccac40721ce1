// Writes subnet.env (core/subnet_env.h) where CNI and flannel's users look for it.
#pragma once

#include "agent/node.h"
#include "core/config.h"
#include "core/lease.h"
#include "core/subnet_env.h"

namespace knet {

/// Written only when its content changes.
bool write_subnet_env(const NodePaths& paths, const NetworkConfig& config, const Lease& lease, const ModeMtu& mtu);

/// Of a node that is to run no pods: leaves the reason where CNI finds it. Without a subnet subnet.env goes too.
enum class Subnet : bool { none, kept };
void refuse_pods(const NodePaths& paths, const std::string& why, Subnet subnet);

}  // namespace knet
