#include "store/cluster_store.h"

#include "base/error.h"
#include "base/text.h"
#include "store/cluster_snapshot.h"

namespace knet {

namespace {

using What = Store::Change::What;
constexpr int kTries = 50;  // of loops that lose only if somebody else writes the same key each time

/// Of one machine id, but neither one boot of one machine nor at one address: a clone, or a reboot to another address,
/// which has to wait for its earlier life to be over.
bool is_clone(const NodeRecord& a, const NodeRecord& b) {
  if (a.instance.empty() || b.instance.empty() || a.instance == b.instance) return false;
  const bool same4 = a.public_ip && a.public_ip == b.public_ip, same6 = a.public_ip6 && a.public_ip6 == b.public_ip6;
  return !same4 && !same6;
}

}  // namespace

std::optional<ConfigText> ClusterStore::load_config() {
  std::optional<KeyValue> item = store_.get(paths_.config());
  if (!item) return {};
  return ConfigText{std::move(item->value), item->mod_rev};
}

std::optional<Revision> ClusterStore::create_config(const std::string& json) {
  check_schema();
  std::vector<Store::Change> changes{{What::create, paths_.config(), json, 0, 0}};
  if (!store_.get(paths_.schema())) changes.push_back({What::create, paths_.schema(), format_schema(kSchema), 0, 0});
  if (std::optional<Revision> rev = store_.commit(changes)) return rev;
  // Lost to another config, or only to the schema key of somebody who began at the same time.
  return store_.create(paths_.config(), json);
}

std::optional<Revision> ClusterStore::swap_config(const std::string& json, Revision expected) {
  check_schema();
  return store_.swap(paths_.config(), json, expected);
}

Revision ClusterStore::force_config(const std::string& json) {
  for (int i = 0; i < kTries; ++i) {
    std::optional<ConfigText> now = load_config();
    if (std::optional<Revision> rev = now ? swap_config(json, now->rev) : create_config(json)) return *rev;
  }
  fail(ErrorKind::conflict, "{}: {} is changed by others all the time; look who does", store_.where(), paths_.config());
}

int ClusterStore::load_schema() {
  std::optional<KeyValue> item = store_.get(paths_.schema());
  if (!item) return kSchema;
  try {
    return parse_schema(item->value);
  } catch (const Error& error) {
    throw with_context(error, store_.where() + ": " + paths_.schema());
  }
}

void ClusterStore::check_schema() {
  int schema = load_schema();
  if (schema > kSchema)
    fail(ErrorKind::unsupported, "{}: the cluster is at schema {}, this knet knows {}; upgrade knet on this machine", store_.where(),
         schema, kSchema);
}

std::optional<Lease> ClusterStore::update_lease(const Lease& ours, const Lease& content) {
  check_schema();
  Lease next = content;
  next.subnet = ours.subnet;
  next.subnet6 = ours.subnet6;
  next.lease_id = ours.lease_id;
  std::string path = paths_.subnet(format_subnet_key(ours.subnet, ours.subnet6));
  std::optional<Revision> rev = store_.swap(path, format_lease(next), ours.rev, ours.lease_id);
  if (!rev) return {};
  next.rev = *rev;
  next.mode_implied = false;
  return next;
}

bool ClusterStore::renew(const Lease& ours) { return ours.lease_id == 0 || store_.keep_alive(ours.lease_id); }

bool ClusterStore::release(const Lease& ours, const std::string& node) {
  std::string key = format_subnet_key(ours.subnet, ours.subnet6);
  bool released = false;
  std::string machine_id;
  for (int i = 0; i < kTries && !released; ++i) {
    std::optional<KeyValue> item = store_.get(paths_.subnet(key));
    std::optional<KeyValue> holder = store_.get(holder_path(paths_, key));
    if (!item || item->lease != ours.lease_id) break;
    if (holder) {
      NodeRecord record = parse_node(holder->value);
      if (record.name != node) break;
      machine_id = record.machine_id;
    } else if (item->mod_rev != ours.rev) {
      break;
    }
    std::vector<Store::Change> changes;
    if (store_.get(paths_.reservation(key)))
      changes.push_back({What::swap, item->key, format_lease(placeholder({ours.subnet, ours.subnet6})), item->mod_rev, 0});
    else
      changes.push_back({What::remove, item->key, "", item->mod_rev, 0});
    if (holder) changes.push_back({What::remove, holder->key, "", holder->mod_rev, 0});
    released = store_.commit(changes).has_value();
  }
  if (released && ours.lease_id != 0) store_.revoke(ours.lease_id);
  if (std::optional<KeyValue> presence = store_.get(paths_.node(node))) {
    if (released && same_machine(parse_node(presence->value).machine_id, machine_id))
      store_.remove(presence->key, presence->mod_rev);
  }
  return released;
}

Presence ClusterStore::claim_name(const NodeRecord& node, LeaseId lease, bool* made) {
  Presence presence{lease, 0, format_node(node)};
  for (int i = 0; i < kTries; ++i) {
    std::optional<KeyValue> now = store_.get(paths_.node(node.name));
    if (now) {
      try {
        NodeRecord other = parse_node(now->value);
        IpAddr at = other.public_ip ? other.public_ip : other.public_ip6;
        if (!same_machine(other.machine_id, node.machine_id)) {
          fail(ErrorKind::conflict,
               "the name {} is held by another machine that is alive: {}, machine id {} (ours is {}); give this one --node-name, "
               "and an /etc/machine-id of its own if it was cloned; if the other is gone, wait {} s",
               node.name, at.str(), printable(other.machine_id), printable(node.machine_id), kPresenceTtl.count());
        }
        if (is_clone(other, node)) {
          fail(ErrorKind::conflict,
               "the name {} is held by another machine that is alive: {}, with the same machine id ({}); a clone needs "
               "--node-name and an /etc/machine-id of its own; if this is the same machine after a reboot with another "
               "address, it goes on when {} s are over",
               node.name, at.str(), printable(node.machine_id), kPresenceTtl.count());
        }
      } catch (const Error& error) {
        if (error.kind == ErrorKind::conflict) throw;
        // Unreadable: nobody's.
      }
    }
    if (presence.lease == 0) presence.lease = store_.grant(kPresenceTtl);
    std::optional<Revision> rev = now ? store_.swap(now->key, presence.value, now->mod_rev, presence.lease)
                                      : store_.create(paths_.node(node.name), presence.value, presence.lease);
    if (!rev) continue;
    presence.rev = *rev;
    if (made) *made = !now;
    return presence;
  }
  fail(ErrorKind::conflict, "{}: {} is changed by others all the time; look whether two machines have the name {}", store_.where(),
       paths_.node(node.name), node.name);
}

void ClusterStore::refresh(const NodeRecord& node, Presence& presence) {
  if (presence.lease != 0 && !store_.keep_alive(presence.lease)) presence = {};
  std::string value = format_node(node);
  if (presence.rev != 0 && presence.value == value) return;
  check_schema();
  if (presence.rev != 0) {
    if (std::optional<Revision> rev = store_.swap(paths_.node(node.name), value, presence.rev, presence.lease)) {
      presence.rev = *rev;
      presence.value = std::move(value);
      return;
    }
  }
  presence = claim_name(node, presence.lease);
}

}  // namespace knet
