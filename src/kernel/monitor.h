// Kernel notifications (rtnetlink and nf_tables multicast groups) folded into "these kinds are dirty". For the agent's
// epoll loop; one thread. An event only marks: what is true is read by observe(). Any link or address event dirties
// everything on it; ENOBUFS dirties all; what our own sockets caused is ignored (nlmsg_pid), own nft commits too.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/netstate.h"

namespace knet {

class KernelMonitor {
 public:
  /// `own_ports`: LinuxPlane::own_ports().
  explicit KernelMonitor(std::vector<uint32_t> own_ports);
  ~KernelMonitor();
  int fd() const;  // readable when there are events; level-triggered
  /// Drains the sockets; empty if nothing of interest happened.
  Kinds drain();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace knet
