// Membership: the peers' leases and nodes' records, kept from the store's snapshot and events. Pure state, no I/O.
// Foreign or corrupt keys are remembered by name with the reason, shown once, and never stop the others. A placeholder
// of a reservation (lease.h) is no peer, but taken. BGP's records that can't be read stay as they were last read.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/lease.h"
#include "core/records.h"
#include "core/view.h"

namespace knet {

struct StoreEvent {
  std::string key;
  std::string value;  // empty when deleted
  bool deleted = false;
  LeaseId lease = 0;
  Revision rev = 0;  // mod revision (of the delete too)
};

class Membership {
 public:
  Membership(StorePaths paths, const ModeRegistry& modes) : paths_(std::move(paths)), modes_(modes) {}

  /// What an event or a snapshot changed; the agent acts on it.
  struct Change {
    bool leases = false;
    bool config = false;
    bool nodes = false;
    bool reservations = false;
    bool own_lease = false;  // ours was changed, deleted or bound to another TTL lease by somebody
    bool schema = false;
    bool bgp = false;  // its settings, peers, nodes' specs and speakers, or who holds a subnet
    std::vector<std::string> problems;  // new ones, for the log: "subnets/10.5.x: not a subnet key"
  };
  /// Replaces all by a complete listing at `rev`; what is not in it is gone. Values that changed are noticed too.
  /// `own` is our lease as we last wrote it (no subnets: none): what is older than own.rev says nothing about it.
  Change replace(std::vector<StoreEvent> all, Revision rev, const Lease& own);
  Change apply(const StoreEvent& event, const Lease& own);

  const std::vector<Lease>& leases() const { return leases_; }  // all but none; sorted by (subnet, subnet6); ours too
  const std::map<std::string, NodeRecord>& nodes() const { return nodes_; }
  const std::map<std::string, Reservation>& reservations() const { return reservations_; }
  const BgpView& bgp() const { return bgp_; }  // nobody has joined there
  const std::string& config_json() const { return config_json_; }
  int schema() const { return schema_; }
  Revision rev() const { return rev_; }
  const std::map<std::string, std::string>& problems() const { return problems_; }  // key below the prefix -> why
  /// The latest revision that every other node with a lease says it has acted on; 0 while one of them gives no sign of
  /// life. The largest there is without any.
  Revision seen_by_all(const Lease& own) const;
  /// All subnets that `node` can't be given: of leases, placeholders, corrupt values, and what is reserved for other
  /// nodes.
  std::vector<Prefix> taken(std::string_view node) const;

  /// Peers (without view.self's lease), their names and BGP's records, put into the view; conflicts dropped. A peer's
  /// name is the holder's of its lease, else of the node that says that it has the subnet, else its address.
  void fill(ClusterView& view, std::vector<std::string>* dropped = nullptr) const;

 private:
  void take(const StoreEvent& event, const Lease& own, Change& change);
  void take_lease(const std::string& name, const StoreEvent& event, const Lease& own, Change& change);
  void take_config(const StoreEvent& event, Change& change);
  void take_node(const std::string& name, const StoreEvent& event, Change& change);
  void take_reservation(const std::string& name, const StoreEvent& event, Change& change);
  void take_schema(const std::string& name, const StoreEvent& event, Change& change);
  void take_bgp(const std::string& name, const StoreEvent& event, Change& change);
  void take_holder(const std::string& name, const StoreEvent& event, Change& change);
  void forget_bgp_but(const std::vector<std::string>& names);
  struct Holder {
    Prefix subnet, subnet6;
    std::string node;
    LeaseId lease = 0;  // of another one than the subnet's it speaks of an earlier holder
    bool operator==(const Holder&) const = default;
  };
  std::optional<Holder> read_holder(const std::string& name, const SubnetKey& key, const StoreEvent& event,
                                    Change& change);
  std::optional<Lease> read_lease(const std::string& name, const SubnetKey& key, const StoreEvent& event,
                                  Change& change);
  void report(const std::string& name, std::string why, Change& change);

  StorePaths paths_;
  const ModeRegistry& modes_;
  std::vector<Lease> leases_;
  std::vector<SubnetKey> blocked_;  // placeholders and corrupt values; sorted
  std::vector<Holder> holders_;  // sorted like leases_
  BgpView bgp_;
  std::map<std::string, NodeRecord> nodes_;
  std::map<std::string, Reservation> reservations_;
  std::map<std::string, std::string> problems_;
  std::string config_json_;
  std::string default_mode_ = "udp";
  int schema_ = kSchema;
  Revision rev_ = 0;
};

}  // namespace knet
