// Taking a subnet: ours again, the reserved one, the previous one, or a free one. Each decision is made on a snapshot and
// settled by one commit; who loses looks again.
#include <sys/random.h>

#include <algorithm>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "store/cluster_snapshot.h"
#include "store/cluster_store.h"

namespace knet {

namespace {

using What = Store::Change::What;
constexpr int kTries = 1000;   // each lost race is another node's success
constexpr size_t kNamed = 10;  // in the message of an exhausted pool

uint64_t system_random() {
  uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) != sizeof value) throw_errno(errno, "getrandom");
  return value;
}

bool same_address(const IpAddr& a, const IpAddr& b) { return a && a == b && !a.is_unspecified(); }

bool same_address(const Lease& lease, const NodeRecord& node) {
  return same_address(lease.public_ip, node.public_ip) || same_address(lease.public_ip6, node.public_ip6);
}

[[noreturn]] void refuse_address(const NodeRecord& ours, const NodeRecord& other) {
  bool v4 = same_address(ours.public_ip, other.public_ip);
  fail(ErrorKind::conflict,
       "the address {} is held by {}, which is alive (machine id {}, ours is {}); give this node another address (--iface or "
       "--public-ip); if {} is gone, wait {} s, or run: knet node remove {}",
       (v4 ? ours.public_ip : ours.public_ip6 ? ours.public_ip6 : ours.public_ip).str(), other.name,
       printable(other.machine_id), printable(ours.machine_id), other.name, kPresenceTtl.count(), other.name);
}

/// Live machines with our address that were there before us. Two that come at the same moment both stand in the
/// snapshot, and the later one yields.
void refuse_duplicates(const ClusterSnapshot& seen, const NodeRecord& ours) {
  auto self = seen.nodes.find(ours.name);
  for (const auto& [name, node] : seen.nodes) {
    const NodeRecord& other = node.record;
    if (name == ours.name || same_machine(other.machine_id, ours.machine_id)) continue;
    if (!same_address(other.public_ip, ours.public_ip) && !same_address(other.public_ip6, ours.public_ip6)) continue;
    if (self == seen.nodes.end() || node.create_rev < self->second.create_rev) refuse_address(ours, other);
  }
}

/// How surely a lease is ours; the lowest wins.
enum class Claim { by_name, renamed, by_old_name, by_address, by_dead_address, none };

Claim claim_on(const Holding& holding, const ClusterSnapshot& seen, const NodeRecord& ours) {
  if (!holding.readable) return Claim::none;
  if (holding.reserved_for && *holding.reserved_for != ours.name) return Claim::none;
  bool here = same_address(holding.lease, ours);
  if (!holding.holder) return here ? Claim::by_address : Claim::none;
  const NodeRecord& holder = *holding.holder;
  bool machine = same_machine(holder.machine_id, ours.machine_id);
  if (holder.name == ours.name) return machine ? Claim::by_name : Claim::by_old_name;
  if (!here) return Claim::none;
  if (machine && !ours.machine_id.empty()) return Claim::renamed;
  if (seen.alive(holder)) refuse_address(ours, holder);
  return Claim::by_dead_address;
}

std::string notice_of(Claim claim, const Holding& holding) {
  std::string subnets = subnets_text(holding.lease);
  switch (claim) {
    case Claim::renamed: return fmt::format("{} was this machine's as {}", subnets, holding.holder->name);
    case Claim::by_old_name: return fmt::format("{} taken over from the machine that was {} before", subnets, holding.holder->name);
    case Claim::by_address: return fmt::format("{} was leased to this address without a node's record (flanneld?); adopted", subnets);
    case Claim::by_dead_address:
      return fmt::format("{} taken over from {}, which had this address and is silent", subnets, holding.holder->name);
    default: return {};
  }
}

NodeRecord holder_record(const AcquireRequest& request, const Lease& lease) {
  NodeRecord record;
  record.name = request.node.name;
  record.machine_id = request.node.machine_id;
  record.version = request.node.version;
  if (lease.subnet) record.subnets.push_back(lease.subnet);
  if (lease.subnet6) record.subnets.push_back(lease.subnet6);
  return record;
}

Lease wanted_lease(const AcquireRequest& request, const SubnetChoice& subnet, LeaseId ttl) {
  Lease lease;
  lease.subnet = subnet.subnet;
  lease.subnet6 = subnet.subnet6;
  lease.public_ip = request.node.public_ip;
  lease.public_ip6 = request.node.public_ip6;
  lease.mode = request.mode;
  lease.data = request.data;
  lease.lease_id = ttl;
  return lease;
}

/// Creates the key or replaces what stands there at `rev`.
Store::Change put(const std::string& path, const std::string& value, Revision rev, LeaseId ttl) {
  return {rev == 0 ? What::create : What::swap, path, value, rev, ttl};
}

