#include "core/view.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

namespace knet {

namespace {

// Prefixes and addresses that are taken, with the name of who holds them.
class Taken {
 public:
  const std::string* holder(const Prefix& prefix) const {
    if (!prefix) return nullptr;
    // Prefixes in here are disjoint: only the neighbours in order can overlap.
    const auto after = prefixes_.upper_bound(prefix);
    if (after != prefixes_.end() && after->first.overlaps(prefix)) return &after->second;
    if (after != prefixes_.begin() && std::prev(after)->first.overlaps(prefix)) return &std::prev(after)->second;
    return nullptr;
  }
  const std::string* holder(const IpAddr& address) const {
    const auto it = addresses_.find(address);
    return it != addresses_.end() ? &it->second : nullptr;
  }
  void take(const Lease& lease, const std::string& name) {
    for (const Prefix& subnet : {lease.subnet, lease.subnet6})
      if (subnet) prefixes_.emplace(subnet, name);
    for (const IpAddr& address : {lease.public_ip, lease.public_ip6})
      if (address && !address.is_unspecified()) addresses_.emplace(address, name);
  }

 private:
  std::map<Prefix, std::string> prefixes_;
  std::map<IpAddr, std::string> addresses_;
};

// Whether anything clashes at all: the usual answer is no, and costs a sort.
template <typename T, typename Clash>
bool any_clash(std::vector<T> values, Clash clash) {
  std::sort(values.begin(), values.end());
  return std::adjacent_find(values.begin(), values.end(), clash) != values.end();
}

bool clashes(const ClusterView& view) {
  std::vector<Prefix> subnets;
  std::vector<IpAddr> addresses;
  subnets.reserve(view.leases.size() + 1);
  addresses.reserve(view.leases.size() + 1);
  const auto add = [&](const Lease& lease) {
    for (const Prefix& subnet : {lease.subnet, lease.subnet6})
      if (subnet) subnets.push_back(subnet);
    for (const IpAddr& address : {lease.public_ip, lease.public_ip6})
      if (address && !address.is_unspecified()) addresses.push_back(address);
  };
  add(view.self.lease);
  for (const IpAddr& own : {view.self.public_ip, view.self.public_ip6})
    if (own && own != view.self.lease.public_ip && own != view.self.lease.public_ip6) addresses.push_back(own);
  for (const Lease& lease : view.leases) add(lease);
  return any_clash(std::move(subnets), [](const Prefix& a, const Prefix& b) { return a.overlaps(b); }) ||
         any_clash(std::move(addresses), std::equal_to<>());
}

}  // namespace

std::vector<std::string> drop_conflicts(ClusterView& view) {
  std::vector<std::string> lines;
  if (!clashes(view)) return lines;

  Taken taken;
  const std::string own_name = "this node";
  taken.take(view.self.lease, own_name);
  Lease own_addresses;
  own_addresses.public_ip = view.self.public_ip;
  own_addresses.public_ip6 = view.self.public_ip6;
  taken.take(own_addresses, own_name);

  std::vector<uint32_t> by_age(view.leases.size());
  std::iota(by_age.begin(), by_age.end(), 0);
  std::stable_sort(by_age.begin(), by_age.end(),
                   [&](uint32_t a, uint32_t b) { return view.leases[a].rev < view.leases[b].rev; });
  std::vector<bool> out(view.leases.size());
  for (const uint32_t i : by_age) {
    const Lease& lease = view.leases[i];
    const std::string name = i < view.names.size() ? view.names[i] : lease.public_ip.str();
    std::string why;
    for (const Prefix& subnet : {lease.subnet, lease.subnet6})
      if (const std::string* holder = taken.holder(subnet); holder != nullptr && why.empty())
        why = fmt::format("its subnet {} overlaps that of {}", subnet.str(), *holder);
    for (const IpAddr& address : {lease.public_ip, lease.public_ip6})
      if (const std::string* holder = taken.holder(address); holder != nullptr && why.empty())
        why = fmt::format("its address {} is also that of {}", address.str(), *holder);
    if (why.empty()) {
      taken.take(lease, name);
      continue;
    }
    out[i] = true;
    lines.push_back(fmt::format("{} {} is left out: {}, whose lease {}", name, subnets_text(lease), why,
                                why.ends_with(own_name) ? "counts here" : "is older"));
  }
  size_t kept = 0;
  const bool named = view.names.size() == view.leases.size();
  for (size_t i = 0; i < view.leases.size(); ++i) {
    if (out[i]) continue;
    if (kept != i) {
      view.leases[kept] = std::move(view.leases[i]);
      if (named) view.names[kept] = std::move(view.names[i]);
    }
    ++kept;
  }
  view.leases.resize(kept);
  if (named) view.names.resize(kept);
  return lines;
}

}  // namespace knet
