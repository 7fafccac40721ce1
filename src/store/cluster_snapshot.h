// What the store says about leases, who holds them, presence and reservations, joined; for ClusterStore's use cases.
// Read range by range: a decision made on it is only as good as the compare-and-swap that follows.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bgp.h"
#include "core/lease.h"
#include "core/records.h"
#include "store/store.h"

namespace knet {

/// Beside each lease that knet takes stands holders/<subnet key>, a node record under the same TTL lease: who holds it,
/// which presence alone, gone after a minute, could not say of a silent node.
inline std::string holder_path(const StorePaths& paths, std::string_view key) {
  return paths.holders() + std::string(key);
}

/// One well-named key of subnets/.
struct Holding {
  std::string key;
  SubnetKey subnet;
  Lease lease;             // with subnets only if the value could not be read
  bool readable = true;
  LeaseId ttl = 0;
  Revision create_rev = 0, mod_rev = 0;
  std::optional<NodeRecord> holder;
  Revision holder_rev = 0;  // of the holder's key, also where that is unreadable or left over; 0: none
  std::optional<std::string> reserved_for;
  bool unheld() const { return reserved_for && !holder && readable && lease.is_placeholder(); }
};

struct PresentNode {
  NodeRecord record;
  Revision create_rev = 0;
  LeaseId ttl = 0;
};

struct ClusterSnapshot {
  std::vector<Holding> holdings;                    // by key
  std::map<std::string, PresentNode> nodes;         // by name
  std::map<std::string, PresentNode> speakers;      // nodes without a subnet, by name
  std::map<std::string, NodeSpec> specs;            // by node
  std::map<std::string, Reservation> reservations;  // by subnet key
  std::map<std::string, Revision> reservation_revs;
  std::vector<std::string> problems;
  Revision rev = 0;

  const Holding* find(std::string_view key) const;
  /// The presence of this record's machine.
  bool alive(const NodeRecord& record) const;
};

/// Unknown ids match: a machine without one must not be refused for it.
bool same_machine(std::string_view a, std::string_view b);

ClusterSnapshot read_cluster(Store& store, const StorePaths& paths, std::string_view config_mode);

}  // namespace knet
