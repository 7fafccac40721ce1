// The userspace side of a tunnel of ours (udp, ipip): a mode's Service that moves packets between the TUN device and
// the underlay's sockets on a thread of its own, or, beside the kernel's BPF path, answers for what that passes on. It
// follows DesiredState::pumps; it never makes or deletes a device and never looks at the store.
#pragma once

#include <memory>

#include "core/mode.h"

namespace knet {

/// Carries what DesiredState::pumps says for device `dev`, and nothing while there is no such pump. A device or an
/// address that is not there yet is tried again until it is; meanwhile troubles() tells.
std::unique_ptr<Service> make_tunnel_service(DevName dev);

}  // namespace knet
