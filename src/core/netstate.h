// The objects of a node's network, as knet wants them (desired) and finds them (observed): one sorted vector
// per kind. Plain values; no fd, clock, log or thread. Names, not ifindexes: the index is resolved at apply.
// Adding a kind: a struct with Key/key()/kKind here, a line in NetState and for_each_kind, its observe and
// apply in src/kernel, its ownership in ownership.h.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/ip.h"
#include "core/nft.h"

namespace knet {

/// A device name: at most 15 bytes, stored inline (IFNAMSIZ with its NUL).
class DevName {
 public:
  constexpr DevName() = default;
  /// Throws Error{config} for an empty or too long name, or one with '/' or white space.
  explicit DevName(std::string_view name);
  std::string_view view() const { return bytes_.data(); }
  std::string str() const { return std::string(view()); }
  const char* c_str() const { return bytes_.data(); }
  explicit operator bool() const { return bytes_[0] != 0; }
  auto operator<=>(const DevName&) const = default;

 private:
  std::array<char, 16> bytes_{};
};

enum class Kind : uint8_t {
  link,
  address,
  sysctl,
  neighbor,
  fdb,
  wireguard_peer,
  filter,
  tunnel_peer,
  shortcut,
  pod_mtu,
  nexthop,
  route,
  forward_accept,
  nft_table
};
inline constexpr size_t kKinds = 14;
using Kinds = std::bitset<kKinds>;
inline Kinds only(Kind kind) { return Kinds{}.set(static_cast<size_t>(kind)); }
inline Kinds all_kinds() { return Kinds{}.set(); }
std::string_view to_string(Kind kind);

/// Who made a desired object and for which peer: indexes into DesiredState's tables. Never compared.
struct Origin {
  uint16_t producer = 0;  // into DesiredState::producers ("node", "pod", "vxlan", ...)
  uint32_t peer = kNoPeer;  // into ClusterView::leases / DesiredState::peers
  static constexpr uint32_t kNoPeer = 0xffffffff;
};

enum class LinkType : uint8_t { other, loopback, veth, bridge, vxlan, ipip, wireguard, tun };

/// vxlan attributes; every one of them needs the device to be made anew when it changes.
struct VxlanAttrs {
  uint32_t vni = 0;
  uint16_t port = 8472;
  IpAddr local;
  DevName underlay;
  bool learning = false;
  bool operator==(const VxlanAttrs&) const = default;
};

/// The kernel's ipip driver, remote any; recreate-only like vxlan's.
struct IpipAttrs {
  IpAddr local;
  DevName underlay;
  bool operator==(const IpipAttrs&) const = default;
};

/// A Curve25519 public key, or a preshared one.
using WireguardKey = std::array<uint8_t, 32>;

/// All mutable: the device is never made anew for them.
struct WireguardAttrs {
  uint16_t port = 0;       // that it listens on
  WireguardKey public_key{};
  std::string key_file;    // desired only: where the private key is read from when it is set (never held here)
  bool operator==(const WireguardAttrs& other) const { return port == other.port && public_key == other.public_key; }
};

struct Link {
  static constexpr Kind kKind = Kind::link;
  DevName name;
  LinkType type = LinkType::other;
  uint32_t mtu = 0;                  // bytes; mutable
  Mac mac;                           // zero in a desired link: any; mutable
  bool up = true;                    // administratively up; mutable
  std::optional<VxlanAttrs> vxlan;   // recreate-only
  std::optional<IpipAttrs> ipip;     // recreate-only
  std::optional<WireguardAttrs> wireguard;  // mutable
  // LinkType::tun has no attributes: always IFF_TUN|IFF_NO_PI|IFF_VNET_HDR|IFF_MULTI_QUEUE and persistent.
  // observed only, never compared:
  bool ours = false;                 // carries our alias text
  bool running = true;               // carrier
  bool no_ipv6 = false;              // disable_ipv6 set
  int index = 0;
  int peer_netns = -1;               // IFLA_LINK_NETNSID, -1 for none
  Origin origin;
  using Key = DevName;
  const Key& key() const { return name; }
  /// The device that it stands on, if it is bound to one.
  DevName underlay() const { return vxlan ? vxlan->underlay : ipip ? ipip->underlay : DevName(); }
  /// Whether attributes that can't be changed in place are the same.
  bool same_make(const Link& other) const { return type == other.type && vxlan == other.vxlan && ipip == other.ipip; }
};

struct Address {
  static constexpr Kind kKind = Kind::address;
  DevName dev;
  Prefix prefix;              // the address with its length
  bool permanent = true;      // observed: false for DHCP/SLAAC (finite lifetime)
  bool usable = true;         // observed: not deprecated, tentative, dadfailed or temporary
  Origin origin;
  using Key = std::tuple<DevName, Prefix>;
  Key key() const { return {dev, prefix}; }
};

/// A value below /proc/sys. Never removed; only set. A desired one is fulfilled by `value` or, where given, by
/// `also` (an equally good value that is left alone where found: rp_filter 0 where loose is wanted).
struct Sysctl {
  static constexpr Kind kKind = Kind::sysctl;
  std::string path;  // "net/ipv4/ip_forward"
  std::string value;
  std::string also;  // desired only
  DevName dev;       // the device it belongs to, if any: it depends on it
  bool optional = false;  // missing path (module not there) or read-only /proc is a notice, not a failure
  Origin origin;
  using Key = std::string;
  const Key& key() const { return path; }
};

/// A permanent neighbour entry.
struct Neighbor {
  static constexpr Kind kKind = Kind::neighbor;
  DevName dev;
  IpAddr ip;
  Mac mac;
  Origin origin;
  using Key = std::tuple<DevName, IpAddr>;
  Key key() const { return {dev, ip}; }
};

/// A vxlan forwarding entry: inner destination MAC -> outer destination.
struct FdbEntry {
  static constexpr Kind kKind = Kind::fdb;
  DevName dev;
  Mac mac;
  IpAddr dst;
  Origin origin;
  using Key = std::tuple<DevName, Mac>;
  Key key() const { return {dev, mac}; }
};

/// A peer of a wireguard device (drivers/net/wireguard, include/uapi/linux/wireguard.h).
struct WireguardPeer {
  static constexpr Kind kKind = Kind::wireguard_peer;
  DevName dev;
  WireguardKey public_key{};
  IpAddr endpoint;
  uint16_t port = 0;
  uint16_t keepalive = 0;                     // seconds; 0: none
  std::vector<Prefix> allowed;                // sorted
  std::optional<WireguardKey> preshared_key;  // secret: compared, never described
  bool roamed = false;                        // observed only: in session, and where it is it told by itself (behind NAT)
  Origin origin;
  using Key = std::tuple<DevName, WireguardKey>;
  Key key() const { return {dev, public_key}; }
};

/// What is on the wire between two nodes of a tunnel of ours: the inner packet as it is, in UDP or in IP (protocols 4
/// and 41, RFC 2003 and RFC 2473; inner and outer family are the same).
enum class TunnelWire : uint8_t { udp, ipip };
enum class TunnelEnd : uint8_t { encap, decap };

/// A tc filter (clsact, direct action) that runs one end of the BPF path of tunnel `tunnel`. encap sits on the tunnel
/// device's egress, decap on an underlay's ingress. The two ends share the maps of the tunnel's peers and counters.
struct Filter {
  static constexpr Kind kKind = Kind::filter;
  DevName dev;               // where it is attached
  TunnelEnd end = TunnelEnd::encap;
  DevName tunnel;            // the TUN device whose path it is
  TunnelWire wire = TunnelWire::udp;
  uint16_t port = 0;         // UDP, ours and the peers' default; 0 for ipip
  IpAddr local, local6;      // outer source addresses; unset where the family is off
  uint64_t digest = 0;       // desired: of the above (digest(Filter)); observed: what it was made from, 0 if not intact
  Origin origin;
  using Key = std::tuple<DevName, TunnelEnd, DevName>;
  Key key() const { return {dev, end, tunnel}; }
};
/// Stable over processes; never 0.
uint64_t digest(const Filter& filter);

/// An entry of a BPF tunnel's longest-prefix map: who has the inner prefix. Packets to it go to `outer`; packets that
/// come with an inner source in it must come from `outer`.
struct TunnelPeer {
  static constexpr Kind kKind = Kind::tunnel_peer;
  DevName dev;               // the tunnel
  Prefix inner;
  IpAddr outer;              // of the same family as inner
  uint16_t port = 0;         // UDP; 0 for ipip
  Origin origin;
  bool by_user = false;      // packets to it are packed by userspace: its socket wants them cut and with their checksums
  using Key = std::tuple<DevName, Prefix>;
  Key key() const { return {dev, inner}; }
};

/// A program at a device's ingress that carries established TCP connections past the stack, by the stack's own routes
/// (src/kernel/shortcut.h).
struct Shortcut {
  static constexpr Kind kKind = Kind::shortcut;
  DevName dev;
  // observed only, never compared with a desired one's:
  bool intact = true;        // false: another knet's, or what it needs besides is not there
  bool hindered = false;     // there is none, since it would pass by filters of somebody else's that stand there
  Origin origin;
  using Key = DevName;
  const Key& key() const { return dev; }
};

/// The MTU of a pod's interface, both ends of its veth: lowered in place, never raised, never removed.
struct PodMtu {
  static constexpr Kind kKind = Kind::pod_mtu;
  DevName dev;               // the host's end; observed: its MTU, which is set after the pod's
  std::string netns;         // desired only: path of the pod's namespace
  std::string ifname;        // desired only: the pod's end
  uint32_t mtu = 0;          // bytes
  Origin origin;
  using Key = DevName;
  const Key& key() const { return dev; }
};

/// A kernel nexthop object (kernel 5.3): IPv4 routes over thousands of distinct gateways are quadratic without.
/// Desired nexthops carry id 0: the id is chosen at apply and found again by (dev, via).
struct Nexthop {
  static constexpr Kind kKind = Kind::nexthop;
  DevName dev;
  IpAddr via;
  bool onlink = false;
  uint8_t protocol = kProtocol;
  uint32_t id = 0;  // observed only
  Origin origin;
  using Key = std::tuple<DevName, IpAddr>;
  Key key() const { return {dev, via}; }
  static constexpr uint8_t kProtocol = 107;
};

enum class RouteType : uint8_t { unicast, blackhole, unreachable, prohibit, throw_, local, other };

/// A further next hop of a multipath route; all weigh the same.
struct RouteHop {
  DevName dev;
  IpAddr via;
  bool onlink = false;
  auto operator<=>(const RouteHop&) const = default;
};

struct Route {
  static constexpr Kind kKind = Kind::route;
  static constexpr uint32_t kMainTable = 254;
  static constexpr uint8_t kProtocol = 107;  // our mark, see /etc/iproute2/rt_protos.d
  Prefix dst;
  uint32_t table = kMainTable;
  uint32_t metric = 0;       // 0 in an IPv6 route means the kernel's 1024; see key()
  RouteType type = RouteType::unicast;
  DevName dev;
  IpAddr via;                // not set: on link
  IpAddr src;                // preferred source; not set: the kernel's choice
  bool onlink = false;
  bool by_nexthop = false;   // refer to the Nexthop (dev, via) rather than carry the gateway
  uint8_t protocol = kProtocol;
  uint32_t mtu = 0;          // 0: the device's
  std::vector<RouteHop> others;  // ECMP: sorted, besides (dev, via); never with by_nexthop. With them (dev, via) is the least of all
  bool multipath = false;    // observed only: next hops beyond what is told here (a group's, or of different weights)
  bool dead = false;         // observed only: RTNH_F_DEAD or LINKDOWN
  Origin origin;
  using Key = std::tuple<uint32_t, Prefix, uint32_t>;
  Key key() const { return {table, dst, metric == 0 && dst.is_v6() ? 1024 : metric}; }
  /// Calls visit(DevName) for each device that it goes over; true as soon as one says so.
  template <typename Visit>
  bool any_dev(Visit&& visit) const {
    if (visit(dev)) return true;
    for (const RouteHop& hop : others)
      if (visit(hop.dev)) return true;
    return false;
  }
};

/// Puts the next hops of a multipath route in order: the least is the route's own.
void order_hops(Route& route);

/// One accept rule of ours in a foreign forward chain whose policy is DROP: traffic from (source) or to our network.
struct ForwardAccept {
  static constexpr Kind kKind = Kind::forward_accept;
  ForeignChain chain;
  Prefix network;
  bool source = true;
  Origin origin;
  using Key = std::tuple<ForeignChain, Prefix, bool>;
  Key key() const { return {chain, network, source}; }
};

/// A whole nft table of ours. Drift is judged by digest: see nft.h.
struct NftTable {
  static constexpr Kind kKind = Kind::nft_table;
  std::string name;       // "knet" (inet family)
  NftRuleset rules;       // desired only
  uint64_t digest = 0;    // desired: of `rules`; observed: of the rules this table was made from, if it is still intact; else 0
  Origin origin;
  using Key = std::string;
  const Key& key() const { return name; }
};

struct NetState {
  std::vector<Link> links;
  std::vector<Address> addresses;
  std::vector<Sysctl> sysctls;
  std::vector<Neighbor> neighbors;
  std::vector<FdbEntry> fdb;
  std::vector<WireguardPeer> wireguard_peers;
  std::vector<Filter> filters;
  std::vector<TunnelPeer> tunnel_peers;
  std::vector<Shortcut> shortcuts;
  std::vector<PodMtu> pod_mtus;
  std::vector<Nexthop> nexthops;
  std::vector<Route> routes;
  std::vector<ForwardAccept> forward_accepts;
  std::vector<NftTable> nft_tables;