std::string some_of(const std::vector<std::string>& items) {
  std::span<const std::string> shown(items.data(), std::min(items.size(), kNamed));
  std::string text = join(shown, ", ");
  if (items.size() > kNamed) text += fmt::format(" and {} more", items.size() - kNamed);
  return text;
}

[[noreturn]] void refuse_exhausted(const NetworkConfig& config, const ClusterSnapshot& seen, std::span<const Prefix> taken) {
  bool v4 = config.enable_v4 && free_subnets(config, taken, Family::v4) == 0;
  std::vector<std::string> silent, foreign, kept;
  std::string remove, release;
  for (const Holding& holding : seen.holdings) {
    std::string subnets = subnets_text(holding.lease);
    if (holding.unheld()) {
      kept.push_back(fmt::format("{} for {}", subnets, *holding.reserved_for));
      if (release.empty()) release = v4 ? holding.lease.subnet.str() : holding.lease.subnet6.str();
    } else if (!holding.holder) {
      foreign.push_back(fmt::format("{} by {}", subnets, (holding.lease.public_ip ? holding.lease.public_ip : holding.lease.public_ip6).str()));
    } else if (!seen.alive(*holding.holder)) {
      silent.push_back(fmt::format("{} by {}", subnets, holding.holder->name));
      if (remove.empty()) remove = holding.holder->name;
    }
  }
  std::string text = fmt::format("no free /{} is left in {} ({} in all)", v4 ? config.subnet_len : config.subnet_len6,
                                 (v4 ? config.network : config.network6).str(), pool_size(config, v4 ? Family::v4 : Family::v6));
  if (!silent.empty())
    text += fmt::format("; held by silent nodes: {}; free one that is gone with: knet node remove {}", some_of(silent), remove);
  if (!kept.empty()) text += fmt::format("; reserved and not in use: {}; give one up with: knet subnet release {}", some_of(kept), release);
  if (!foreign.empty()) text += fmt::format("; held without a record (flanneld): {}", some_of(foreign));
  if (silent.empty() && kept.empty() && foreign.empty())
    text += "; every holder is alive: the pool is too small for this node";
  throw Error(ErrorKind::conflict, std::move(text));
}

}  // namespace

Acquired ClusterStore::acquire(const AcquireRequest& request) {
  check_schema();
  bool made = false;
  Presence presence = claim_name(request.node, 0, &made);
  LeaseId granted = 0;
  auto revoke = [&](LeaseId lease) noexcept {
    try {
      if (lease != 0) store_.revoke(lease);
    } catch (const Error&) {
      // It ends by itself.
    }
  };
  Undo undo([&] {
    revoke(granted);
    if (made) revoke(presence.lease);
  });
  for (int i = 0; i < kTries; ++i) {
    ClusterSnapshot seen = read_cluster(store_, paths_, request.config.mode);
    std::optional<Acquired> got = try_acquire(request, seen, granted);
    if (!got) continue;
    bool raced = got->how == Acquired::How::previous || got->how == Acquired::How::chosen;
    if (raced && !stands_alone(request, got->lease)) continue;
    got->presence = std::move(presence);
    undo.dismiss();
    if (granted != got->lease.lease_id) revoke(granted);
    return std::move(*got);
  }
  fail(ErrorKind::conflict, "{}: no subnet after {} lost races; look who changes {} all the time", store_.where(), kTries,
       paths_.subnets());
}

std::optional<Lease> ClusterStore::adopt(const AcquireRequest& request, const Holding& ours, LeaseId& granted) {
  LeaseId ttl = 0;
  if (!ours.reserved_for) {
    // A lease without our record may have any TTL, or none; ours has ours.
    bool kept = ours.ttl != 0 && ours.holder && store_.keep_alive(ours.ttl);
    if (!kept && granted == 0) granted = store_.grant(kLeaseTtl);
    ttl = kept ? ours.ttl : granted;
  }
  Lease lease = wanted_lease(request, {ours.lease.subnet, ours.lease.subnet6}, ttl);
  std::string holder = format_node(holder_record(request, lease));
  std::vector<Store::Change> changes;
  bool moved = ttl != ours.ttl;
  bool write = moved || ours.lease.mode_implied || !ours.lease.same_content(lease);
  lease.rev = ours.mod_rev;
  if (write) changes.push_back({What::swap, paths_.subnet(ours.key), format_lease(lease), ours.mod_rev, ttl});
  if (moved || !ours.holder || format_node(*ours.holder) != holder)
    changes.push_back(put(holder_path(paths_, ours.key), holder, ours.holder_rev, ttl));
  if (changes.empty()) return lease;
  std::optional<Revision> rev = store_.commit(changes);
  if (!rev) return {};
  if (write) lease.rev = *rev;
  return lease;
}

