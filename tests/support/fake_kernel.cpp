#include "tests/support/fake_kernel.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"

namespace knet::test {

namespace {

template <typename T>
auto find(std::vector<T>& objects, const typename std::decay_t<decltype(std::declval<T>().key())>& key) {
  return std::find_if(objects.begin(), objects.end(), [&](const T& object) { return object.key() == key; });
}

template <typename T>
void insert(std::vector<T>& objects, T object) {
  const auto at = std::upper_bound(objects.begin(), objects.end(), object,
                                   [](const T& a, const T& b) { return a.key() < b.key(); });
  objects.insert(at, std::move(object));
}

constexpr uint8_t kKernelProtocol = 2;

// What the kernel itself adds beside an address.
Route connected(const Address& address) {
  Route route;
  route.dst = address.prefix.masked();
  route.dev = address.dev;
  route.protocol = kKernelProtocol;
  route.metric = address.prefix.is_v6() ? 256 : 0;
  if (address.prefix.is_v4()) route.src = address.prefix.addr();
  return route;
}

}  // namespace

Link* FakeKernel::link(const DevName& name) {
  const auto it = find(net_.links, name);
  return it != net_.links.end() ? &*it : nullptr;
}

int FakeKernel::add(Link wanted) {
  if (link(wanted.name) != nullptr) return EEXIST;
  if (wanted.vxlan) {
    if (wanted.vxlan->underlay && link(wanted.vxlan->underlay) == nullptr) return ENODEV;
    for (const Link& other : net_.links)
      if (other.vxlan && other.vxlan->vni == wanted.vxlan->vni && other.vxlan->port == wanted.vxlan->port &&
          other.vxlan->local.is_v6() == wanted.vxlan->local.is_v6())
        return EEXIST;
  }
  if (wanted.ipip) {
    if (wanted.ipip->underlay && link(wanted.ipip->underlay) == nullptr) return ENODEV;
    for (const Link& other : net_.links)
      if (other.ipip == wanted.ipip) return EEXIST;
  }
  if (wanted.wireguard && wanted.up)
    for (const Link& other : net_.links)
      if (other.wireguard && other.up && other.wireguard->port == wanted.wireguard->port) return EADDRINUSE;
  wanted.index = next_index_++;
  if (wanted.mac.is_zero()) wanted.mac.bytes = {2, 0, 0, 0, 0, static_cast<uint8_t>(wanted.index)};
  if (wanted.mtu == 0) wanted.mtu = 1500;
  wanted.origin = {};
  for (const auto& [path, value] : {std::pair{"net/ipv4/conf/{}/rp_filter", "0"},
                                    {"net/ipv6/conf/{}/accept_ra", "1"},
                                    {"net/ipv6/conf/{}/mtu", "1500"},
                                    {"net/ipv4/conf/{}/ignore_routes_with_linkdown", "0"},
                                    {"net/ipv6/conf/{}/ignore_routes_with_linkdown", "0"},
                                    {"net/ipv6/conf/{}/disable_ipv6", "0"}}) {
    Sysctl sysctl;
    sysctl.path = fmt::format(fmt::runtime(path), wanted.name.view());
    sysctl.value = value;
    sysctl.dev = wanted.name;
    insert(net_.sysctls, std::move(sysctl));
  }
  insert(net_.links, std::move(wanted));
  return 0;
}

int FakeKernel::remove_link(const DevName& name) {
  if (link(name) == nullptr) return ENODEV;
  std::vector<Address> gone;
  std::copy_if(net_.addresses.begin(), net_.addresses.end(), std::back_inserter(gone),
               [&](const Address& a) { return a.dev == name; });
  std::erase_if(net_.links, [&](const Link& l) { return l.name == name; });
  std::erase_if(net_.addresses, [&](const Address& a) { return a.dev == name; });
  std::erase_if(net_.sysctls, [&](const Sysctl& s) { return s.dev == name; });
  std::erase_if(net_.neighbors, [&](const Neighbor& n) { return n.dev == name; });
  std::erase_if(net_.fdb, [&](const FdbEntry& e) { return e.dev == name; });
  std::erase_if(net_.wireguard_peers, [&](const WireguardPeer& p) { return p.dev == name; });
  std::erase_if(net_.filters, [&](const Filter& f) { return f.dev == name; });
  std::erase_if(net_.pod_mtus, [&](const PodMtu& p) { return p.dev == name; });
  std::erase_if(net_.shortcuts, [&](const Shortcut& s) { return s.dev == name; });
  // Indexes are burnt in: the tunnel's, and of an end that sends, the underlay's.
  for (Filter& filter : net_.filters) {
    const bool carried = std::any_of(gone.begin(), gone.end(), [&](const Address& a) {
      return a.prefix.addr() == filter.local || a.prefix.addr() == filter.local6;
    });
    if (filter.tunnel == name || (filter.end == TunnelEnd::encap && carried)) filter.digest = 0;
  }
  lose_tunnel_maps();
  std::erase_if(net_.nexthops, [&](const Nexthop& n) { return n.dev == name; });
  lose_hops(name);
  std::vector<DevName> upper;
  for (Link& l : net_.links) {
    if (l.vxlan && l.vxlan->underlay == name) upper.push_back(l.name);
    if (l.ipip && l.ipip->underlay == name) l.ipip->underlay = {};  // ip_tunnel keeps an index of nothing
  }
  for (const DevName& l : upper) remove_link(l);
  return 0;
}

int FakeKernel::set_up(const DevName& name, bool up) {
  Link* l = link(name);
  if (l == nullptr) return ENODEV;
  if (l->up == up) return 0;
  l->up = up;
  if (up) {
    for (const Address& address : net_.addresses)
      if (address.dev == name && !address.prefix.is_host()) insert(net_.routes, connected(address));
    return 0;
  }
  // The fdb stays; permanent neighbours do not (tried: design.md 2).
  std::erase_if(net_.neighbors, [&](const Neighbor& n) { return n.dev == name; });
  std::erase_if(net_.addresses, [&](const Address& a) { return a.dev == name && a.prefix.is_v6(); });
  for (const Family family : {Family::v4, Family::v6}) {
    lose_nexthops(name, family);
    lose_routes(name, family);
  }
  return 0;
}

int FakeKernel::set_mac(const DevName& name, const Mac& mac) {
  Link* l = link(name);
  if (l == nullptr) return ENODEV;
  if (l->mac == mac) return 0;
  l->mac = mac;
  std::erase_if(net_.neighbors, [&](const Neighbor& n) { return n.dev == name; });
  return 0;
}

int FakeKernel::set_running(const DevName& name, bool running) {
  Link* l = link(name);
  if (l == nullptr) return ENODEV;
  l->running = running;
  return 0;
}

int FakeKernel::replace(const Link& wanted) {
  Link* l = link(wanted.name);
  if (l == nullptr) return ENODEV;
  if (!wanted.same_make(*l)) return EOPNOTSUPP;
  l->wireguard = wanted.wireguard;
  if (wanted.mtu != 0) l->mtu = wanted.mtu;
  if (!wanted.mac.is_zero()) set_mac(wanted.name, wanted.mac);
  return set_up(wanted.name, wanted.up);
}

bool FakeKernel::hop_dead(const DevName& dev, Family family) const {
  const Link* l = net_.find_link(dev);
  if (l == nullptr || !l->up) return true;
  return family == Family::v4 && std::none_of(net_.addresses.begin(), net_.addresses.end(), [&](const Address& a) {
           return a.dev == dev && a.prefix.is_v4();
         });
}

// A next hop that died stays in its route, to live again with its device, until the last one dies (fib_sync_down_dev,
// fib6_ifdown).
void FakeKernel::lose_routes(const DevName& dev, Family family) {
  std::erase_if(net_.routes, [&](const Route& r) {
    return r.dst.family() == family && r.any_dev([&](const DevName& d) { return d == dev; }) &&
           !r.any_dev([&](const DevName& d) { return d != dev && !hop_dead(d, family); });
  });
}

// With a removed device IPv4 loses the whole route, IPv6 the next hops over it; it was set down before.
void FakeKernel::lose_hops(const DevName& dev) {
  for (const Family family : {Family::v4, Family::v6}) lose_routes(dev, family);
  std::erase_if(net_.routes, [&](const Route& r) {
    return r.dst.is_v4() && r.any_dev([&](const DevName& d) { return d == dev; });
  });
  for (Route& r : net_.routes) {
    std::erase_if(r.others, [&](const RouteHop& hop) { return hop.dev == dev; });
    if (r.dev != dev || r.others.empty()) continue;
    r.dev = r.others.front().dev;
    r.via = r.others.front().via;
    r.onlink = r.others.front().onlink;
    r.others.erase(r.others.begin());
  }
}

void FakeKernel::lose_nexthops(const DevName& dev, Family family) {
  const std::vector<Nexthop> all = net_.nexthops;
  for (const Nexthop& nexthop : all)
    if (nexthop.dev == dev && nexthop.via.family() == family) remove(nexthop);
}

int FakeKernel::add(const Address& address) {
  Link* l = link(address.dev);
  if (l == nullptr) return ENODEV;
  if (find(net_.addresses, address.key()) != net_.addresses.end()) return EEXIST;
  Address added = address;
  added.origin = {};
  insert(net_.addresses, added);
  if (l->up && !address.prefix.is_host()) insert(net_.routes, connected(address));
  return 0;
}

int FakeKernel::replace(const Address& address) {
  const int error = add(address);
  return error == EEXIST ? 0 : error;
}

int FakeKernel::remove(const Address& address) {
  if (std::erase_if(net_.addresses, [&](const Address& a) { return a.key() == address.key(); }) == 0)
    return EADDRNOTAVAIL;
  std::erase_if(net_.routes, [&](const Route& r) { return r.src == address.prefix.addr(); });
  std::erase_if(net_.routes, [&](const Route& r) {
    return r.protocol == kKernelProtocol && r.dev == address.dev && r.dst == address.prefix.masked();
  });
  const Family family = address.prefix.family();
  const bool last = std::none_of(net_.addresses.begin(), net_.addresses.end(),
                                 [&](const Address& a) { return a.dev == address.dev && a.prefix.family() == family; });
  // fib_disable_ip() in net/ipv4/fib_frontend.c
  if (last && family == Family::v4) lose_routes(address.dev, family);
  return 0;
}

int FakeKernel::add(const Neighbor& neighbor) {
  if (link(neighbor.dev) == nullptr) return ENODEV;
  if (find(net_.neighbors, neighbor.key()) != net_.neighbors.end()) return EEXIST;
  Neighbor added = neighbor;
  added.origin = {};
  insert(net_.neighbors, added);
  return 0;
}

int FakeKernel::replace(const Neighbor& neighbor) {
  remove(neighbor);
  return add(neighbor);
}

int FakeKernel::remove(const Neighbor& neighbor) {
  return std::erase_if(net_.neighbors, [&](const Neighbor& n) { return n.key() == neighbor.key(); }) != 0 ? 0 : ENOENT;
}

int FakeKernel::add(const FdbEntry& entry) {
  Link* l = link(entry.dev);
  if (l == nullptr) return ENODEV;
  if (l->type != LinkType::vxlan) return EOPNOTSUPP;
  if (find(net_.fdb, entry.key()) != net_.fdb.end()) return EEXIST;
  FdbEntry added = entry;
  added.origin = {};
  insert(net_.fdb, added);
  return 0;
}

int FakeKernel::replace(const FdbEntry& entry) {
  remove(entry);
  return add(entry);
}

int FakeKernel::remove(const FdbEntry& entry) {
  return std::erase_if(net_.fdb, [&](const FdbEntry& e) { return e.key() == entry.key(); }) != 0 ? 0 : ENOENT;
}

int FakeKernel::add(const WireguardPeer& peer) {
  Link* l = link(peer.dev);
  if (l == nullptr) return ENODEV;
  if (l->type != LinkType::wireguard) return EOPNOTSUPP;
  remove(peer);  // the kernel knows no exclusive creation
  // An allowed prefix belongs to one peer: the last that asked (allowedips_insert).
  for (WireguardPeer& other : net_.wireguard_peers)
    if (other.dev == peer.dev)
      std::erase_if(other.allowed, [&](const Prefix& prefix) {
        return std::find(peer.allowed.begin(), peer.allowed.end(), prefix) != peer.allowed.end();
      });
  WireguardPeer added = peer;
  added.origin = {};
  insert(net_.wireguard_peers, std::move(added));
  return 0;
}

int FakeKernel::replace(const WireguardPeer& peer) { return add(peer); }

int FakeKernel::remove(const WireguardPeer& peer) {
  return std::erase_if(net_.wireguard_peers, [&](const WireguardPeer& p) { return p.key() == peer.key(); }) != 0
             ? 0
             : ENOENT;
}

// The underlay of an end that sends is the one that has the local address.
int FakeKernel::can_filter(const Filter& filter) const {
  for (const DevName& name : {filter.dev, filter.tunnel})
    if (net_.find_link(name) == nullptr) return ENODEV;
  for (const IpAddr& local : {filter.local, filter.local6})
    if (local && filter.end == TunnelEnd::encap &&
        std::none_of(net_.addresses.begin(), net_.addresses.end(),
                     [&](const Address& a) { return a.prefix.addr() == local; }))
      return EADDRNOTAVAIL;
  return 0;
}

int FakeKernel::add(const Filter& filter) {
  if (const int error = can_filter(filter); error != 0) return error;
  if (find(net_.filters, filter.key()) != net_.filters.end()) return EEXIST;
  Filter added = filter;
  added.origin = {};
  insert(net_.filters, std::move(added));
  return 0;
}

// In place: the maps stay.
int FakeKernel::replace(const Filter& filter) {
  const auto it = find(net_.filters, filter.key());
  if (it == net_.filters.end()) return add(filter);
  if (const int error = can_filter(filter); error != 0) return error;
  *it = filter;
  it->origin = {};
  return 0;
}

int FakeKernel::remove(const Filter& filter) {
  const bool found = std::erase_if(net_.filters, [&](const Filter& f) { return f.key() == filter.key(); }) != 0;
  lose_tunnel_maps();
  return found ? 0 : ENOENT;
}

// A tunnel's map lives as long as one of its filters.
void FakeKernel::lose_tunnel_maps() {
  std::erase_if(net_.tunnel_peers, [&](const TunnelPeer& peer) {
    return std::none_of(net_.filters.begin(), net_.filters.end(),
                        [&](const Filter& filter) { return filter.tunnel == peer.dev; });
  });
}

void FakeKernel::spoil_filter(const Filter::Key& key) {
  const auto it = find(net_.filters, key);
  if (it != net_.filters.end()) it->digest = 0;
}

int FakeKernel::add(const TunnelPeer& peer) {
  const bool mapped = std::any_of(net_.filters.begin(), net_.filters.end(),
                                  [&](const Filter& filter) { return filter.tunnel == peer.dev; });
  if (!mapped) return ENOENT;
  remove(peer);
  TunnelPeer added = peer;
  added.origin = {};
  insert(net_.tunnel_peers, added);
  return 0;
}

int FakeKernel::replace(const TunnelPeer& peer) { return add(peer); }

int FakeKernel::remove(const TunnelPeer& peer) {
  return std::erase_if(net_.tunnel_peers, [&](const TunnelPeer& p) { return p.key() == peer.key(); }) != 0 ? 0 : ENOENT;
}

int FakeKernel::add(const Shortcut& shortcut) {
  if (link(shortcut.dev) == nullptr) return ENODEV;
  if (find(net_.shortcuts, shortcut.key()) != net_.shortcuts.end()) return EEXIST;
  Shortcut added = shortcut;
  added.origin = {};
  insert(net_.shortcuts, std::move(added));
  return 0;
}

// Where it is hindered it is taken away.
int FakeKernel::replace(const Shortcut& shortcut) {
  const auto it = find(net_.shortcuts, shortcut.key());
  if (it == net_.shortcuts.end()) return add(shortcut);
  it->hindered = hindered_.contains(shortcut.dev);
  it->intact = !it->hindered;
  return 0;
}

int FakeKernel::remove(const Shortcut& shortcut) {
  const auto it = find(net_.shortcuts, shortcut.key());
  if (it == net_.shortcuts.end() || it->hindered) return ENOENT;
  net_.shortcuts.erase(it);
  return 0;
}

void FakeKernel::spoil_shortcut(const DevName& device) {
  const auto it = find(net_.shortcuts, device);
  if (it != net_.shortcuts.end()) it->intact = false;
}

void FakeKernel::hinder_shortcut(const DevName& device) {
  hindered_.insert(device);
  const auto it = find(net_.shortcuts, device);
  if (it != net_.shortcuts.end()) return spoil_shortcut(device);
  Shortcut none;
  none.dev = device;
  none.intact = false;
  none.hindered = true;
  insert(net_.shortcuts, none);
}

int FakeKernel::add(const PodMtu&) { return EINVAL; }  // pods' links are CNI's

int FakeKernel::replace(const PodMtu& pod) {
  const auto it = find(net_.pod_mtus, pod.key());
  if (it == net_.pod_mtus.end()) return ENODEV;
  it->mtu = pod.mtu;
  link(pod.dev)->mtu = pod.mtu;
  return 0;
}

int FakeKernel::remove(const PodMtu&) { return EINVAL; }

int FakeKernel::can_route(const DevName& dev, const IpAddr& via, bool onlink) {
  const Link* l = link(dev);
  if (l == nullptr) return ENODEV;
  if (!l->up) return ENETDOWN;
  if (!via || onlink || (via.is_v6() && via.is_link_local())) return 0;
  const bool reachable = std::any_of(net_.addresses.begin(), net_.addresses.end(), [&](const Address& a) {
    return a.dev == dev && !a.prefix.is_host() && a.prefix.contains(via);
  });
  return reachable ? 0 : EHOSTUNREACH;
}

// ip6_route_check_nh_onlink() in net/ipv6/route.c: where a route leads to the gateway, it must be over the same device.
bool FakeKernel::elsewhere(const DevName& dev, const IpAddr& via) const {
  const Route* best = nullptr;
  for (const Route& r : net_.routes)
    if (r.dst.length() > 0 && r.dst.contains(via) && (best == nullptr || r.dst.length() > best->dst.length()))
      best = &r;
  return best != nullptr && best->type == RouteType::unicast && best->dev != dev;
}

int FakeKernel::add(Nexthop nexthop) {
  if (const int error = can_route(nexthop.dev, nexthop.via, nexthop.onlink); error != 0) return error;
  nexthop.id = next_id_++;
  nexthop.origin = {};
  insert(net_.nexthops, nexthop);
  return 0;
}

int FakeKernel::replace(const Nexthop& nexthop) {
  const auto it = find(net_.nexthops, nexthop.key());
  if (it == net_.nexthops.end()) return add(nexthop);
  if (const int error = can_route(nexthop.dev, nexthop.via, nexthop.onlink); error != 0) return error;
  it->onlink = nexthop.onlink;
  return 0;
}

int FakeKernel::remove(const Nexthop& nexthop) {
  const auto it = std::find_if(net_.nexthops.begin(), net_.nexthops.end(), [&](const Nexthop& n) {
    return n.key() == nexthop.key() && (nexthop.id == 0 || n.id == nexthop.id);
  });
  if (it == net_.nexthops.end()) return ENOENT;
  net_.nexthops.erase(it);
  if (find(net_.nexthops, nexthop.key()) == net_.nexthops.end())
    std::erase_if(net_.routes,
                  [&](const Route& r) { return r.by_nexthop && r.dev == nexthop.dev && r.via == nexthop.via; });
  return 0;
}

int FakeKernel::add(const Route& route) {
  if (find(net_.routes, route.key()) != net_.routes.end()) return EEXIST;
  if (const int error = can_route(route); error != 0) return error;
  if (route.src && std::none_of(net_.addresses.begin(), net_.addresses.end(),
                                [&](const Address& a) { return a.prefix.addr() == route.src; }))
    return EINVAL;
  Route added = route;
  std::tie(added.table, added.dst, added.metric) = route.key();
  added.origin = {};
  order_hops(added);
  insert(net_.routes, added);
  return 0;
}

int FakeKernel::can_route(const Route& route) {
  if (route.type != RouteType::unicast) return 0;
  if (route.by_nexthop) {
    if (!route.others.empty() || find(net_.nexthops, {route.dev, route.via}) == net_.nexthops.end()) return EINVAL;
    return can_route(route.dev, {}, false);
  }
  std::vector<RouteHop> hops = route.others;
  hops.push_back({route.dev, route.via, route.onlink});
  for (const RouteHop& hop : hops) {
    if (const int error = can_route(hop.dev, hop.via, hop.onlink); error != 0) return error;
    if (hop.via.is_v6() && hop.onlink && !hop.via.is_link_local() && elsewhere(hop.dev, hop.via)) return EINVAL;
  }
  return 0;
}

int FakeKernel::replace(const Route& route) {
  if (const int error = can_route(route); error != 0) return error;
  const NetState before = net_;
  const auto it = find(net_.routes, route.key());
  if (it != net_.routes.end()) net_.routes.erase(it);
  const int error = add(route);
  if (error != 0) net_ = before;
  return error;
}

int FakeKernel::remove(const Route& route) {
  const auto it = std::find_if(net_.routes.begin(), net_.routes.end(), [&](const Route& r) {
    if (r.key() != route.key() || r.protocol != route.protocol) return false;
    // With several next hops IPv4 is asked by the key; IPv6 by each of them, and some may be gone.
    return !route.others.empty() || (r.others.empty() && r.via == route.via && r.dev == route.dev);
  });
  if (it == net_.routes.end()) return ESRCH;
  net_.routes.erase(it);
  return 0;
}

int FakeKernel::remove_hop(const Route& route, const RouteHop& hop) {
  const auto it = find(net_.routes, route.key());
  if (it == net_.routes.end() || it->others.empty() || !it->dst.is_v6()) return ESRCH;
  if (RouteHop{it->dev, it->via, it->onlink} == hop) {
    it->dev = it->others.front().dev;
    it->via = it->others.front().via;
    it->onlink = it->others.front().onlink;
    it->others.erase(it->others.begin());
    return 0;
  }
  return std::erase(it->others, hop) != 0 ? 0 : ESRCH;
}

int FakeKernel::add(const Sysctl& sysctl) {
  const auto it = find(net_.sysctls, sysctl.path);
  if (it == net_.sysctls.end()) return ENOENT;
  it->value = sysctl.value;
  return 0;
}

int FakeKernel::remove(const Sysctl&) { return EPERM; }

void FakeKernel::set_sysctl(const std::string& path, const std::string& value) {
  const auto it = find(net_.sysctls, path);
  if (it != net_.sysctls.end()) {
    it->value = value;
    return;
  }
  Sysctl sysctl;
  sysctl.path = path;
  sysctl.value = value;
  insert(net_.sysctls, std::move(sysctl));
}

int FakeKernel::add(const ForwardAccept& rule) {
  if (std::find(forward_drops_.begin(), forward_drops_.end(), rule.chain) == forward_drops_.end()) return ENOENT;
  ForwardAccept added = rule;
  added.origin = {};
  if (find(net_.forward_accepts, rule.key()) == net_.forward_accepts.end()) insert(net_.forward_accepts, added);
  return 0;
}

int FakeKernel::remove(const ForwardAccept& rule) {
  const auto same = [&](const ForwardAccept& r) { return r.key() == rule.key(); };
  return std::erase_if(net_.forward_accepts, same) != 0 ? 0 : ENOENT;
}

void FakeKernel::add_forward_drop(const ForeignChain& chain) { forward_drops_.push_back(chain); }

int FakeKernel::add(NftTable table) {
  if (find(net_.nft_tables, table.name) != net_.nft_tables.end()) return EEXIST;
  return replace(std::move(table));
}

int FakeKernel::replace(NftTable table) {
  remove_table(table.name);
  table.rules = {};
  table.origin = {};
  insert(net_.nft_tables, std::move(table));
  return 0;
}

int FakeKernel::remove_table(const std::string& name) {
  return std::erase_if(net_.nft_tables, [&](const NftTable& t) { return t.name == name; }) != 0 ? 0 : ENOENT;
}

void FakeKernel::spoil_table(const std::string& name) {
  const auto it = find(net_.nft_tables, name);
  if (it != net_.nft_tables.end()) it->digest = 0;
}

void FakeKernel::add_nic(const char* name, const char* address) {
  const DevName dev{name};
  if (link(dev) == nullptr) {
    Link nic;
    nic.name = dev;
    nic.type = LinkType::veth;
    add(nic);
  }
  Address own;
  own.dev = dev;
  own.prefix = *Prefix::parse(address);
  add(own);
}

void FakeKernel::add_pod_link(const DevName& name, uint32_t mtu) {
  Link veth;
  veth.name = name;
  veth.type = LinkType::veth;
  veth.mtu = mtu;
  add(veth);
  PodMtu pod;
  pod.dev = name;
  pod.mtu = mtu;
  insert(net_.pod_mtus, std::move(pod));
}

void FakeKernel::fail(std::string text, int error, int times) { failures_.push_back({std::move(text), error, times}); }

Observed FakeKernel::observe(Kinds kinds) {
  Observed observed;
  observed.complete = kinds;
  for_each_kind(net_, [&](auto& objects) {
    using T = typename std::decay_t<decltype(objects)>::value_type;
    if (!kinds.test(static_cast<size_t>(T::kKind))) return;
    auto& into = observed.net.of<T>();
    into = objects;
    if constexpr (std::is_same_v<T, Sysctl>)
      for (Sysctl& sysctl : into) sysctl.dev = {};  // a path and a value is all there is to see
    if (cut_short_.contains(T::kKind)) {
      into.resize(into.size() / 2);
      observed.complete.reset(static_cast<size_t>(T::kKind));
    }
  });
  if (kinds.test(static_cast<size_t>(Kind::forward_accept))) observed.forward_drops = forward_drops_;
  return observed;
}

template <typename T>
int FakeKernel::do_op(const Plan& plan, const Op& op) {
  const T& object = (op.object.observed ? *plan.observed : *plan.desired).of<T>().at(op.object.index);
  for (Injection& injection : failures_) {
    if (injection.times == 0 || describe(object).find(injection.text) == std::string::npos) continue;
    if (injection.times > 0) --injection.times;
    return injection.error;
  }
  switch (op.verb) {
    case Verb::remove:
      return remove(object);
    case Verb::replace:
      return replace(object);
    case Verb::create:
      break;
  }
  if constexpr (std::is_same_v<T, Link>) {
    Link made = object;
    made.ours = true;
    return add(std::move(made));
  }
  return add(object);
}

std::vector<OpResult> FakeKernel::apply(const Plan& plan) {
  std::vector<OpResult> failed;
  std::set<DevName> lost;  // devices that could not be made: what hangs on them is skipped
  for (uint32_t s = 0; s < plan.stages.size(); ++s) {
    const auto& ops = plan.stages[s].ops;
    for (uint32_t i = 0; i < ops.size(); ++i) {
      const Op& op = ops[i];
      int error = 0;
      for_each_kind(*plan.desired, [&](const auto& objects) {
        using T = typename std::decay_t<decltype(objects)>::value_type;
        if (T::kKind != op.object.kind) return;
        if constexpr (requires(const T& object) { object.dev; }) {
          const T& object = (op.object.observed ? *plan.observed : *plan.desired).template of<T>().at(op.object.index);
          bool dangles = lost.contains(object.dev);
          if constexpr (std::is_same_v<T, Filter>) dangles = dangles || lost.contains(object.tunnel);
          if (op.verb != Verb::remove && dangles) {
            error = ECANCELED;
            return;
          }
        }
        error = do_op<T>(plan, op);
        if constexpr (std::is_same_v<T, Link>)
          if (error != 0 && op.verb == Verb::create) lost.insert(plan.desired->links.at(op.object.index).name);
      });
      log_.push_back(describe(plan, op) + ": " + (error == 0 ? "done" : errno_text(error)));
      if (error != 0) failed.push_back({s, i, error, errno_text(error)});
    }
  }
  return failed;
}

}  // namespace knet::test
