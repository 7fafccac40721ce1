#include "core/membership.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "base/error.h"
#include "base/text.h"
#include "core/config.h"
#include "core/mode.h"

namespace knet {
namespace {

constexpr std::string_view kSubnets = "subnets/";
constexpr std::string_view kNodes = "knet/nodes/";
constexpr std::string_view kReservations = "knet/reservations/";
constexpr std::string_view kHolders = "knet/holders/";
constexpr std::string_view kBgpConfig = "knet/bgp/config";
constexpr std::string_view kBgpPeers = "knet/bgp/peers/";
constexpr std::string_view kSpecs = "knet/specs/";
constexpr std::string_view kSpeakers = "knet/speakers/";

/// Leases and subnet keys are sorted by their subnets; a key is found among leases alike.
template <typename A, typename B>
bool before(const A& a, const B& b) {
  return std::tie(a.subnet, a.subnet6) < std::tie(b.subnet, b.subnet6);
}
template <typename A, typename B>
bool same_subnets(const A& a, const B& b) {
  return a.subnet == b.subnet && a.subnet6 == b.subnet6;
}

/// Where it stands or would stand.
template <typename T>
auto place_of(std::vector<T>& sorted, const SubnetKey& key) {
  return std::lower_bound(sorted.begin(), sorted.end(), key, [](const auto& a, const auto& b) { return before(a, b); });
}

template <typename T>
bool erase(std::vector<T>& sorted, const SubnetKey& key) {
  const auto place = place_of(sorted, key);
  if (place == sorted.end() || !same_subnets(*place, key)) return false;
  sorted.erase(place);
  return true;
}

/// Whether what stands in the store at our key is no longer what we wrote.
bool taken_from_us(const Lease& own, const Lease& found) {
  return !found.same_content(own) || (own.lease_id != 0 && found.lease_id != own.lease_id);
}

bool is_set(const Lease& own) { return own.subnet || own.subnet6; }

const std::string& key_of(const BgpPeerSpec& peer) { return peer.name; }
const std::string& key_of(const NodeSpec& spec) { return spec.node; }
const std::string& key_of(const BgpSpeakerNode& speaker) { return speaker.node; }

template <typename T>
auto place_of(std::vector<T>& sorted, std::string_view key) {
  return std::lower_bound(sorted.begin(), sorted.end(), key, [](const T& a, std::string_view b) { return key_of(a) < b; });
}

/// Whether that changes anything.
template <typename T>
bool put(std::vector<T>& sorted, T value) {
  const auto place = place_of(sorted, std::string_view(key_of(value)));
  if (place == sorted.end() || key_of(*place) != key_of(value)) {
    sorted.insert(place, std::move(value));
    return true;
  }
  if (*place == value) return false;
  *place = std::move(value);
  return true;
}

template <typename T>
bool erase(std::vector<T>& sorted, std::string_view key) {
  const auto place = place_of(sorted, key);
  if (place == sorted.end() || key_of(*place) != key) return false;
  sorted.erase(place);
  return true;
}

bool is_bgp(std::string_view name) {
  return name == kBgpConfig || name.starts_with(kBgpPeers) || name.starts_with(kSpecs) || name.starts_with(kSpeakers);
}

void add_subnets(std::vector<Prefix>& out, const Prefix& subnet, const Prefix& subnet6) {
  if (subnet) out.push_back(subnet);
  if (subnet6) out.push_back(subnet6);
}

}  // namespace

void Membership::report(const std::string& name, std::string why, Change& change) {
  std::string& known = problems_[name];
  if (known == why) return;
  change.problems.push_back(printable(name, 200) + ": " + why);
  known = std::move(why);
}

void Membership::take(const StoreEvent& event, const Lease& own, Change& change) {
  if (event.key.size() <= paths_.prefix.size() || !event.key.starts_with(paths_.prefix) ||
      event.key[paths_.prefix.size()] != '/') {
    return;  // another network's: a listing by "<prefix>" sees "<prefix>2/..." too
  }
  const std::string name = event.key.substr(paths_.prefix.size() + 1);
  if (event.deleted) problems_.erase(name);
  if (name == "config") return take_config(event, change);
  if (name.starts_with(kSubnets)) return take_lease(name, event, own, change);
  if (name.starts_with(kNodes)) return take_node(name, event, change);
  if (name.starts_with(kReservations)) return take_reservation(name, event, change);
  if (name == "knet/schema") return take_schema(name, event, change);
  if (name.starts_with(kHolders)) return take_holder(name, event, change);
  if (is_bgp(name)) return take_bgp(name, event, change);
  if (name.starts_with("knet/") || event.deleted) return;  // other records of ours have other readers
  report(name, "neither flannel's key nor knet's; ignored", change);
}

void Membership::take_config(const StoreEvent& event, Change& change) {
  if (config_json_ == event.value) return;
  config_json_ = event.value;
  change.config = true;
  const std::string implied = implied_mode(config_json_);
  if (implied == default_mode_) return;
  default_mode_ = implied;
  for (Lease& lease : leases_) {
    if (!lease.mode_implied) continue;
    lease.mode = default_mode_;
    change.leases = true;
  }
}

std::optional<Lease> Membership::read_lease(const std::string& name, const SubnetKey& key, const StoreEvent& event,
                                            Change& change) {
  try {
    Lease lease = parse_lease(key, event.value, default_mode_);
    lease.lease_id = event.lease;
    lease.rev = event.rev;
    if (!lease.is_placeholder()) {
      if (const Mode* mode = modes_.find(lease.mode)) mode->check_peer(lease);
    }
    problems_.erase(name);
    return lease;
  } catch (const Error& error) {
    report(name, error.text, change);
    return std::nullopt;
  }
}

void Membership::take_lease(const std::string& name, const StoreEvent& event, const Lease& own, Change& change) {
  const auto key = parse_subnet_key(std::string_view(name).substr(kSubnets.size()));
  if (!key) {
    if (!event.deleted) report(name, "not a subnet key; ignored", change);
    return;
  }
  const bool ours = is_set(own) && same_subnets(*key, own) && event.rev > own.rev;
  const auto lease = event.deleted ? std::nullopt : read_lease(name, *key, event, change);
  erase(blocked_, *key);
  if (!lease || lease->is_placeholder()) {
    if (erase(leases_, *key)) change.leases = true;
    if (!event.deleted) blocked_.insert(place_of(blocked_, *key), *key);
    if (ours) change.own_lease = true;
    return;
  }
  if (ours && taken_from_us(own, *lease)) change.own_lease = true;
  const auto place = place_of(leases_, *key);
  if (place == leases_.end() || !same_subnets(*place, *key)) {
    leases_.insert(place, *lease);
    change.leases = true;
    return;
  }
  // A renewal by flanneld writes the same again.
  if (!place->same_content(*lease)) change.leases = true;
  *place = *lease;
}

void Membership::take_node(const std::string& name, const StoreEvent& event, Change& change) {
  const std::string node = name.substr(kNodes.size());
  if (event.deleted) {
    if (nodes_.erase(node) > 0) change.nodes = true;
    return;
  }
  try {
    NodeRecord record = parse_node(event.value);
    if (record.name != node) {
      fail(ErrorKind::config, "node record: name is \"{}\", the key says otherwise", printable(record.name));
    }
    problems_.erase(name);
    record.receives = {};  // display: thousands of nodes' are not kept
    record.modes = {};
    const auto [place, added] = nodes_.try_emplace(node);
    if (!added && place->second == record) return;
    place->second = std::move(record);
    change.nodes = true;
  } catch (const Error& error) {
    report(name, error.text, change);
    if (nodes_.erase(node) > 0) change.nodes = true;
  }
}

void Membership::take_reservation(const std::string& name, const StoreEvent& event, Change& change) {
  const std::string subnet = name.substr(kReservations.size());
  if (event.deleted) {
    if (reservations_.erase(subnet) > 0) change.reservations = true;
    return;
  }
  try {
    if (!parse_subnet_key(subnet)) fail(ErrorKind::config, "not a subnet key; ignored");
    Reservation reservation = parse_reservation(event.value);
    problems_.erase(name);
    const auto [place, added] = reservations_.try_emplace(subnet);
    if (!added && place->second == reservation) return;
    place->second = std::move(reservation);
    change.reservations = true;
  } catch (const Error& error) {
    report(name, error.text, change);
    if (reservations_.erase(subnet) > 0) change.reservations = true;
  }
}

void Membership::take_schema(const std::string& name, const StoreEvent& event, Change& change) {
  int schema = kSchema;
  if (!event.deleted) {
    try {
      schema = parse_schema(event.value);
      problems_.erase(name);
    } catch (const Error& error) {
      report(name, error.text, change);
      return;  // what was known stays: a corrupt key must not make us write as if the schema were ours
    }
  }
  if (schema != schema_) change.schema = true;
  schema_ = schema;
}

void Membership::take_bgp(const std::string& name, const StoreEvent& event, Change& change) {
  const std::string_view whole = name;
  const auto below = [&](std::string_view folder) { return whole.substr(folder.size()); };
  bool news = false;
  try {
    if (name == kBgpConfig) {
      BgpConfig config = event.deleted ? BgpConfig{} : parse_bgp_config(event.value);
      news = config != bgp_.config;
      bgp_.config = std::move(config);
    } else if (whole.starts_with(kBgpPeers)) {
      const std::string_view peer = below(kBgpPeers);
      news = event.deleted ? erase(bgp_.peers, peer) : put(bgp_.peers, parse_bgp_peer(peer, event.value));
    } else if (whole.starts_with(kSpecs)) {
      const std::string_view node = below(kSpecs);
      news = event.deleted ? erase(bgp_.specs, node) : put(bgp_.specs, parse_node_spec(node, event.value));
    } else if (event.deleted) {
      news = erase(bgp_.speakers, below(kSpeakers));
    } else {
      NodeRecord record = parse_node(event.value);
      if (record.name != below(kSpeakers))
        fail(ErrorKind::config, "node record: name is \"{}\", the key says otherwise", printable(record.name));
      news = put(bgp_.speakers, BgpSpeakerNode{std::move(record.name), record.public_ip, record.public_ip6});
    }
    problems_.erase(name);
  } catch (const Error& error) {
    report(name, error.text, change);
  }
  change.bgp = change.bgp || news;
}

// Of a listing: what is not in it is gone.
void Membership::forget_bgp_but(const std::vector<std::string>& names) {
  const auto gone = [&](std::string_view folder, const std::string& key) {
    return !std::binary_search(names.begin(), names.end(), std::string(folder) + key);
  };
  if (gone(kBgpConfig, "")) bgp_.config = {};
  std::erase_if(bgp_.peers, [&](const auto& peer) { return gone(kBgpPeers, peer.name); });
  std::erase_if(bgp_.specs, [&](const auto& spec) { return gone(kSpecs, spec.node); });
  std::erase_if(bgp_.speakers, [&](const auto& speaker) { return gone(kSpeakers, speaker.node); });
}

std::optional<Membership::Holder> Membership::read_holder(const std::string& name, const SubnetKey& key,
                                                          const StoreEvent& event, Change& change) {
  try {
    Holder holder{key.subnet, key.subnet6, parse_node(event.value).name, event.lease};
    problems_.erase(name);
    return holder;
  } catch (const Error& error) {
    report(name, error.text, change);
    return std::nullopt;
  }
}

void Membership::take_holder(const std::string& name, const StoreEvent& event, Change& change) {
  const auto key = parse_subnet_key(std::string_view(name).substr(kHolders.size()));
  if (!key) return;  // it names nobody's subnet
  auto holder = event.deleted ? std::nullopt : read_holder(name, *key, event, change);
  const auto place = place_of(holders_, *key);
  const bool known = place != holders_.end() && same_subnets(*place, *key);
  if (holder && known && *place == *holder) return;
  change.bgp = change.bgp || holder || known;
  if (known) holders_.erase(place);
  if (holder) holders_.insert(place_of(holders_, *key), *std::move(holder));
}

Membership::Change Membership::apply(const StoreEvent& event, const Lease& own) {
  Change change;
  take(event, own, change);
  rev_ = std::max(rev_, event.rev);
  return change;
}

Membership::Change Membership::replace(std::vector<StoreEvent> all, Revision rev, const Lease& own) {
  Change change;
  std::vector<Lease> leases;
  std::vector<SubnetKey> blocked;
  const auto nodes = std::exchange(nodes_, {});
  const auto reservations = std::exchange(reservations_, {});
  const auto problems = std::exchange(problems_, {});
  const int schema = std::exchange(schema_, kSchema);
  const auto holders = std::exchange(holders_, {});
  const BgpView bgp = bgp_;
  std::vector<std::string> bgp_names;
  // The config first: it says what leases without a type are.
  const auto config =
      std::find_if(all.begin(), all.end(), [&](const auto& event) { return event.key == paths_.config(); });
  take_config(config == all.end() ? StoreEvent{} : *config, change);
  Change ignored;  // maps that are built anew: compared as wholes below
  leases.reserve(all.size());
  const std::string subnets = paths_.subnets(), held = paths_.holders();
  const auto key_below = [](const std::string& key, const std::string& folder) {
    return key.starts_with(folder) ? parse_subnet_key(std::string_view(key).substr(folder.size())) : std::nullopt;
  };
  for (StoreEvent& event : all) {
    if (const auto key = key_below(event.key, held)) {
      if (auto holder = read_holder(event.key.substr(paths_.prefix.size() + 1), *key, event, ignored))
        holders_.push_back(*std::move(holder));
      event.value = {};
      continue;
    }
    const auto key = key_below(event.key, subnets);
    if (!key) {
      if (event.key != paths_.config()) take(event, {}, ignored);
      if (event.key.size() > paths_.prefix.size())
        if (std::string name = event.key.substr(paths_.prefix.size() + 1); is_bgp(name))
          bgp_names.push_back(std::move(name));
      event.value = {};
      continue;
    }
    auto lease = read_lease(event.key.substr(paths_.prefix.size() + 1), *key, event, ignored);
    if (lease && !lease->is_placeholder()) {
      leases.push_back(*std::move(lease));
    } else {
      blocked.push_back(*key);
    }
    event.value = {};  // 5,000 values and 5,000 leases need not live at once
  }
  std::sort(leases.begin(), leases.end(), [](const auto& a, const auto& b) { return before(a, b); });
  std::sort(blocked.begin(), blocked.end(), [](const auto& a, const auto& b) { return before(a, b); });
  leases.shrink_to_fit();

  std::sort(bgp_names.begin(), bgp_names.end());
  forget_bgp_but(bgp_names);
  std::sort(holders_.begin(), holders_.end(), [](const auto& a, const auto& b) { return before(a, b); });
  holders_.shrink_to_fit();
  change.bgp = bgp != bgp_ || holders != holders_;

  if (problems_.contains("knet/schema")) schema_ = schema;
  change.leases = change.leases || !std::equal(leases.begin(), leases.end(), leases_.begin(), leases_.end(),
                                               [](const auto& a, const auto& b) { return a.same_content(b); });
  change.nodes = nodes != nodes_;
  change.reservations = reservations != reservations_;
  change.schema = schema != schema_;
  for (const auto& [name, why] : problems_) {
    const auto known = problems.find(name);
    if (known == problems.end() || known->second != why) change.problems.push_back(printable(name, 200) + ": " + why);
  }
  leases_ = std::move(leases);
  blocked_ = std::move(blocked);
  rev_ = rev;
  if (is_set(own) && rev > own.rev) {
    const auto place = place_of(leases_, SubnetKey{own.subnet, own.subnet6});
    const bool there = place != leases_.end() && same_subnets(*place, own);
    change.own_lease = !there || (place->rev > own.rev && taken_from_us(own, *place));
  }
  return change;
}

std::vector<Prefix> Membership::taken(std::string_view node) const {
  std::vector<Prefix> result;
  result.reserve(leases_.size() * 2);
  std::vector<SubnetKey> for_us;
  for (const auto& [subnet, reservation] : reservations_) {
    const auto key = parse_subnet_key(subnet);
    if (!key) continue;
    if (reservation.node == node) {
      for_us.push_back(*key);
    } else {
      add_subnets(result, key->subnet, key->subnet6);
    }
  }
  for (const Lease& lease : leases_) add_subnets(result, lease.subnet, lease.subnet6);
  for (const SubnetKey& key : blocked_) {
    const bool ours =
        std::any_of(for_us.begin(), for_us.end(), [&](const auto& own) { return same_subnets(own, key); });
    if (!ours) add_subnets(result, key.subnet, key.subnet6);
  }
  return result;
}

Revision Membership::seen_by_all(const Lease& own) const {
  std::vector<std::pair<Prefix, Revision>> seen;
  for (const auto& [name, record] : nodes_)
    for (const Prefix& subnet : record.subnets) seen.emplace_back(subnet, record.seen_rev);
  std::sort(seen.begin(), seen.end());
  Revision least = std::numeric_limits<Revision>::max();
  for (const Lease& lease : leases_) {
    if (is_set(own) && same_subnets(lease, own)) continue;
    const Prefix& subnet = lease.subnet ? lease.subnet : lease.subnet6;
    const auto found = std::lower_bound(seen.begin(), seen.end(), std::pair{subnet, std::numeric_limits<Revision>::min()});
    // Of two that claim the subnet the one that has seen less counts.
    if (found == seen.end() || found->first != subnet) return 0;
    least = std::min(least, found->second);
  }
  return least;
}

void Membership::fill(ClusterView& view, std::vector<std::string>* dropped) const {
  std::vector<std::pair<Prefix, std::string_view>> nodes;
  for (const auto& [name, record] : nodes_) {
    for (const Prefix& subnet : record.subnets) nodes.emplace_back(subnet, name);
  }
  std::sort(nodes.begin(), nodes.end());
  const auto name_of = [&](const Lease& lease) -> std::string {
    const auto holder = std::lower_bound(holders_.begin(), holders_.end(), lease,
                                         [](const Holder& a, const Lease& b) { return before(a, b); });
    if (holder != holders_.end() && same_subnets(*holder, lease) && holder->lease == lease.lease_id) return holder->node;
    for (const Prefix& subnet : {lease.subnet, lease.subnet6}) {
      if (!subnet) continue;
      const auto found = std::lower_bound(nodes.begin(), nodes.end(), std::pair{subnet, std::string_view{}});
      if (found != nodes.end() && found->first == subnet) return std::string(found->second);
    }
    return (lease.public_ip ? lease.public_ip : lease.public_ip6).str();
  };
  view.leases.clear();
  view.names.clear();
  view.leases.reserve(leases_.size());
  view.names.reserve(leases_.size());
  for (const Lease& lease : leases_) {
    if (is_set(view.self.lease) && same_subnets(lease, view.self.lease)) continue;
    view.leases.push_back(lease);
    view.names.push_back(name_of(lease));
  }
  view.bgp = bgp_;
  view.rev = rev_;
  auto lines = drop_conflicts(view);
  if (dropped != nullptr) *dropped = std::move(lines);
}

}  // namespace knet
