#include "modes/common/next_hops.h"

#include <fmt/core.h>

#include "modes/common/plain.h"

namespace knet {

namespace {

constexpr int kMostSteps = 8;  // from a next hop to one that is on link
constexpr Family kFamilies[] = {Family::v4, Family::v6};

}  // namespace

NextHops::NextHops(const ClusterView& view, bool encap, bool direct) : view_(view), encap_(encap), direct_(direct) {
  for (uint32_t i = 0; i < view.leases.size(); ++i)
    for (const Family family : kFamilies)
      if (const IpAddr& address = public_ip_of(view.leases[i], family); address) nodes_.emplace(address, i);
  if (view.learned)
    for (const LearnedRoute& route : *view.learned)
      if (route.next_hop && route.dst.length() != 0) add(route.dst, {{}, route.next_hop, 0, true});
  for (const HostRoute& route : view.self.host_routes) {
    // On a default route without a gateway everything would seem to be on link.
    if (route.via || route.dst.length() != 0) add(route.dst, {route.dev, route.via, route.metric, false});
  }
  for (const Family family : kFamilies)
    if (const Uplink& uplink = uplink_of(view.self, family); uplink.dev)
      tables_[family == Family::v6][uplink.address.length()][uplink.address.masked()] = {uplink.dev, {}, 0, false};
}

void NextHops::add(const Prefix& dst, const Way& way) {
  const auto [at, fresh] = tables_[dst.is_v6()][dst.length()].emplace(dst.masked(), way);
  if (fresh) return;
  // What is on link counts before a gateway that is learned, and the lower metric before the higher.
  Way& known = at->second;
  const auto rank = [](const Way& one) { return std::tuple(one.via ? 1 : 0, one.metric); };
  if (rank(way) < rank(known)) known = way;
}

const std::pair<const Prefix, NextHops::Way>* NextHops::find(const IpAddr& address) const {
  for (const auto& [length, prefixes] : tables_[address.is_v6()])
    if (const auto at = prefixes.find(Prefix(address, length).masked()); at != prefixes.end()) return &*at;
  return nullptr;
}

const ResolvedHop& NextHops::resolve(const IpAddr& next_hop) {
  const auto [at, fresh] = known_.try_emplace(next_hop);
  if (fresh) at->second = work_out(next_hop);
  return at->second;
}

ResolvedHop NextHops::work_out(const IpAddr& next_hop) const {
  ResolvedHop resolved;
  const LocalNode& self = view_.self;
  if (next_hop == self.public_ip || next_hop == self.public_ip6 || next_hop == self.uplink.address.addr() ||
      next_hop == self.uplink6.address.addr()) {
    resolved.why = fmt::format("the next hop {} is this node", next_hop.str());
    return resolved;
  }
  IpAddr address = next_hop;
  for (int step = 0; step < kMostSteps; ++step) {
    const Uplink& uplink = uplink_of(view_.self, address.family());
    const bool near = on_link(uplink, address);
    if (const auto node = nodes_.find(address); node != nodes_.end()) {
      if (resolved.peer == Origin::kNoPeer) resolved.peer = node->second;
      if (encap_ && !(direct_ && near)) {
        resolved.peer = node->second;
        resolved.how = ResolvedHop::How::tunnel;
        return resolved;
      }
    }
    const auto* way = find(address);
    const bool connected = way != nullptr && !way->second.via;
    if (connected || near) {
      // The uplink before other devices in the same network.
      resolved.how = ResolvedHop::How::plain;
      resolved.hop = {near ? uplink.dev : way->second.dev, address, false};
      return resolved;
    }
    if (way == nullptr) {
      resolved.why = step == 0 ? fmt::format("nothing leads to {}", address.str())
                               : fmt::format("nothing leads to {}, on the way to {}", address.str(), next_hop.str());
      return resolved;
    }
    if (way->second.via == address || (way->second.learned && way->first.contains(way->second.via))) {
      resolved.why = fmt::format("the route to {} leads through itself ({} via {})", next_hop.str(), way->first.str(),
                                 way->second.via.str());
      return resolved;
    }
    if (!way->second.learned) {
      // The kernel has checked that the host's own gateway is on link of its device.
      resolved.how = ResolvedHop::How::plain;
      resolved.hop = {way->second.dev, way->second.via, false};
      return resolved;
    }
    address = way->second.via;
  }
  resolved.why = fmt::format("the way to {} has no end after {} routes", next_hop.str(), kMostSteps);
  return resolved;
}

}  // namespace knet
