// The other side of a TUN device that the plane made: attaching to it, packets with their virtio-net headers.
#pragma once

#include "base/fd.h"
#include "core/netstate.h"

namespace knet {

/// A queue of the persistent device `dev` (IFF_TUN, no packet information, virtio-net headers, multi-queue), not blocking,
/// with the kernel told that we take super-packets and unfinished checksums. Never makes a device. Throws
/// Error{kernel}.
Fd attach_tun(const DevName& dev);

}  // namespace knet
