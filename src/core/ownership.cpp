#include "core/ownership.h"

#include <fmt/core.h>

#include <algorithm>

#include "core/names.h"

namespace knet {

namespace {

constexpr uint8_t kBoot = 3;  // RTPROT_BOOT: what iproute2 and flannel's netlink library write

bool hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool on_link_of_ours(const Ownership& own, const DevName& dev, const NetState& observed) {
  const Link* link = observed.find_link(dev);
  return link != nullptr && own.owns(*link);
}

bool is_flannel_name(std::string_view name) {
  return name.starts_with("flannel.") || name.starts_with("flannel-v6.") || name == "flannel-wg" ||
         name == "flannel-wg-v6" || name == "flannel0";
}

}  // namespace

std::vector<Prefix> Ownership::claimed() const {
  std::vector<Prefix> out = networks;
  out.insert(out.end(), learnable.begin(), learnable.end());
  return out;
}

bool Ownership::inside(const Prefix& prefix) const {
  const auto holds = [&](const Prefix& network) { return network.contains(prefix); };
  return std::any_of(networks.begin(), networks.end(), holds) || std::any_of(learnable.begin(), learnable.end(), holds) ||
         std::any_of(former_networks.begin(), former_networks.end(), holds);
}

bool Ownership::owns(const Link& link) const {
  if (link.ours && is_agent_link(link.name.view())) return true;
  return adopt_flannel && is_flannel_link(link);
}

bool Ownership::owns(const Address& address, const NetState& observed) const {
  // The kernel itself gives each device its fe80:: address.
  if (address.prefix.is_v6() && address.prefix.addr().is_link_local()) return false;
  return on_link_of_ours(*this, address.dev, observed);
}

bool Ownership::owns(const Neighbor& neighbor, const NetState& observed) const {
  return on_link_of_ours(*this, neighbor.dev, observed);
}

bool Ownership::owns(const FdbEntry& entry, const NetState& observed) const {
  return on_link_of_ours(*this, entry.dev, observed);
}

bool Ownership::owns(const WireguardPeer& peer, const NetState& observed) const {
  return on_link_of_ours(*this, peer.dev, observed);
}

bool Ownership::owns(const Nexthop& nexthop) const { return nexthop.protocol == Nexthop::kProtocol; }

bool Ownership::owns(const Route& route) const {
  if (!inside(route.dst)) return false;
  if (route.protocol == Route::kProtocol) return true;
  if (!adopt_flannel || route.protocol != kBoot || route.type != RouteType::unicast) return false;
  const auto holds = [&](const Prefix& network) { return network.contains(route.dst); };
  if (std::none_of(networks.begin(), networks.end(), holds)) return false;
  if (is_flannel_name(route.dev.view())) return true;
  return route.via && std::binary_search(peer_addresses.begin(), peer_addresses.end(), route.via);
}

bool Ownership::owns(const NftTable& table) const { return table.name == "knet"; }

bool Ownership::is_pod_link(std::string_view name) {
  return name.size() == 15 && name.starts_with("knet") && std::all_of(name.begin() + 4, name.end(), hex);
}

bool Ownership::is_flannel_link(const Link& link) {
  const std::string_view name = link.name.view();
  if (link.vxlan) {
    return name == fmt::format("flannel.{}", link.vxlan->vni) || name == fmt::format("flannel-v6.{}", link.vxlan->vni);
  }
  return (name == "flannel.ipip" || name == "flannel-wg" || name == "flannel-wg-v6" || name == "flannel0");
}

}  // namespace knet