std::optional<Acquired> ClusterStore::try_acquire(const AcquireRequest& request, const ClusterSnapshot& seen, LeaseId& granted) {
  const NetworkConfig& config = request.config;
  refuse_duplicates(seen, request.node);
  Acquired result{};
  std::vector<Store::Change> changes;

  const Holding* ours = nullptr;
  Claim best = Claim::none;
  for (const Holding& holding : seen.holdings) {
    Claim claim = claim_on(holding, seen, request.node);
    bool was_ours = claim == best && ours && holding.lease.subnet == request.previous.subnet &&
                    holding.lease.subnet6 == request.previous.subnet6;
    if (claim < best || was_ours) {
      best = claim;
      ours = &holding;
    }
  }
  if (ours && fits(config, {ours->lease.subnet, ours->lease.subnet6})) {
    std::optional<Lease> lease = adopt(request, *ours, granted);
    if (!lease) return {};
    result.how = Acquired::How::adopted;
    result.lease = std::move(*lease);
    if (std::string notice = notice_of(best, *ours); !notice.empty()) result.notices.push_back(std::move(notice));
    return result;
  }
  if (ours && !ours->reserved_for) {
    result.notices.push_back(subnets_text(ours->lease) + " was ours and does not fit the config any more; given back");
    changes.push_back({What::remove, paths_.subnet(ours->key), "", ours->mod_rev, 0});
    if (ours->holder_rev != 0) changes.push_back({What::remove, holder_path(paths_, ours->key), "", ours->holder_rev, 0});
  } else {
    ours = nullptr;
  }

  auto take = [&](const SubnetChoice& subnet, const Holding* there, Acquired::How how, LeaseId ttl) -> std::optional<Acquired> {
    Lease lease = wanted_lease(request, subnet, ttl);
    std::string key = format_subnet_key(subnet.subnet, subnet.subnet6);
    changes.push_back(put(paths_.subnet(key), format_lease(lease), there ? there->mod_rev : 0, ttl));
    std::optional<KeyValue> left_over = store_.get(holder_path(paths_, key));
    changes.push_back(put(holder_path(paths_, key), format_node(holder_record(request, lease)), left_over ? left_over->mod_rev : 0, ttl));
    std::optional<Revision> rev = store_.commit(changes);
    if (!rev) return {};
    lease.rev = *rev;
    result.how = how;
    result.lease = std::move(lease);
    return result;
  };

  for (const auto& [key, reservation] : seen.reservations) {
    if (reservation.node != request.node.name) continue;
    SubnetKey subnet = *parse_subnet_key(key);
    const Holding* there = seen.find(key);
    std::string text = subnets_text(placeholder(subnet));
    if (!fits(config, {subnet.subnet, subnet.subnet6}))
      result.notices.push_back(text + " is reserved for this node but does not fit the config; passed over");
    else if (there && !there->unheld())
      result.notices.push_back(text + " is reserved for this node but in use by another; passed over");
    else
      return take({subnet.subnet, subnet.subnet6}, there, Acquired::How::reserved, 0);
  }

  std::vector<Prefix> taken;
  auto occupy = [&](const SubnetKey& subnet) {
    if (subnet.subnet) taken.push_back(subnet.subnet);
    if (subnet.subnet6) taken.push_back(subnet.subnet6);
  };
  for (const Holding& holding : seen.holdings)
    if (&holding != ours) occupy(holding.subnet);
  for (const auto& [key, reservation] : seen.reservations) occupy(*parse_subnet_key(key));
  std::optional<SubnetChoice> choice =
      choose_subnet(config, taken, request.previous, request.random ? request.random() : system_random());
  if (!choice) refuse_exhausted(config, seen, taken);
  bool previous = choice->subnet == request.previous.subnet && choice->subnet6 == request.previous.subnet6;
  if (granted == 0) granted = store_.grant(kLeaseTtl);
  return take(*choice, nullptr, previous ? Acquired::How::previous : Acquired::How::chosen, granted);
}

bool ClusterStore::stands_alone(const AcquireRequest& request, const Lease& lease) {
  // With one family the key is the subnet and create-if-absent has settled it. Of a pair each half can be taken by two keys.
  if (!request.config.enable_v4 || !request.config.enable_v6) return true;
  ClusterSnapshot seen = read_cluster(store_, paths_, request.config.mode);
  std::string key = format_subnet_key(lease.subnet, lease.subnet6);
  const Holding* ours = seen.find(key);
  if (!ours || ours->mod_rev != lease.rev) return false;
  auto overlap = [](const Prefix& a, const Prefix& b) { return a && b && a.overlaps(b); };
  for (const Holding& other : seen.holdings) {
    if (&other == ours || other.create_rev > ours->create_rev) continue;
    if (!overlap(other.subnet.subnet, lease.subnet) && !overlap(other.subnet.subnet6, lease.subnet6)) continue;
    store_.commit({{What::remove, paths_.subnet(key), "", lease.rev, 0}, {What::remove, holder_path(paths_, key), "", ours->holder_rev, 0}});
    return false;
  }
  return true;
}

}  // namespace knet
