// The cluster's use cases over a Store: config, a node's lease and identity, presence, reservations, lists, removal.
// Every write is create-if-absent or compare-and-swap. Blocks like the Store below it and serves the same one thread.
// Never reads a clock: time that is left is asked of the store, and only by the list calls that want it.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bgp.h"
#include "core/config.h"
#include "core/lease.h"
#include "core/records.h"
#include "core/subnets.h"
#include "store/store.h"

namespace knet {

inline constexpr std::chrono::hours kLeaseTtl{24};
inline constexpr std::chrono::seconds kPresenceTtl{60};

struct ConfigText {
  std::string json;
  Revision rev = 0;
};

/// Our nodes/<name> as we last wrote it. Keep it between refreshes; `rev` 0 makes the next refresh look and write.
struct Presence {
  LeaseId lease = 0;
  Revision rev = 0;
  std::string value;
};

struct AcquireRequest {
  NodeRecord node;         // name, machine_id, addresses, labels, version; its subnets are not looked at
  NetworkConfig config;
  std::string mode;        // as announced
  BackendData data;
  SubnetChoice previous;   // from subnet.env or the cached view; may be unset
  std::function<uint64_t()> random = {};  // where to begin among the free ones; the system's if empty
};

struct Acquired {
  enum class How { adopted, reserved, previous, chosen } how;
  Lease lease;                       // lease_id 0: the subnet is reserved for this node, nothing to renew
  Presence presence;
  std::vector<std::string> notices;  // "10.244.3.0/24 taken over from n3, which is silent"
};

/// Our speakers/<node>, of a node without a subnet.
struct Speaking {
  LeaseId lease = 0;
  Revision rev = 0;
  std::string value;
  Presence presence;
};

/// One key of subnets/ and all that is known about who holds it.
struct LeaseRow {
  std::string key;                         // after "subnets/"
  Lease lease;
  std::string node;                        // "" if no knet node holds it: flanneld, or a reservation not in use
  std::string machine_id, version;         // of the holder
  bool alive = false;                      // the holder's presence is there
  std::optional<std::string> reserved_for; // node
  std::optional<std::chrono::seconds> left;  // of its TTL, if asked for; nothing for a lease-less one
  bool in_use() const { return !reserved_for || !node.empty(); }
};
struct LeaseTable {
  std::vector<LeaseRow> rows;         // by key
  std::vector<std::string> problems;  // "subnets/10.5.x: not a subnet key"
  Revision rev = 0;
};

/// joining: presence without a lease. gone: nothing but what `knet node set` said of it.
enum class NodeState { ready, silent, flannel, joining, gone };
struct NodeRow {
  std::string name;                  // or the address of a flannel node
  NodeState state = NodeState::ready;
  std::optional<NodeRecord> record;  // its presence
  std::vector<LeaseRow> leases;      // none while it joins
  std::optional<std::chrono::seconds> seen;  // since its last sign of life, if expiry was asked for
  std::string version;
  std::optional<NodeSpec> spec;      // what was set for it; of a node that is not there too (state gone)
  bool no_pods = false;              // it has no subnet and asks for none: speakers/<node>
};
struct NodeTable {
  std::vector<NodeRow> rows;  // by name
  std::vector<std::string> problems;
  Revision rev = 0;
};

struct ReservationRow {
  SubnetKey subnet;
  std::string key;   // after "reservations/"
  std::string node;
  bool in_use = false;
};

/// bgp/peers/ and specs/, with what of them could not be read.
struct BgpPeerTable {
  std::vector<BgpPeerSpec> rows;      // by name
  std::vector<std::string> problems;  // "knet/bgp/peers/tor1: ..."
};
struct NodeSpecTable {
  std::vector<NodeSpec> rows;  // by node
  std::vector<std::string> problems;
};

struct ClusterSnapshot;  // store/cluster_snapshot.h
struct Holding;

class ClusterStore {
 public:
  ClusterStore(Store& store, StorePaths paths) : store_(store), paths_(std::move(paths)) {}
  const StorePaths& paths() const { return paths_; }
  Store& store() { return store_; }

  std::optional<ConfigText> load_config();
  /// With the schema key beside it. Nothing if there is a config already.
  std::optional<Revision> create_config(const std::string& json);
  /// Nothing if it is not at `expected` any more.
  std::optional<Revision> swap_config(const std::string& json, Revision expected);
  /// Whatever is there now is replaced.
  Revision force_config(const std::string& json);
  /// What the store says; kSchema if it says nothing. Whatever writes a value (acquire, update, presence, config,
  /// reservation, removal) refuses to under a newer one with Error{unsupported}; what is there is kept alive all the same.
  int load_schema();

