// ClusterStore's lists, reservations and removal: what commands ask.
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "store/cluster_snapshot.h"
#include "store/cluster_store.h"

namespace knet {

namespace {

using What = Store::Change::What;
constexpr int kTries = 50;

LeaseRow row_of(const Holding& holding, const ClusterSnapshot& seen) {
  LeaseRow row;
  row.key = holding.key;
  row.lease = holding.lease;
  row.reserved_for = holding.reserved_for;
  if (holding.holder) {
    row.node = holding.holder->name;
    row.machine_id = holding.holder->machine_id;
    row.version = holding.holder->version;
    row.alive = seen.alive(*holding.holder);
  }
  return row;
}

std::string holder_text(const Holding& holding) {
  if (holding.holder) return holding.holder->name;
  if (holding.unheld()) return *holding.reserved_for + " (reserved)";
  IpAddr at = holding.lease.public_ip ? holding.lease.public_ip : holding.lease.public_ip6;
  return at ? at.str() + " (no record: flanneld?)" : "somebody (no record)";
}

bool overlap(const SubnetKey& a, const SubnetKey& b) {
  auto both = [](const Prefix& x, const Prefix& y) { return x && y && x.overlaps(y); };
  return both(a.subnet, b.subnet) || both(a.subnet6, b.subnet6);
}

}  // namespace

LeaseTable ClusterStore::list_leases(std::string_view config_mode, bool with_expiry) {
  ClusterSnapshot seen = read_cluster(store_, paths_, config_mode);
  LeaseTable table;
  table.rev = seen.rev;
  table.problems = std::move(seen.problems);
  for (const Holding& holding : seen.holdings) {
    if (!holding.readable) continue;
    LeaseRow row = row_of(holding, seen);
    if (with_expiry && holding.ttl != 0) row.left = store_.time_left(holding.ttl);
    table.rows.push_back(std::move(row));
  }
  return table;
}

NodeTable ClusterStore::list_nodes(std::string_view config_mode, bool with_expiry) {
  ClusterSnapshot seen = read_cluster(store_, paths_, config_mode);
  NodeTable table;
  table.rev = seen.rev;
  table.problems = std::move(seen.problems);
  std::map<std::string, NodeRow> rows;
  for (const Holding& holding : seen.holdings) {
    if (!holding.readable || holding.unheld()) continue;
    LeaseRow lease = row_of(holding, seen);
    if (with_expiry && holding.ttl != 0) lease.left = store_.time_left(holding.ttl);
    IpAddr at = holding.lease.public_ip ? holding.lease.public_ip : holding.lease.public_ip6;
    std::string name = holding.holder ? holding.holder->name : at.str();
    NodeRow& row = rows[name];
    row.state = !holding.holder ? NodeState::flannel : lease.alive ? NodeState::ready : NodeState::silent;
    row.version = lease.version;
    // A silent node's lease was last renewed so long ago, if its TTL is ours.
    if (row.state == NodeState::silent && lease.left && *lease.left <= kLeaseTtl) row.seen = kLeaseTtl - *lease.left;
    row.leases.push_back(std::move(lease));
  }
  for (auto& [name, node] : seen.nodes) {
    NodeRow& row = rows[name];
    if (row.leases.empty() && !seen.speakers.contains(name)) row.state = NodeState::joining;
    row.version = node.record.version;
    if (with_expiry && node.ttl != 0) {
      std::optional<std::chrono::seconds> left = store_.time_left(node.ttl);
      if (left && *left <= kPresenceTtl) row.seen = kPresenceTtl - *left;
    }
    row.record = std::move(node.record);
  }
  for (auto& [name, node] : seen.speakers) {
    NodeRow& row = rows[name];
    if (!row.leases.empty()) continue;  // left over
    row.no_pods = true;
    row.version = node.record.version;
    if (!row.record) row.state = NodeState::silent;
    if (!row.record && with_expiry && node.ttl != 0) {
      std::optional<std::chrono::seconds> left = store_.time_left(node.ttl);
      if (left && *left <= kLeaseTtl) row.seen = kLeaseTtl - *left;
    }
  }
  for (auto& [name, spec] : seen.specs) {
    const bool there = rows.contains(name);
    NodeRow& row = rows[name];
    if (!there) row.state = NodeState::gone;
    row.spec = std::move(spec);
  }
  for (auto& [name, row] : rows) {
    row.name = name;
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<ReservationRow> ClusterStore::list_reservations() {
  std::vector<ReservationRow> rows;
  ClusterSnapshot seen = read_cluster(store_, paths_, "");
  for (const auto& [key, reservation] : seen.reservations) {
    const Holding* there = seen.find(key);
    rows.push_back({*parse_subnet_key(key), key, reservation.node, there && there->holder && there->holder->name == reservation.node});
  }
  return rows;
}

bool ClusterStore::reserve(const NetworkConfig& config, const SubnetChoice& subnet, const std::string& node) {
  check_schema();
  check_node_name(node);
  SubnetKey wanted{subnet.subnet, subnet.subnet6};
  std::string text = subnets_text(placeholder(wanted));
  if (!fits(config, subnet)) {
    std::string pool = config.enable_v4 ? fmt::format("a /{} of {} from {} to {}", config.subnet_len, config.network.str(),
                                                      config.subnet_min.str(), config.subnet_max.str())
                                        : std::string();
    if (config.enable_v6)
      pool += fmt::format("{}a /{} of {} from {} to {}", pool.empty() ? "" : " and ", config.subnet_len6, config.network6.str(),
                          config.subnet_min6.str(), config.subnet_max6.str());
    fail(ErrorKind::usage, "{} is not a subnet of this cluster; give {}", text, pool);
  }
  std::string key = format_subnet_key(subnet.subnet, subnet.subnet6);
  std::string record = format_reservation({node});
  for (int i = 0; i < kTries; ++i) {
    ClusterSnapshot seen = read_cluster(store_, paths_, config.mode);
    if (auto it = seen.reservations.find(key); it != seen.reservations.end()) {
      if (it->second.node == node) return false;
      fail(ErrorKind::conflict, "{} is reserved for {}; give it up first with: knet subnet release {}", text, it->second.node,
           subnet.subnet ? subnet.subnet.str() : subnet.subnet6.str());
    }
    for (const Holding& other : seen.holdings)
      if (other.key != key && overlap(other.subnet, wanted))
        fail(ErrorKind::conflict, "{} overlaps {}, which {} holds", text, subnets_text(other.lease), holder_text(other));
    std::vector<Store::Change> changes{{What::create, paths_.reservation(key), record, 0, 0}};
    const Holding* there = seen.find(key);
    if (!there) {
      changes.push_back({What::create, paths_.subnet(key), format_lease(placeholder(wanted)), 0, 0});
    } else if (there->holder && there->holder->name == node) {
      changes.push_back({What::swap, paths_.subnet(key), format_lease(there->lease), there->mod_rev, 0});
      changes.push_back({What::swap, holder_path(paths_, key), format_node(*there->holder), there->holder_rev, 0});
    } else if (there->ttl == 0 && there->readable && there->lease.is_placeholder()) {
      // Reserved by hand as flannel's documents have it: a key without a lease. It gets its record.
      changes.push_back({What::swap, paths_.subnet(key), format_lease(placeholder(wanted)), there->mod_rev, 0});
    } else {
      fail(ErrorKind::conflict, "{} is held by {}; reserve it for that node, or free it first with: knet node remove", text,
           holder_text(*there));
    }
    if (store_.commit(changes)) return true;
  }
  fail(ErrorKind::conflict, "{}: {} is changed by others all the time; try again", store_.where(), paths_.subnet(key));
}

bool ClusterStore::unreserve(const std::string& key) {
  check_schema();
  for (int i = 0; i < kTries; ++i) {
    ClusterSnapshot seen = read_cluster(store_, paths_, "");
    auto it = seen.reservation_revs.find(key);
    if (it == seen.reservation_revs.end()) return false;
    std::vector<Store::Change> changes{{What::remove, paths_.reservation(key), "", it->second, 0}};
    const Holding* there = seen.find(key);
    LeaseId ttl = 0;
    if (there && there->unheld()) {
      changes.push_back({What::remove, paths_.subnet(key), "", there->mod_rev, 0});
    } else if (there && there->holder && there->readable && there->ttl == 0) {
      ttl = store_.grant(kLeaseTtl);
      changes.push_back({What::swap, paths_.subnet(key), format_lease(there->lease), there->mod_rev, ttl});
      changes.push_back({What::swap, holder_path(paths_, key), format_node(*there->holder), there->holder_rev, ttl});
    }
    if (store_.commit(changes)) return true;
    if (ttl != 0) store_.revoke(ttl);
  }
  fail(ErrorKind::conflict, "{}: {} is changed by others all the time; try again", store_.where(), paths_.reservation(key));
}

std::vector<std::string> ClusterStore::remove_node(const std::string& name, const Removal& options) {
  check_schema();
  std::vector<std::string> removed;
  ClusterSnapshot seen = read_cluster(store_, paths_, "");
  auto present = seen.nodes.find(name);
  if (present != seen.nodes.end() && !options.force)
    fail(ErrorKind::conflict, "{} is alive; run `knet leave` on it, or stop its agent and wait {} s", name, kPresenceTtl.count());
  std::optional<IpAddr> address = IpAddr::parse(name);

  for (const Holding& holding : seen.holdings) {
    bool named = holding.holder && holding.holder->name == name;
    bool by_address = address && (holding.lease.public_ip == *address || holding.lease.public_ip6 == *address);
    if (!named && !by_address) continue;
    if (!named && holding.holder)
      fail(ErrorKind::conflict, "{} is the address of {}; run: knet node remove {}", name, holding.holder->name, holding.holder->name);
    if (!named && !options.force)
      fail(ErrorKind::conflict, "{} holds {} without a node's record (flanneld): whether it lives can't be seen; --force removes it", name,
           subnets_text(holding.lease));
    bool keep = holding.reserved_for && !options.reservation;
    std::vector<Store::Change> changes;
    if (keep)
      changes.push_back({What::swap, paths_.subnet(holding.key), format_lease(placeholder(holding.subnet)), holding.mod_rev, 0});
    else
      changes.push_back({What::remove, paths_.subnet(holding.key), "", holding.mod_rev, 0});
    if (holding.holder_rev != 0) changes.push_back({What::remove, holder_path(paths_, holding.key), "", holding.holder_rev, 0});
    if (!store_.commit(changes))
      fail(ErrorKind::conflict, "the lease {} of {} has just changed: it is alive after all; look with: knet node show {}",
           subnets_text(holding.lease), name, name);
    if (holding.ttl != 0 && named) store_.revoke(holding.ttl);
    removed.push_back("lease " + subnets_text(holding.lease) + (keep ? " (stays reserved)" : ""));
  }
  if (auto speaker = seen.speakers.find(name); speaker != seen.speakers.end()) {
    if (store_.remove(paths_.speaker(name))) removed.push_back("record of a node without pods");
    if (speaker->second.ttl != 0) store_.revoke(speaker->second.ttl);
  }
  // Also one that can't be read: nothing else would take it away.
  if (store_.remove(paths_.spec(name))) removed.push_back("settings made with knet node set");
  if (options.reservation) {
    for (const auto& [key, reservation] : seen.reservations) {
      if (reservation.node != name) continue;
      std::string text = subnets_text(placeholder(*parse_subnet_key(key)));
      // Its subnet key went with the lease above if it was in use.
      if (unreserve(key)) removed.push_back("reservation " + text);
    }
  }
  if (present != seen.nodes.end() && store_.remove(paths_.node(name))) removed.push_back("presence record");
  size_t endpoints = 0;
  std::vector<std::string> keys;
  store_.for_each(paths_.knet() + "endpoints/" + name + "/", [&](KeyValue&& item) { keys.push_back(std::move(item.key)); });
  for (const std::string& key : keys) endpoints += store_.remove(key);
  if (endpoints != 0) removed.push_back(fmt::format("{} endpoint record{}", endpoints, endpoints == 1 ? "" : "s"));
  return removed;
}

}  // namespace knet
