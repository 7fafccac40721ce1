#include "view/tunnel_way.h"

#include <fmt/core.h>

#include <algorithm>

namespace knet {
namespace {

template <typename T>
const T* find(const std::vector<T>& objects, const std::decay_t<typename T::Key>& key) {
  const auto it = std::lower_bound(objects.begin(), objects.end(), key,
                                   [](const T& object, const auto& wanted) { return object.key() < wanted; });
  return it != objects.end() && it->key() == key ? &*it : nullptr;
}

/// The address that the peer announced, of the outer family where that is known.
IpAddr announced(const Lease& peer, Family outer) { return outer == Family::v6 ? peer.public_ip6 : peer.public_ip; }

class Way {
 public:
  explicit Way(const TunnelAsk& ask) : ask_(ask), seen_(ask.observed.net) { way_.at = ask.device.name.str(); }

  TunnelWay find_out() {
    switch (ask_.device.type) {
      case LinkType::vxlan: by_vxlan(); break;
      case LinkType::ipip: by_ipip(); break;
      case LinkType::wireguard: by_wireguard(); break;
      case LinkType::tun: by_tun(); break;
      default: missing("it is no tunnel"); break;
    }
    if (way_.missing.empty() && !way_.outer) missing(fmt::format("where {} is can't be told", ask_.dst.str()));
    return std::move(way_);
  }

 private:
  bool whole(Kind kind) const { return ask_.observed.complete.test(static_cast<size_t>(kind)); }
  void missing(std::string text) {
    if (way_.missing.empty()) way_.missing = std::move(text);
  }
  /// The outer address that an entry of the kernel has, held against what the peer announced.
  void leads_to(const IpAddr& outer, std::string_view what) {
    way_.outer = outer;
    const IpAddr own = ask_.peer != nullptr ? announced(*ask_.peer, outer.family()) : IpAddr{};
    if (outer && own && own != outer)
      missing(fmt::format("{} sends to {}, but {} is at {}", what, outer.str(), ask_.peer_name, own.str()));
  }
  /// Nothing of the kernel's could be read: as the lease has it.
  void assume(Family family) {
    if (ask_.peer != nullptr) way_.outer = announced(*ask_.peer, family);
  }

  void by_vxlan() {
    const DevName& dev = ask_.device.name;
    const VxlanAttrs attrs = ask_.device.vxlan.value_or(VxlanAttrs{});
    const IpAddr gateway = ask_.gateway ? ask_.gateway : ask_.dst;
    assume(attrs.local.family());
    const Neighbor* neighbor = find(seen_.neighbors, {dev, gateway});
    if (neighbor == nullptr) {
      if (whole(Kind::neighbor)) missing(fmt::format("no neighbour entry for {} ({})", gateway.str(), ask_.peer_name));
    } else if (const FdbEntry* entry = find(seen_.fdb, {dev, neighbor->mac})) {
      leads_to(entry->dst, "the fdb");
    } else if (whole(Kind::fdb)) {
      missing(fmt::format("no fdb entry for {} ({})", neighbor->mac.str(), ask_.peer_name));
    }
    way_.text = fmt::format("vxlan {} to {}, udp {}", attrs.vni, way_.outer.str(), attrs.port);
  }

  // Remote any: the route's gateway is the outer address.
  void by_ipip() {
    leads_to(ask_.gateway, "the route");
    way_.text = fmt::format("ipip to {}, IP protocol 4", way_.outer.str());
  }

  void by_wireguard() {
    const WireguardPeer* best = nullptr;
    uint8_t length = 0;
    for (const WireguardPeer& peer : seen_.wireguard_peers)
      for (const Prefix& prefix : peer.allowed)
        if (peer.dev == ask_.device.name && prefix.contains(ask_.dst) && (best == nullptr || prefix.length() > length)) {
          best = &peer;
          length = static_cast<uint8_t>(prefix.length());
        }
    if (best == nullptr) {
      assume(ask_.peer != nullptr && !ask_.peer->public_ip ? Family::v6 : Family::v4);
      if (whole(Kind::wireguard_peer))
        missing(fmt::format("no wireguard peer may be sent {} ({})", ask_.dst.str(), ask_.peer_name));
      way_.text = fmt::format("wireguard to {}", way_.outer.str());
      return;
    }
    // Where the peer speaks from another address (NAT, it moved), the kernel follows: no fault.
    way_.outer = best->endpoint;
    if (!best->endpoint) missing(fmt::format("the wireguard peer {} has no address yet: it must speak first", ask_.peer_name));
    way_.text = fmt::format("wireguard to {}, udp {}", best->endpoint.str(), best->port);
  }

  template <typename Peers>
  const TunnelPeer* longest(const Peers& peers) const {
    const TunnelPeer* best = nullptr;
    for (const TunnelPeer& peer : peers)
      if (peer.dev == ask_.device.name && peer.inner.contains(ask_.dst) &&
          (best == nullptr || peer.inner.length() > best->inner.length()))
        best = &peer;
    return best;
  }

  void by_tun() {
    const auto pump = std::find_if(ask_.desired.pumps.begin(), ask_.desired.pumps.end(),
                                   [&](const TunnelPump& one) { return one.dev == ask_.device.name; });
    const bool has_pump = pump != ask_.desired.pumps.end();
    const TunnelPeer* peer = nullptr;
    const bool bpf = has_filters();
    assume(ask_.dst.family());
    if (bpf) {
      check_filters();
      peer = longest(seen_.tunnel_peers);
      if (peer == nullptr && whole(Kind::tunnel_peer))
        missing(fmt::format("no entry for {} in the BPF map ({})", ask_.dst.str(), ask_.peer_name));
      if (peer != nullptr) leads_to(peer->outer, "the BPF map");
    } else {
      if (!ask_.device.running) missing("nobody carries its packets: they need a running agent");
      peer = has_pump ? longest(pump->peers) : nullptr;
      if (peer != nullptr) leads_to(peer->outer, "the agent");
    }
    const TunnelWire wire = has_pump ? pump->wire : TunnelWire::udp;
    const uint16_t port = peer != nullptr ? peer->port : has_pump ? pump->port : uint16_t{0};
    const std::string_view by = bpf ? "bpf" : "user space";
    if (wire == TunnelWire::udp) way_.text = fmt::format("{} to {}, udp {}", by, way_.outer.str(), port);
    // RFC 2003, RFC 2473
    else way_.text = fmt::format("{} to {}, IP protocol {}", by, way_.outer.str(), ask_.dst.is_v4() ? 4 : 41);
  }

  bool has_filters() const {
    return std::any_of(ask_.desired.net.filters.begin(), ask_.desired.net.filters.end(),
                       [&](const Filter& filter) { return filter.tunnel == ask_.device.name; });
  }

  void check_filters() {
    if (!whole(Kind::filter)) return;
    for (const Filter& want : ask_.desired.net.filters) {
      if (want.tunnel != ask_.device.name) continue;
      const Filter* seen = find(seen_.filters, want.key());
      if (seen != nullptr && seen->digest == want.digest) continue;
      if (way_.missing.empty()) way_.at = want.dev.str();
      const bool encap = want.end == TunnelEnd::encap;
      missing(fmt::format("the BPF filter that {} is {}", encap ? "sends" : fmt::format("takes answers into {}", want.tunnel.view()),
                          seen == nullptr ? "not there" : "not the one that is wanted"));
    }
  }

  const TunnelAsk& ask_;
  const NetState& seen_;
  TunnelWay way_;
};

}  // namespace

TunnelWay tunnel_way(const TunnelAsk& ask) { return Way(ask).find_out(); }

}  // namespace knet
