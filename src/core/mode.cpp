#include "core/mode.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "core/plan.h"

namespace knet {

void ModeState::add(Link link, uint32_t peer) {
  link.origin = {producer_, peer};
  out_.net.links.push_back(std::move(link));
}

void ModeState::add(Address address) {
  address.origin = {producer_, Origin::kNoPeer};
  out_.net.addresses.push_back(address);
}

void ModeState::add(Sysctl sysctl) {
  sysctl.origin = {producer_, Origin::kNoPeer};
  out_.net.sysctls.push_back(std::move(sysctl));
}

void ModeState::add(const Neighbor& neighbor, uint32_t peer) {
  out_.net.neighbors.push_back(neighbor);
  out_.net.neighbors.back().origin = {producer_, peer};
}

void ModeState::add(const FdbEntry& entry, uint32_t peer) {
  out_.net.fdb.push_back(entry);
  out_.net.fdb.back().origin = {producer_, peer};
}

void ModeState::add(WireguardPeer entry, uint32_t peer) {
  entry.origin = {producer_, peer};
  out_.net.wireguard_peers.push_back(std::move(entry));
}

void ModeState::add(Filter filter) {
  filter.origin = {producer_, Origin::kNoPeer};
  filter.digest = digest(filter);
  out_.net.filters.push_back(std::move(filter));
}

void ModeState::add(const TunnelPeer& entry, uint32_t peer) {
  out_.net.tunnel_peers.push_back(entry);
  out_.net.tunnel_peers.back().origin = {producer_, peer};
}

void ModeState::add(Shortcut shortcut) {
  shortcut.origin = {producer_, Origin::kNoPeer};
  out_.net.shortcuts.push_back(shortcut);
}

void ModeState::add(TunnelPump pump) {
  pump.producer = producer_;
  std::sort(pump.peers.begin(), pump.peers.end(),
            [](const TunnelPeer& a, const TunnelPeer& b) { return a.inner < b.inner; });
  out_.pumps.push_back(std::move(pump));
}

void ModeState::hold(Kind kind) { out_.hold.set(static_cast<size_t>(kind)); }
void ModeState::add(NftHook hook, NftRule rule) { out_.mode_rules.emplace_back(hook, std::move(rule)); }

void ModeState::add(Route route, uint32_t peer) {
  route.origin = {producer_, peer};
  order_hops(route);
  if (route.others.empty() && route.via.is_v4() && route.type == RouteType::unicast) {
    route.by_nexthop = true;
    Nexthop nexthop;
    nexthop.dev = route.dev;
    nexthop.via = route.via;
    nexthop.onlink = route.onlink;
    nexthop.origin = route.origin;
    out_.net.nexthops.push_back(nexthop);
  }
  out_.net.routes.push_back(std::move(route));
}

void ModeState::notice(std::string text) { out_.notices.push_back(std::move(text)); }

void ModeState::blocker(std::string text) {
  out_.blockers.push_back(std::move(text));
  out_.blocked.push_back(producer_);
}

const Mode* ModeRegistry::find(std::string_view name) const {
  const auto it = std::find_if(modes_.begin(), modes_.end(),
                               [&](const Mode* mode) { return equals_ignoring_case(mode->name(), name); });
  return it != modes_.end() ? *it : nullptr;
}

const Mode& ModeRegistry::get(std::string_view name) const {
  if (const Mode* mode = find(name)) return *mode;
  std::vector<std::string> names;
  for (const Mode* mode : modes_) names.emplace_back(mode->name());
  static constexpr std::string_view kOfFlannel[] = {"ipsec", "extension", "tencent-vpc"};
  const auto is_name = [&](std::string_view known) { return equals_ignoring_case(known, name); };
  if (std::any_of(std::begin(kOfFlannel), std::end(kOfFlannel), is_name))
    fail(ErrorKind::config, "mode '{}' is one of flannel's that this knet has not; there are: {}", name, join(names, ", "));
  const auto near = nearest(name, names);
  fail(ErrorKind::config, "no mode '{}'; {}there are: {}", printable(name),
       near ? "did you mean " + *near + "? " : std::string(), join(names, ", "));
}

}  // namespace knet
