#include "store/cluster_snapshot.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "core/config.h"

namespace knet {

namespace {

struct HolderValue {
  std::optional<NodeRecord> record;
  LeaseId ttl = 0;
  Revision rev = 0;
};

}  // namespace

bool same_machine(std::string_view a, std::string_view b) { return a.empty() || b.empty() || a == b; }

const Holding* ClusterSnapshot::find(std::string_view key) const {
  auto it = std::lower_bound(holdings.begin(), holdings.end(), key,
                             [](const Holding& holding, std::string_view wanted) { return holding.key < wanted; });
  return it != holdings.end() && it->key == key ? &*it : nullptr;
}

bool ClusterSnapshot::alive(const NodeRecord& record) const {
  auto it = nodes.find(record.name);
  return it != nodes.end() && same_machine(it->second.record.machine_id, record.machine_id);
}

ClusterSnapshot read_cluster(Store& store, const StorePaths& paths, std::string_view config_mode) {
  ClusterSnapshot seen;
  auto problem = [&](const std::string& path, const std::string& why) {
    seen.problems.push_back(printable(path.substr(std::min(path.size(), paths.prefix.size() + 1)), 120) + ": " + why);
  };
  auto tail = [](const std::string& path, const std::string& folder) { return path.substr(folder.size()); };

  std::string folder = paths.subnets();
  seen.rev = store.for_each(folder, [&](KeyValue&& item) {
    std::string key = tail(item.key, folder);
    std::optional<SubnetKey> subnet = parse_subnet_key(key);
    if (!subnet) return problem(item.key, "not a subnet key");
    Holding holding{key, *subnet, {}, true, item.lease, item.create_rev, item.mod_rev, {}, 0, {}};
    try {
      holding.lease = parse_lease(*subnet, item.value, implied_mode_under(config_mode));
    } catch (const Error& error) {
      problem(item.key, error.text);
      holding.readable = false;
      holding.lease.subnet = subnet->subnet;
      holding.lease.subnet6 = subnet->subnet6;
    }
    holding.lease.lease_id = item.lease;
    holding.lease.rev = item.mod_rev;
    seen.holdings.push_back(std::move(holding));
  });

  std::map<std::string, HolderValue> holders;
  folder = holder_path(paths, "");
  store.for_each(folder, [&](KeyValue&& item) {
    HolderValue value{{}, item.lease, item.mod_rev};
    try {
      value.record = parse_node(item.value);
    } catch (const Error& error) {
      problem(item.key, error.text);
    }
    holders.emplace(tail(item.key, folder), std::move(value));
  });

  folder = paths.reservations();
  store.for_each(folder, [&](KeyValue&& item) {
    std::string key = tail(item.key, folder);
    if (!parse_subnet_key(key)) return problem(item.key, "not a subnet key");
    try {
      seen.reservations.emplace(key, parse_reservation(item.value));
      seen.reservation_revs.emplace(key, item.mod_rev);
    } catch (const Error& error) {
      problem(item.key, error.text);
    }
  });

  const auto read_nodes = [&](const std::string& from, std::map<std::string, PresentNode>& to) {
    store.for_each(from, [&](KeyValue&& item) {
      try {
        PresentNode node{parse_node(item.value), item.create_rev, item.lease};
        to.emplace(tail(item.key, from), std::move(node));
      } catch (const Error& error) {
        problem(item.key, error.text);
      }
    });
  };
  read_nodes(paths.nodes(), seen.nodes);
  read_nodes(paths.speakers(), seen.speakers);

  folder = paths.specs();
  store.for_each(folder, [&](KeyValue&& item) {
    const std::string node = tail(item.key, folder);
    try {
      seen.specs.emplace(node, parse_node_spec(node, item.value));
    } catch (const Error& error) {
      problem(item.key, error.text);
    }
  });

  for (Holding& holding : seen.holdings) {
    if (auto it = holders.find(holding.key); it != holders.end()) {
      holding.holder_rev = it->second.rev;
      // Under another TTL lease it speaks of an earlier holder: flanneld has taken the subnet since.
      if (it->second.ttl == holding.ttl) holding.holder = std::move(it->second.record);
    }
    if (auto it = seen.reservations.find(holding.key); it != seen.reservations.end())
      holding.reserved_for = it->second.node;
  }
  return seen;
}

}  // namespace knet
