// The part of the desired state that is the same in every mode: the own subnet's blackhole, sysctls, masquerade,
// accepts in foreign forward chains, pods' host routes. Pure; used by compose() only.
#pragma once

#include "core/mode.h"
#include "core/plan.h"
#include "core/view.h"

namespace knet {

/// Of the own subnet's blackhole route: behind every route that may stand there (a bridge's connected route has 0 or
/// 256), and the pods' own routes are longer.
inline constexpr uint32_t kBlackholeMetric = 65535;
/// kube-proxy marks with this bit what it masquerades itself.
inline constexpr uint32_t kKubeMasqueradeMark = 0x4000;

void add_node_part(const ClusterView& view, const Origin& origin, DesiredState& out);
void add_pod_routes(const ClusterView& view, const Origin& origin, DesiredState& out);

/// No pod's MTU may be above what every mode that is sent by or received carries.
void add_pod_mtus(const ClusterView& view, const ModeMtu& mtu, const Origin& origin, DesiredState& out);

/// Table inet knet: each node masquerades its own pods when they leave the cluster; and what the modes added
/// (out.mode_rules, taken).
void add_node_table(const ClusterView& view, const Origin& origin, DesiredState& out);

}  // namespace knet
