#include "modes/common/guard.h"

#include <fmt/core.h>

#include <algorithm>

#include "modes/common/plain.h"

namespace knet {

namespace {

// Hosts' ends of pods' links, and the tunnels, out of which only pods' packets come.
constexpr std::string_view kOurLinks = "knet*";

template <typename... Exprs>
NftRule drop(std::string key, const OuterWire& wire, const Exprs&... which) {
  NftRule rule;
  rule.key = std::move(key);
  rule.exprs.reserve(sizeof...(which) + 4);
  rule.exprs.emplace_back(NftProtocolIs{.protocol = wire.protocol});
  if (wire.port != 0) rule.exprs.emplace_back(NftUdpPortIs{.port = wire.port});
  (rule.exprs.emplace_back(which), ...);
  rule.exprs.emplace_back(NftCounter{});
  rule.exprs.emplace_back(NftDrop{});
  return rule;
}

}  // namespace

void drop_from_pods(std::string_view mode, std::span<const OuterWire> wires, const NetworkConfig& config,
                    ModeState& out) {
  const NftInterfaceIs from_link{true, false, std::string(kOurLinks)};
  for (const OuterWire& wire : wires) {
    const bool v6 = wire.family == Family::v6;
    const Prefix& network = v6 ? config.network6 : config.network;
    const NftAddressIn from_pod{true, false, {network}}, to_no_pod{false, true, {network}};
    const auto key = [&](std::string_view what) { return fmt::format("{}-{}{}", mode, what, v6 ? 6 : 4); };
    out.add(NftHook::forward, drop(key("from-pods"), wire, from_pod, to_no_pod));
    out.add(NftHook::forward, drop(key("from-pod-links"), wire, from_link, to_no_pod));
    out.add(NftHook::input, drop(key("from-pods-here"), wire, from_pod));
  }
  for (size_t i = 0; i < wires.size(); ++i) {
    if (i > 0 && wires[i].protocol == wires[0].protocol) continue;
    out.add(NftHook::input, drop(fmt::format("{}-from-pod-links-here{}", mode, i == 0 ? "" : "6"), wires[i],
                                 from_link));
  }
}

void drop_from_strangers(std::string_view mode, const OuterWire& wire, const IpAddr& local,
                         const std::vector<IpAddr>& members, ModeState& out) {
  const std::string key = fmt::format("{}-members{}", mode, wire.family == Family::v6 ? "6" : "");
  const NftAddressIn to_us{false, false, {Prefix::host(local)}};
  if (members.empty()) return out.add(NftHook::input, drop(key, wire, to_us));
  NftAddressIn from_others{true, true, {}};
  from_others.prefixes.reserve(members.size());
  for (const IpAddr& member : members) from_others.prefixes.push_back(Prefix::host(member));
  out.add(NftHook::input, drop(key, wire, to_us, from_others));
}

std::vector<IpAddr> member_addresses(const ClusterView& view, Family family) {
  std::vector<IpAddr> members;
  members.reserve(view.leases.size());
  for (const Lease& lease : view.leases)
    if (subnet_of(lease, family) && is_node_address(public_ip_of(lease, family), family))
      members.push_back(public_ip_of(lease, family));
  std::sort(members.begin(), members.end());
  members.erase(std::unique(members.begin(), members.end()), members.end());
  return members;
}

}  // namespace knet
