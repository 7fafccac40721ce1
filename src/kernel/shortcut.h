// The shortcut: a BPF program (src/kernel/bpf/shortcut.c) at the ingress of pods' links and uplinks that carries
// established TCP connections past the stack, by conntrack's and the routing table's word, which counts for 50 ms. It
// hangs on tcx (kernel 6.6) and is pinned nowhere: the attachments hold it, so it outlives the agent. One program
// serves all devices. One thread at a time, in the network namespace of the caller. Sources: bpf(2),
// Documentation/networking/nf_flowtable.rst, Documentation/networking/nf_conntrack-sysctl.rst.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/netstate.h"
#include "kernel/bpf_syscall.h"
#include "kernel/netlink.h"
#include "kernel/rtnl_read.h"

namespace knet {

/// The shortcuts of this namespace as they were found when it was made, and what is put and removed since. For the time
/// of one look or one apply.
class Shortcuts {
 public:
  Shortcuts(NlSocket& socket, const LinkIndex& links);

  /// False: not all could be asked about.
  bool whole() const { return whole_; }
  /// Those that are attached, and hindered ones for the devices where somebody else's filters would be passed by.
  std::vector<Shortcut> found() const;
  /// Attaches it, or takes the place of one that is not intact; where it is hindered, takes it away. What passes the
  /// stack by is no longer counted by conntrack: its check of TCP windows is made liberal, as the kernel's flow offload
  /// does for its connections (nf_conntrack_tcp_be_liberal).
  NlFailure put(const Shortcut& shortcut);
  NlFailure remove(const Shortcut& shortcut);

  struct Taken {
    uint64_t packets = 0, bytes = 0;
  };
  /// What all of them together carried, since the first was attached.
  Taken taken() const;

 private:
  struct Found {
    DevName dev;
    int index = 0;
    uint32_t program = 0;  // 0: none
    bool ours = false;     // made by this knet, with its maps
    bool hindered = false;
    bool direct = false;   // nothing waits on its egress: what goes out by it may go right into the pod
    bool entered = false;  // and does
  };
  Found* at(const DevName& dev);
  bool is_current(uint32_t program);
  bool is_entered(const Found& one);
  NlFailure enter(Found& one, bool direct);
  Fd program();

  std::vector<Found> found_;                       // each device that may have one
  std::vector<std::pair<uint32_t, bool>> judged_;  // programs, and whether each is this knet's
  Fd direct_;                                      // a program's map, and the program
  uint32_t direct_of_ = 0;
  bool whole_ = true;
  bool liberal_ = false;
};

/// Whether the program loads and runs here; empty if it does, else what it lacks: "no tcx (kernel 6.6)".
std::string try_shortcut();

/// Of this namespace, found() and taken().
std::vector<Shortcut> read_shortcuts();
Shortcuts::Taken read_shortcut_counters();

}  // namespace knet
