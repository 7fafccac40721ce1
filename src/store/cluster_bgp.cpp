// ClusterStore's records of BGP: the cluster's settings, peers outside of it, what is set for single nodes, and nodes that
// speak without a subnet.
#include "base/error.h"
#include "base/text.h"
#include "store/cluster_snapshot.h"
#include "store/cluster_store.h"

namespace knet {

namespace {

using What = Store::Change::What;
constexpr int kTries = 50;  // of loops that lose only if somebody else writes the same key each time

[[noreturn]] void refuse_contended(const Store& store, const std::string& path) {
  fail(ErrorKind::conflict, "{}: {} is changed by others all the time; look who does", store.where(), path);
}

/// A value that can't be read, with its place.
template <typename Parse>
auto read_value(const Store& store, const KeyValue& item, Parse parse) {
  try {
    return parse(item.value);
  } catch (const Error& error) {
    throw with_context(error, store.where() + ": " + item.key);
  }
}

/// All records below `folder`, by the name after it; those that can't be read become problems.
template <typename Row, typename Parse>
void read_rows(Store& store, const StorePaths& paths, const std::string& folder, std::vector<Row>& rows,
               std::vector<std::string>& problems, Parse parse) {
  store.for_each(folder, [&](KeyValue&& item) {
    try {
      rows.push_back(parse(std::string_view(item.key).substr(folder.size()), item.value));
    } catch (const Error& error) {
      problems.push_back(printable(item.key.substr(paths.prefix.size() + 1), 120) + ": " + error.text);
    }
  });
}

/// What the others must know of a node without a subnet: who it is and where. The rest is presence's.
std::string speaker_value(const NodeRecord& node) {
  NodeRecord record;
  record.name = node.name;
  record.machine_id = node.machine_id;
  record.version = node.version;
  record.public_ip = node.public_ip;
  record.public_ip6 = node.public_ip6;
  return format_node(record);
}

}  // namespace

BgpConfig ClusterStore::load_bgp_config() {
  std::optional<KeyValue> item = store_.get(paths_.bgp_config());
  return item ? read_value(store_, *item, parse_bgp_config) : BgpConfig{};
}

bool ClusterStore::update_bgp_config(const std::function<void(BgpConfig&)>& change) {
  check_schema();
  for (int i = 0; i < kTries; ++i) {
    std::optional<KeyValue> item = store_.get(paths_.bgp_config());
    BgpConfig config = item ? read_value(store_, *item, parse_bgp_config) : BgpConfig{};
    const BgpConfig before = config;
    change(config);
    if (config == before) return false;
    const std::string value = format_bgp_config(config);
    if (item ? store_.swap(item->key, value, item->mod_rev) : store_.create(paths_.bgp_config(), value)) return true;
  }
  refuse_contended(store_, paths_.bgp_config());
}

BgpPeerTable ClusterStore::list_bgp_peers() {
  BgpPeerTable table;
  read_rows(store_, paths_, paths_.bgp_peers(), table.rows, table.problems, parse_bgp_peer);
  return table;
}

bool ClusterStore::create_bgp_peer(const BgpPeerSpec& peer) {
  check_schema();
  check_bgp_peer_name(peer.name);
  return store_.create(paths_.bgp_peer(peer.name), format_bgp_peer(peer)).has_value();
}

std::optional<bool> ClusterStore::update_bgp_peer(const std::string& name,
                                                  const std::function<void(BgpPeerSpec&)>& change) {
  check_schema();
  for (int i = 0; i < kTries; ++i) {
    std::optional<KeyValue> item = store_.get(paths_.bgp_peer(name));
    if (!item) return {};
    BgpPeerSpec peer =
        read_value(store_, *item, [&](const std::string& json) { return parse_bgp_peer(name, json); });
    const BgpPeerSpec before = peer;
    change(peer);
    if (peer == before) return false;
    if (store_.swap(item->key, format_bgp_peer(peer), item->mod_rev)) return true;
  }
  refuse_contended(store_, paths_.bgp_peer(name));
}

bool ClusterStore::remove_bgp_peer(const std::string& name) {
  check_schema();
  return store_.remove(paths_.bgp_peer(name));
}

NodeSpecTable ClusterStore::list_node_specs() {
  NodeSpecTable table;
  read_rows(store_, paths_, paths_.specs(), table.rows, table.problems, parse_node_spec);
  return table;
}

bool ClusterStore::update_node_spec(const std::string& node, const std::function<void(NodeSpec&)>& change) {
  check_schema();
  check_node_name(node);
  NodeSpec empty;
  empty.node = node;
  for (int i = 0; i < kTries; ++i) {
    std::optional<KeyValue> item = store_.get(paths_.spec(node));
    NodeSpec spec =
        item ? read_value(store_, *item, [&](const std::string& json) { return parse_node_spec(node, json); }) : empty;
    const NodeSpec before = spec;
    change(spec);
    if (spec == before) return false;
    if (spec == empty) {
      if (!item || store_.remove(item->key, item->mod_rev)) return true;
      continue;
    }
    const std::string value = format_node_spec(spec);
    if (item ? store_.swap(item->key, value, item->mod_rev) : store_.create(paths_.spec(node), value)) return true;
  }
  refuse_contended(store_, paths_.spec(node));
}

Speaking ClusterStore::speak(const NodeRecord& node) {
  check_schema();
  Speaking ours;
  ours.presence = claim_name(node, 0);
  const ClusterSnapshot seen = read_cluster(store_, paths_, "");
  for (const Holding& holding : seen.holdings) {
    if (!holding.holder || holding.holder->name != node.name) continue;
    std::vector<Store::Change> changes;
    if (holding.reserved_for)
      changes.push_back(
          {What::swap, paths_.subnet(holding.key), format_lease(placeholder(holding.subnet)), holding.mod_rev, 0});
    else
      changes.push_back({What::remove, paths_.subnet(holding.key), "", holding.mod_rev, 0});
    changes.push_back({What::remove, holder_path(paths_, holding.key), "", holding.holder_rev, 0});
    if (!store_.commit(changes))
      fail(ErrorKind::conflict, "the lease {} of {} was changed by somebody else meanwhile", subnets_text(holding.lease),
           node.name);
    if (holding.ttl != 0) store_.revoke(holding.ttl);
  }
  ours.value = speaker_value(node);
  const std::string path = paths_.speaker(node.name);
  LeaseId granted = 0;
  for (int i = 0; i < kTries; ++i) {
    std::optional<KeyValue> there = store_.get(path);
    const bool kept = there && there->lease != 0 && store_.keep_alive(there->lease);
    if (!kept && granted == 0) granted = store_.grant(kLeaseTtl);
    ours.lease = kept ? there->lease : granted;
    std::optional<Revision> rev = there ? store_.swap(path, ours.value, there->mod_rev, ours.lease)
                                        : store_.create(path, ours.value, ours.lease);
    if (!rev) continue;
    if (granted != 0 && granted != ours.lease) store_.revoke(granted);
    ours.rev = *rev;
    return ours;
  }
  refuse_contended(store_, path);
}

std::optional<Speaking> ClusterStore::update_speaking(const Speaking& ours, const NodeRecord& node) {
  Speaking next = ours;
  next.value = speaker_value(node);
  if (next.value == ours.value) return next;
  check_schema();
  std::optional<Revision> rev = store_.swap(paths_.speaker(node.name), next.value, ours.rev, ours.lease);
  if (!rev) return {};
  next.rev = *rev;
  return next;
}

bool ClusterStore::renew(const Speaking& ours) { return store_.keep_alive(ours.lease); }

bool ClusterStore::end_speaking(const std::string& node, const std::string& machine_id) {
  for (int i = 0; i < kTries; ++i) {
    std::optional<KeyValue> there = store_.get(paths_.speaker(node));
    if (!there) return false;
    try {
      if (!same_machine(parse_node(there->value).machine_id, machine_id)) return false;
    } catch (const Error&) {
      // Unreadable: nobody's, and it has our name.
    }
    if (!store_.remove(there->key, there->mod_rev)) continue;
    if (there->lease != 0) store_.revoke(there->lease);
    return true;
  }
  refuse_contended(store_, paths_.speaker(node));
}

}  // namespace knet
