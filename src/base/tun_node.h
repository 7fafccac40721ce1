// Opens the TUN driver's control node. Any thread. Where the node is missing, as in containers, a private one is made
// and taken away again.
#pragma once

#include "base/fd.h"

namespace knet {

/// Read and write, close-on-exec, in the calling thread's network namespace: that is where its devices will be. `flags`
/// are added (O_NONBLOCK). Throws Error{kernel} that says what to do.
Fd open_tun_node(int flags = 0);

}  // namespace knet
