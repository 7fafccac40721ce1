// Writes subnet.env (core/subnet_env.h) where CNI and flannel's users look for it.
#pragma once

#include "agent/node.h"
#include "core/config.h"
#include "core/lease.h"
#include "core/subnet_env.h"

namespace knet {

/// Written only when its content changes.
bool write_subnet_env(const NodePaths& paths, const NetworkConfig& config, const Lease& lease, const ModeMtu& mtu);

/// Of a node that runs no pods: takes subnet.env away and leaves the reason where CNI finds it. Whether there was one.
bool refuse_pods(const NodePaths& paths, const std::string& why);

}  // namespace knet
