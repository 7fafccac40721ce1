#include "core/rollover.h"

#include <algorithm>
#include <tuple>

namespace knet {

namespace {

// By a route of its own or an aggregate; one for the whole network or more says nothing about this subnet.
bool is_learned(const ClusterView& view, const Prefix& subnet) {
  if (!subnet) return true;
  if (!view.learned) return false;
  const Prefix& network = subnet.is_v4() ? view.config.network : view.config.network6;
  for (int length = subnet.length(); length > network.length() || length == subnet.length(); --length) {
    const Prefix wanted = Prefix(subnet.addr(), length).masked();
    const auto at = std::lower_bound(view.learned->begin(), view.learned->end(), wanted,
                                     [](const LearnedRoute& route, const Prefix& prefix) { return route.dst < prefix; });
    if (at != view.learned->end() && at->dst == wanted) return true;
    if (length == 0) break;
  }
  return false;
}

bool is_learned(const ClusterView& view, const Lease& lease) {
  return (!view.config.enable_v4 || is_learned(view, lease.subnet)) &&
         (!view.config.enable_v6 || is_learned(view, lease.subnet6));
}

bool knows(const NetworkConfig& config, const std::string& mode) { return config.mode == mode || is_earlier(config, mode); }

void join(ClusterView& view, const Lease& lease) {
  for (const IpAddr& address : {lease.public_ip, lease.public_ip6})
    if (address) view.bgp.joined.push_back(address);
}

}  // namespace

Revision keep_former_ways(ClusterView& view, const std::vector<Lease>& before) {
  view.bgp.joined.clear();
  Revision earliest = 0;
  const bool leaving = is_earlier(view.config, kLearningMode);
  for (Lease& lease : view.leases) {
    if (leaving && lease.mode == view.config.mode) join(view, lease);
    if (lease.mode != kLearningMode || is_learned(view, lease)) continue;
    const auto was = std::lower_bound(before.begin(), before.end(), lease, [](const Lease& a, const Lease& b) {
      return std::tie(a.subnet, a.subnet6) < std::tie(b.subnet, b.subnet6);
    });
    if (was == before.end() || was->subnet != lease.subnet || was->subnet6 != lease.subnet6 ||
        was->mode == kLearningMode || !knows(view.config, was->mode) || was->public_ip != lease.public_ip ||
        was->public_ip6 != lease.public_ip6)
      continue;
    earliest = earliest == 0 ? lease.rev : std::min(earliest, lease.rev);
    join(view, lease);
    lease = *was;
  }
  std::sort(view.bgp.joined.begin(), view.bgp.joined.end());
  return earliest;
}

void take_learned_ways(ClusterView& view) {
  if (is_earlier(view.config, kLearningMode)) return;
  const std::vector<IpAddr> joined = std::exchange(view.bgp.joined, {});
  const auto has_joined = [&](const IpAddr& address) {
    return address && std::binary_search(joined.begin(), joined.end(), address);
  };
  for (Lease& lease : view.leases) {
    if (lease.mode == kLearningMode || (!has_joined(lease.public_ip) && !has_joined(lease.public_ip6))) continue;
    if (is_learned(view, lease)) {
      lease.mode = kLearningMode;
      lease.data = {};
    } else {
      join(view, lease);
    }
  }
  std::sort(view.bgp.joined.begin(), view.bgp.joined.end());
}

bool is_earlier(const NetworkConfig& config, std::string_view mode) {
  return std::any_of(config.earlier.begin(), config.earlier.end(),
                     [&](const auto& earlier) { return earlier.first == mode; });
}

const std::string& Rollover::to_announce(const NetworkConfig& config, const std::string& current, bool stands) {
  return stands || current.empty() || !is_earlier(config, current) ? config.mode : current;
}

std::vector<Rollover::Entry> Rollover::entries(std::vector<ReceivedMode> kept) {
  std::vector<Entry> made;
  for (ReceivedMode& mode : kept) made.push_back({std::move(mode), std::nullopt});
  return made;
}

void Rollover::announced(const std::string& before, const std::string& now, Revision rev, int64_t unix_now) {
  // Who has not heard yet may send by any mode that we ever announced since: each counts from its own last day.
  std::erase_if(received_, [&](const Entry& entry) { return entry.what.mode == now || entry.what.mode == before; });
  if (!before.empty() && before != now) received_.push_back({{before, rev, unix_now}, std::nullopt});
}

void Rollover::went_back(Revision rev) {
  for (Entry& entry : received_) {
    entry.what.rev = std::min(entry.what.rev, rev);
    entry.seen_at.reset();
  }
}

std::vector<std::string> Rollover::reap(const NetworkConfig& config, Revision seen_by_all, Time now) {
  std::vector<std::string> gone;
  std::erase_if(received_, [&](Entry& entry) {
    if (seen_by_all < entry.what.rev)
      entry.seen_at.reset();
    else if (!entry.seen_at)
      entry.seen_at = now;
    const bool over = !is_earlier(config, entry.what.mode) || (entry.seen_at && now >= *entry.seen_at + kAfterSeen);
    if (over) gone.push_back(entry.what.mode);
    return over;
  });
  return gone;
}

std::optional<Rollover::Time> Rollover::due() const {
  std::optional<Time> first;
  for (const Entry& entry : received_)
    if (entry.seen_at) first = first ? std::min(*first, *entry.seen_at + kAfterSeen) : *entry.seen_at + kAfterSeen;
  return first;
}

std::vector<ReceivedMode> Rollover::received() const {
  std::vector<ReceivedMode> out;
  for (const Entry& entry : received_) out.push_back(entry.what);
  return out;
}

std::vector<std::string> Rollover::modes() const {
  std::vector<std::string> out;
  for (const Entry& entry : received_) out.push_back(entry.what.mode);
  return out;
}

Revision Rollover::awaited() const {
  Revision latest = 0;
  for (const Entry& entry : received_) latest = std::max(latest, entry.what.rev);
  return latest;
}

}  // namespace knet