  /// The vector of objects of type T.
  template <typename T>
  std::vector<T>& of();
  template <typename T>
  const std::vector<T>& of() const {
    return const_cast<NetState*>(this)->of<T>();
  }
  const Link* find_link(const DevName& name) const;
};

/// Calls visit(std::vector<T>&) for each kind, in the order in which objects depend on each other.
template <typename State, typename Visit>
void for_each_kind(State& state, Visit&& visit) {
  visit(state.links);
  visit(state.addresses);
  visit(state.sysctls);
  visit(state.neighbors);
  visit(state.fdb);
  visit(state.wireguard_peers);
  visit(state.filters);
  visit(state.tunnel_peers);
  visit(state.shortcuts);
  visit(state.pod_mtus);
  visit(state.nexthops);
  visit(state.routes);
  visit(state.forward_accepts);
  visit(state.nft_tables);
}

/// Sorts every vector by key. Observed states must be sorted before diff.
void sort_by_key(NetState& state);

/// What was found, and how much of it can be trusted to be whole.
struct Observed {
  NetState net;
  Kinds complete;                            // kinds that were read whole; a kind not here allows no deletes
  std::vector<ForeignChain> forward_drops;   // foreign forward hooks with policy drop (read with Kind::forward_accept)
};

/// Text of an object for messages, plans and --dry-run, in iproute2's words: "route 10.244.2.0/24 via 10.244.2.0 dev knet.1 onlink".
std::string describe(const Link&);
std::string describe(const Address&);
std::string describe(const Sysctl&);
std::string describe(const Neighbor&);
std::string describe(const FdbEntry&);
std::string describe(const WireguardPeer&);
std::string describe(const Filter&);
std::string describe(const TunnelPeer&);
std::string describe(const Shortcut&);
std::string describe(const PodMtu&);
std::string describe(const Nexthop&);
std::string describe(const Route&);
std::string describe(const ForwardAccept&);
std::string describe(const NftTable&);

template <> inline std::vector<Link>& NetState::of() { return links; }
template <> inline std::vector<Address>& NetState::of() { return addresses; }
template <> inline std::vector<Sysctl>& NetState::of() { return sysctls; }
template <> inline std::vector<Neighbor>& NetState::of() { return neighbors; }
template <> inline std::vector<FdbEntry>& NetState::of() { return fdb; }
template <> inline std::vector<WireguardPeer>& NetState::of() { return wireguard_peers; }
template <> inline std::vector<Filter>& NetState::of() { return filters; }
template <> inline std::vector<TunnelPeer>& NetState::of() { return tunnel_peers; }
template <> inline std::vector<Shortcut>& NetState::of() { return shortcuts; }
template <> inline std::vector<PodMtu>& NetState::of() { return pod_mtus; }
template <> inline std::vector<Nexthop>& NetState::of() { return nexthops; }
template <> inline std::vector<Route>& NetState::of() { return routes; }
template <> inline std::vector<ForwardAccept>& NetState::of() { return forward_accepts; }
template <> inline std::vector<NftTable>& NetState::of() { return nft_tables; }

}  // namespace knet
