#include "core/netstate.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "base/base64.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"
#include "core/route_rows.h"

namespace knet {

DevName::DevName(std::string_view name) {
  if (name.empty() || name.size() >= bytes_.size())
    fail(ErrorKind::config, "'{}' is not a device name: give 1 to {} characters", printable(name), bytes_.size() - 1);
  for (const char c : name) {
    // dev_valid_name() in net/core/dev.c
    if (c == '/' || c == ':' || c == '\0' || std::isspace(static_cast<unsigned char>(c)) != 0)
      fail(ErrorKind::config, "'{}' is not a device name: no '/', ':' or white space in it", printable(name));
  }
  if (name == "." || name == "..") fail(ErrorKind::config, "'{}' is not a device name", name);
  std::memcpy(bytes_.data(), name.data(), name.size());
}

std::string_view to_string(Kind kind) {
  static constexpr std::string_view names[kKinds] = {
      "link",    "address", "sysctl",  "neighbor", "fdb",            "wireguard peer", "filter", "tunnel peer",
      "shortcut", "pod mtu", "nexthop", "route", "forward accept", "nft table"};
  return names[static_cast<size_t>(kind)];
}

const Link* NetState::find_link(const DevName& name) const {
  const auto it = std::lower_bound(links.begin(), links.end(), name,
                                   [](const Link& link, const DevName& wanted) { return link.name < wanted; });
  return it != links.end() && it->name == name ? &*it : nullptr;
}

void sort_by_key(NetState& state) {
  for_each_kind(state, [](auto& objects) {
    const auto less = [](const auto& a, const auto& b) { return a.key() < b.key(); };
    if (!std::is_sorted(objects.begin(), objects.end(), less)) std::stable_sort(objects.begin(), objects.end(), less);
  });
}

void order_hops(Route& route) {
  if (route.others.empty()) return;
  route.others.push_back({route.dev, route.via, route.onlink});
  std::sort(route.others.begin(), route.others.end());
  const RouteHop& least = route.others.front();
  route.dev = least.dev;
  route.via = least.via;
  route.onlink = least.onlink;
  route.others.erase(route.others.begin());
}

namespace {

// iproute2 leaves out the length of a host prefix.
std::string prefix_text(const Prefix& prefix) { return prefix.is_host() ? prefix.addr().str() : prefix.str(); }

std::string_view type_text(RouteType type) {
  switch (type) {
    case RouteType::unicast:
      return "";
    case RouteType::blackhole:
      return "blackhole ";
    case RouteType::unreachable:
      return "unreachable ";
    case RouteType::prohibit:
      return "prohibit ";
    case RouteType::throw_:
      return "throw ";
    case RouteType::local:
      return "local ";
    case RouteType::other:
      return "other ";
  }
  return "";
}

std::string_view type_text(LinkType type) {
  switch (type) {
    case LinkType::other:
      return "other";
    case LinkType::loopback:
      return "loopback";
    case LinkType::veth:
      return "veth";
    case LinkType::bridge:
      return "bridge";
    case LinkType::vxlan:
      return "vxlan";
    case LinkType::ipip:
      return "ipip";
    case LinkType::wireguard:
      return "wireguard";
    case LinkType::tun:
      return "tun";
  }
  return "other";
}

std::string key_text(const WireguardKey& key) {
  return base64_encode(std::string_view(reinterpret_cast<const char*>(key.data()), key.size()));
}

std::string outer_text(const IpAddr& outer, uint16_t port) {
  if (port == 0) return outer.str();
  return outer.is_v6() ? fmt::format("[{}]:{}", outer.str(), port) : fmt::format("{}:{}", outer.str(), port);
}

std::string_view wire_text(TunnelWire wire) { return wire == TunnelWire::udp ? "udp" : "ipip"; }

}  // namespace

std::string describe(const Link& link) {
  std::string text = fmt::format("link {} type {}", link.name.view(), type_text(link.type));
  if (link.vxlan) {
    text += fmt::format(" id {}", link.vxlan->vni);
    if (link.vxlan->local) text += " local " + link.vxlan->local.str();
    if (link.vxlan->underlay) text += fmt::format(" dev {}", link.vxlan->underlay.view());
    text += fmt::format(" dstport {}", link.vxlan->port);
    if (link.vxlan->learning) text += " learning";
  }
  if (link.ipip) {
    text += " remote any local " + link.ipip->local.str();
    if (link.ipip->underlay) text += fmt::format(" dev {}", link.ipip->underlay.view());
  }
  if (link.wireguard)
    text += fmt::format(" listen-port {} public-key {}", link.wireguard->port, key_text(link.wireguard->public_key));
  if (link.mtu != 0) text += fmt::format(" mtu {}", link.mtu);
  if (!link.mac.is_zero()) text += " address " + link.mac.str();
  return text;
}

std::string describe(const Address& address) {
  return fmt::format("address {} dev {}", address.prefix.str(), address.dev.view());
}

std::string describe(const Sysctl& sysctl) {
  // sysctl(8): separators are swapped, so that a dot in a device's name stays apart.
  std::string path = sysctl.path;
  for (char& c : path) c = c == '/' ? '.' : c == '.' ? '/' : c;
  return fmt::format("sysctl {}={}", path, sysctl.value);
}

std::string describe(const Neighbor& neighbor) {
  return fmt::format("neigh {} dev {} lladdr {}", neighbor.ip.str(), neighbor.dev.view(), neighbor.mac.str());
}

std::string describe(const FdbEntry& entry) {
  return fmt::format("fdb {} dev {} dst {}", entry.mac.str(), entry.dev.view(), entry.dst.str());
}

std::string describe(const WireguardPeer& peer) {
  std::string text = fmt::format("wireguard peer {} dev {}", key_text(peer.public_key), peer.dev.view());
  if (peer.endpoint) text += " endpoint " + outer_text(peer.endpoint, peer.port);
  if (!peer.allowed.empty()) text += " allowed-ips";
  for (size_t i = 0; i < peer.allowed.size(); ++i) text += (i == 0 ? " " : ",") + peer.allowed[i].str();
  if (peer.keepalive != 0) text += fmt::format(" keepalive {}", peer.keepalive);
  if (peer.preshared_key) text += " with preshared key";
  return text;
}

std::string describe(const Filter& filter) {
  const bool encap = filter.end == TunnelEnd::encap;
  std::string text = fmt::format("filter dev {} {} {} {} of {}", filter.dev.view(), encap ? "egress" : "ingress",
                                 wire_text(filter.wire), encap ? "encap" : "decap", filter.tunnel.view());
  if (filter.port != 0) text += fmt::format(" port {}", filter.port);
  for (const IpAddr& local : {filter.local, filter.local6})
    if (local) text += " local " + local.str();
  return text;
}

std::string describe(const TunnelPeer& peer) {
  return fmt::format("tunnel peer {} dev {} to {}{}", peer.inner.str(), peer.dev.view(),
                     outer_text(peer.outer, peer.port), peer.by_user ? ", by userspace" : "");
}

std::string describe(const Shortcut& shortcut) { return fmt::format("shortcut dev {}", shortcut.dev.view()); }

std::string describe(const PodMtu& pod) { return fmt::format("pod link {} mtu {}", pod.dev.view(), pod.mtu); }

uint64_t digest(const Filter& filter) {
  const uint64_t value = fingerprint(describe(filter));
  return value != 0 ? value : 1;
}

std::string describe(const Nexthop& nexthop) {
  return fmt::format("nexthop via {} dev {}{}", nexthop.via.str(), nexthop.dev.view(), nexthop.onlink ? " onlink" : "");
}

std::string describe(const Route& route) {
  std::string text = fmt::format("route {}{}", type_text(route.type), prefix_text(route.dst));
  const auto hop = [&](const DevName& dev, const IpAddr& via) {
    if (!route.others.empty()) text += " nexthop";
    if (via) text += " via " + via.str();
    if (dev) text += fmt::format(" dev {}", dev.view());
  };
  hop(route.dev, route.via);
  if (!route.others.empty() && route.onlink) text += " onlink";
  for (const RouteHop& other : route.others) {
    hop(other.dev, other.via);
    if (other.onlink) text += " onlink";
  }
  if (route.multipath) text += " multipath";
  if (route.table != Route::kMainTable) text += fmt::format(" table {}", route.table);
  if (route.protocol != Route::kProtocol) text += " proto " + route_protocol_name(route.protocol);
  if (route.src) text += " src " + route.src.str();
  if (route.metric != 0) text += fmt::format(" metric {}", route.metric);
  if (route.mtu != 0) text += fmt::format(" mtu {}", route.mtu);
  if (route.others.empty() && route.onlink) text += " onlink";
  return text;
}

std::string describe(const ForwardAccept& rule) {
  const char* family = rule.chain.family == Family::v4 ? "ip" : rule.chain.family == Family::v6 ? "ip6" : "inet";
  return fmt::format("accept {} {} in chain {} {} {}", rule.source ? "from" : "to", rule.network.str(), family,
                     rule.chain.table, rule.chain.chain);
}

std::string describe(const NftTable& table) { return "table inet " + table.name; }

}  // namespace knet
