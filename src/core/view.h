// ClusterView: all that compose() may look at, in one value. Made by the agent (or by a command straight from store
// and kernel), never changed in place by anybody who holds it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/bgp.h"
#include "core/config.h"
#include "core/endpoint.h"
#include "core/lease.h"
#include "core/netstate.h"

namespace knet {

/// The NIC that carries traffic to the other nodes, for one family.
struct Uplink {
  DevName dev;
  int index = 0;
  uint32_t mtu = 0;
  Prefix address;  // our address with the link's real prefix length: decides who is on link
};

/// What the running kernel offers, probed by src/kernel. Unknown is not missing: see `known`.
struct KernelFeatures {
  bool known = true;  // false: could not be probed (not root)
  bool vxlan = false;
  bool nexthops = false;
  bool nf_tables = false;
  bool tun = false;
  bool ipip = false;
  bool wireguard = false;
  bool bpf = false;        // programs of type sched_cls load
  bool bpf_tunnel = false; // the tunnels' own programs load and pass a packet self-test (BPF_PROG_TEST_RUN)
  std::string bpf_why;     // what refused, if bpf_tunnel is false: "BPF_PROG_LOAD: Operation not permitted"
  bool shortcut = false;   // established TCP can be carried past the stack (src/kernel/shortcut.h)
  std::string shortcut_why;  // what it lacks, if it can't: "this kernel has no tcx (kernel 6.6)"; empty too if not asked
  std::string release;     // uname -r
  bool operator==(const KernelFeatures&) const = default;
};

/// A route of the host's own (main table, another protocol than ours, outside of the cluster's networks), by which next
/// hops that are not on link are found.
struct HostRoute {
  Prefix dst;                    // length 0: the default route
  DevName dev;
  IpAddr via;                    // not set: on link
  uint32_t metric = 0;
  auto operator<=>(const HostRoute&) const = default;
};

/// This node. Host facts are those that compose's decisions rest on, taken from observe().
struct LocalNode {
  std::string name;
  std::string machine_id;
  std::string instance;           // of the machine: NodeRecord
  IpAddr public_ip, public_ip6;   // announced; differs from the uplink's address behind NAT
  Uplink uplink, uplink6;         // dev empty where the family is off
  Lease lease;                    // ours; subnet unset before there is one
  std::vector<std::string> receive;  // other modes that we announced before and still receive (design 6)
  bool forward_accept = true;        // --no-forward-accept clears it
  int rp_filter_all = 0;             // net.ipv4.conf.all.rp_filter as found
  bool may_lower_rp_filter = true;   // all.rp_filter=1 may be lowered to 2 with a notice
  std::vector<ForeignChain> forward_drops;
  bool runs_pods = true;
  KernelFeatures kernel;             // probed only where a mode in use asks (Mode::asks_kernel)
  WireguardKey wireguard_key{};      // public; zero before there is one
  std::string wireguard_key_file;    // the private one: <state-dir>/wg.key
  std::vector<HostRoute> host_routes;  // read only where a mode in use asks (Mode::asks_host_routes); sorted, at most 4,096
  bool restarted = false;            // an agent of this node ran in this mode since boot: a BGP peer may still hold our routes
};

/// A route learned by BGP. The next hops are BGP's own, not resolved yet.
struct LearnedRoute {
  Prefix dst;
  IpAddr next_hop;               // the best route's
  IpAddr peer;                   // who told it
  std::vector<IpAddr> others;    // ECMP: the further ones
  bool operator==(const LearnedRoute&) const = default;
};

struct ClusterView {
  NetworkConfig config;
  LocalNode self;
  std::vector<Lease> leases;         // peers only, sorted by (subnet, subnet6)
  std::vector<std::string> names;    // node name (or address) of each lease, same length; for people
  std::vector<Endpoint> endpoints;   // pods of this node
  BgpView bgp;
  std::shared_ptr<const std::vector<LearnedRoute>> learned;  // sorted by dst; null: nothing yet
  bool learned_whole = false;        // false: more may come after a start; nothing that is there is taken away for it
  Revision rev = 0;
};

/// Peers whose subnets or addresses clash with ours or with each other lose to the older revision; one bad peer never
/// stops the others. Returns one line per lease that was put out, and takes it out of the view.
std::vector<std::string> drop_conflicts(ClusterView& view);

}  // namespace knet
