// The tunnels' path in the kernel: a tc program on the TUN device's egress that puts an outer header before a packet and
// sends it to the peer's node, and one on each uplink's ingress that takes it off (src/kernel/bpf/tunnel.c). The uplink's
// hangs on tcx (kernel 6.6), since a clsact that comes or goes loses what the device is just sending; on a clsact where
// there is one, or no tcx. Nothing is pinned: the attachments hold programs and maps, and both are found again by the
// filters' names (with tcx: in a map of its own), so the path outlives the agent. One thread at a time, in the network namespace of the socket that it is given. It never carries a packet
// itself. Sources: bpf(2), tc-bpf(8), include/uapi/linux/bpf.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/netstate.h"
#include "kernel/netlink.h"

namespace knet {

class LinkIndex;

/// What a tunnel's programs counted since its maps were made, over all CPUs.
struct TunnelCounter {
  DevName dev;            // the tunnel
  std::string_view name;  // "encapsulated", "unknown source", ...: kTunnelCounts in bpf_tunnel.cpp
  bool dropped = false;   // packets that went no further
  uint64_t packets = 0;
  uint64_t bytes = 0;     // of inner packets
};

/// The tunnels' filters of this namespace as they were found when it was made, and what is put in and taken out since.
/// For the time of one look or one apply: it keeps descriptors of maps.
class BpfTunnels {
 public:
  /// Looks at every device that may carry filters. `tcx`: whether it may be used for new ones, where the kernel has it.
  BpfTunnels(NlSocket& socket, const LinkIndex& links, bool tcx = true);
  ~BpfTunnels();
  BpfTunnels(const BpfTunnels&) = delete;
  BpfTunnels& operator=(const BpfTunnels&) = delete;

  /// False: a dump was interrupted or refused, there may be more filters.
  bool whole() const;
  /// Those with our name. digest 0 where one is not what its name says: another program than this knet's, a device's
  /// index that is no longer so, other maps than the tunnel's other end.
  std::vector<Filter> filters() const;
  /// The entries of each tunnel's maps; false if they could not all be read.
  bool peers(std::vector<TunnelPeer>& out) const;

  /// Makes the filter or takes the place of the one at its key in one step: the maps, with the peers, stay those of the
  /// tunnel's other end where there is one. Makes the device's clsact. The tunnel's device and the devices that carry
  /// `local` and `local6` must be there.
  NlFailure put(const Filter& filter);
  /// The last filter of all takes the device's clsact along, if we may have made it.
  NlFailure remove(const Filter& filter);
  /// Of a tunnel with a filter; ENOENT without.
  NlFailure put(const TunnelPeer& peer);
  NlFailure remove(const TunnelPeer& peer);

  std::vector<TunnelCounter> counters() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether the programs load and do to a packet what they shall (BPF_PROG_TEST_RUN; some kernels refuse only then).
/// Empty if all is well; else what refused: "BPF_PROG_LOAD: Operation not permitted". Changes nothing that stays.
std::string try_bpf_tunnel();

/// Of each tunnel that has filters in this namespace. Empty where nothing may be read.
std::vector<TunnelCounter> read_tunnel_counters();

}  // namespace knet
