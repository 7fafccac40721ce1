// Lowers the MTU of a pod's veth: the pod's end first, so that it never sends what the host's end won't take. For
// LinuxPlane::apply, on its thread, which goes into the pod's namespace and comes back. It never raises an MTU.
#pragma once

#include "core/netstate.h"
#include "kernel/netlink.h"

namespace knet {

/// `host`: a rtnetlink socket of the host's namespace. A namespace or a device that is gone is no failure: the pod is on
/// its way out.
NlFailure lower_pod_mtu(NlSocket& host, const PodMtu& pod);

}  // namespace knet