  /// Claims the name (presence), then a subnet: our own lease is adopted, else the reserved, the previous or a free one
  /// is taken; a lost race is run again while free ones are left. Also takes a lost lease again (previous = the lost one).
  /// Throws Error{conflict} if another live machine has our name or address, naming it, or if the pool is exhausted,
  /// naming who holds subnets silently and how to free them.
  Acquired acquire(const AcquireRequest& request);
  /// Writes new content (address, mode, data) under the same subnet and TTL lease. Nothing: it was changed or is gone.
  std::optional<Lease> update_lease(const Lease& ours, const Lease& content);
  /// False: the lease has ended; acquire again. A reserved subnet has nothing to renew.
  bool renew(const Lease& ours);
  /// Gives the subnet and the presence back; a reservation stays, unheld. False if the subnet was not ours any more.
  bool release(const Lease& ours, const std::string& node);

  /// Keeps nodes/<name> alive and writes it if it differs from what we wrote last. Throws Error{conflict} if another
  /// machine has the name.
  void refresh(const NodeRecord& node, Presence& presence);

  /// `config_mode`: the config's Backend.Type, for leases that name none. `with_expiry` asks the store once per lease.
  LeaseTable list_leases(std::string_view config_mode, bool with_expiry);
  NodeTable list_nodes(std::string_view config_mode, bool with_expiry);
  std::vector<ReservationRow> list_reservations();

  /// Keeps a subnet for a node, held by it already or free. Throws Error{usage} if it does not fit the config and
  /// Error{conflict} naming who has it or what overlaps. False: it was reserved for that node before.
  bool reserve(const NetworkConfig& config, const SubnetChoice& subnet, const std::string& node);
  /// False: there is no such reservation. A lease in use goes on with a TTL.
  bool unreserve(const std::string& key);

  struct Removal {
    bool reservation = false;  // give up its reservations too
    bool force = false;        // also where life can't be seen (flanneld)
  };
  /// bgp/config; what is not set there, or no such key: the usual values. Throws Error{config} naming the key if it can't
  /// be read.
  BgpConfig load_bgp_config();
  /// Reads, lets `change` alter it, writes by compare-and-swap, again if somebody else was first. An unreadable value is
  /// not overwritten: Error{config}. False: `change` altered nothing, nothing was written. `change` may throw.
  bool update_bgp_config(const std::function<void(BgpConfig&)>& change);
  BgpPeerTable list_bgp_peers();
  /// False: there is a peer of that name.
  bool create_bgp_peer(const BgpPeerSpec& peer);
  /// Nothing: there is none. Else whether it differs now. `change` may not touch the name.
  std::optional<bool> update_bgp_peer(const std::string& name, const std::function<void(BgpPeerSpec&)>& change);
  /// False: there is none. One that can't be read can be removed too.
  bool remove_bgp_peer(const std::string& name);
  NodeSpecTable list_node_specs();
  /// Creates it if there is none, removes it if nothing is set any more. False: nothing was altered. An unreadable one is
  /// an Error{config}.
  bool update_node_spec(const std::string& node, const std::function<void(NodeSpec&)>& change);

  /// Takes part without a subnet: claims the name (presence), gives back what subnet this node holds, and writes
  /// speakers/<node> under a TTL lease of its own. Throws Error{conflict} if another live machine has our name.
  Speaking speak(const NodeRecord& node);
  /// Writes the record if it differs from what was written last. Nothing: it is gone or somebody else's; speak again.
  std::optional<Speaking> update_speaking(const Speaking& ours, const NodeRecord& node);
  /// False: it has ended; speak again.
  bool renew(const Speaking& ours);
  /// Takes speakers/<node> away, if it is there and this machine's.
  bool end_speaking(const std::string& node, const std::string& machine_id);

  /// Frees what a dead node left: leases, records, endpoints, and what `knet node set` said of it. `name` is a node's name or a flannel node's address.
  /// What was removed, for people; empty if nothing of that name is known. Throws Error{conflict} for a live node.
  std::vector<std::string> remove_node(const std::string& name, const Removal& options);

 private:
  void check_schema();
  /// Writes nodes/<name> under `lease` (0: a new one). Throws Error{conflict} if another machine has it.
  Presence claim_name(const NodeRecord& node, LeaseId lease, bool* made = nullptr);
  /// One try on one snapshot; nothing: a race was lost, look again.
  std::optional<Acquired> try_acquire(const AcquireRequest& request, const ClusterSnapshot& seen, LeaseId& granted);
  std::optional<Lease> adopt(const AcquireRequest& request, const Holding& ours, LeaseId& granted);
  /// False: another got the same subnet of one family in the same moment, and was first.
  bool stands_alone(const AcquireRequest& request, const Lease& lease);

  Store& store_;
  StorePaths paths_;
};

}  // namespace knet
