#include "modes/common/speaker_plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <unordered_set>

#include "base/digest.h"
#include "base/error.h"
#include "core/selector.h"
#include "modes/common/bgp_policy.h"
#include "modes/common/plain.h"

namespace knet {
namespace {

constexpr uint32_t kClusterPrefixLimit = 100'000;  // the least that is taken from a node of the cluster
constexpr uint32_t kByGateway = 1;                 // what a next hop costs that is not on link
constexpr Family kFamilies[] = {Family::v4, Family::v6};

/// A node of the cluster that speaks, ours too.
struct Speaking {
  std::string name;
  IpAddr ip, ip6;
  bgp::Asn asn = 0;
  uint32_t cluster_id = 0;  // 0: no reflector
  Selector clients;
  bool chooses = false;     // its clients are chosen by the selector
  Labels labels;
  bool reflects() const { return cluster_id != 0; }
};

Speaking speaking(const BgpView& bgp, std::string name, const IpAddr& ip, const IpAddr& ip6) {
  Speaking node;
  node.asn = bgp.config.asn;
  if (is_node_address(ip, Family::v4)) node.ip = ip;
  if (is_node_address(ip6, Family::v6)) node.ip6 = ip6;
  if (const NodeSpec* spec = bgp.spec(name); spec != nullptr) {
    node.asn = spec->asn.value_or(bgp.config.asn);
    node.labels = spec->labels;
    if (spec->reflector) {
      node.cluster_id = *spec->reflector;
      node.chooses = !spec->clients.empty();
      try {
        if (node.chooses) node.clients = Selector(spec->clients);
      } catch (const Error&) {
        node.cluster_id = 0;  // the store's edge names it; nobody is served on a guess
      }
    }
  }
  node.name = std::move(name);
  return node;
}

/// RFC 4456: whether `node` is a client of `reflector`.
bool serves(const Speaking& reflector, const Speaking& node) {
  if (!reflector.reflects() || reflector.asn != node.asn || reflector.cluster_id == node.cluster_id) return false;
  return reflector.chooses ? reflector.clients.matches(node.labels) : !node.reflects();
}

/// The other nodes that speak, each once, by name.
std::vector<Speaking> others(const ClusterView& view) {
  std::vector<Speaking> nodes;
  const auto& joined = view.bgp.joined;
  const auto has_joined = [&](const IpAddr& ip) {
    return ip && std::binary_search(joined.begin(), joined.end(), ip);
  };
  const auto add = [&](std::string name, const IpAddr& ip, const IpAddr& ip6) {
    Speaking node = speaking(view.bgp, std::move(name), ip, ip6);
    const bool is_us = (node.ip && node.ip == view.self.public_ip) || (node.ip6 && node.ip6 == view.self.public_ip6);
    if (!is_us && (node.ip || node.ip6)) nodes.push_back(std::move(node));
  };
  for (uint32_t i = 0; i < view.leases.size(); ++i) {
    const Lease& lease = view.leases[i];
    if (lease.mode == "bgp" || has_joined(lease.public_ip) || has_joined(lease.public_ip6))
      add(name_of(view, i), lease.public_ip, lease.public_ip6);
  }
  for (const BgpSpeakerNode& node : view.bgp.speakers)
    if (node.node != view.self.name) add(node.node, node.public_ip, node.public_ip6);
  return nodes;
}

class Planner {
 public:
  Planner(const ClusterView& view, const NetworkConfig& config)
      : view_(view),
        config_(config),
        bgp_(view.bgp.config),
        self_(speaking(view.bgp, view.self.name, view.self.public_ip, view.self.public_ip6)),
        others_(others(view)) {
    bounds_.networks = config.networks();
    bounds_.more_import = bgp_.import;
    bounds_.more_export = bgp_.advertise;
    for (const Family family : kFamilies)
      if (const Prefix& own = subnet_of(view.self.lease, family)) bounds_.own.push_back(own);
  }

  bgp::SpeakerConfig plan() {
    out_.rib.asn = self_.asn;
    out_.rib.id = router_id();
    out_.rib.cluster_id = self_.cluster_id;
    out_.rib.max_paths = static_cast<int>(bgp_.max_paths);
    out_.port = bgp_.port;
    add_cluster_peers();
    add_outside_peers();
    add_listen();
    add_originated();
    add_igp();
    const bool passes_on = std::any_of(out_.peers.begin(), out_.peers.end(), [](const bgp::PeerConfig& peer) {
      return peer.role == bgp::PeerRole::ebgp;
    });
    out_.defer_selection = view_.self.restarted && (self_.reflects() || passes_on);
    return std::move(out_);
  }

 private:
  uint32_t router_id() const {
    if (self_.ip) return self_.ip.v4_value();
    const uint64_t hash = fingerprint(self_.name);
    const auto id = static_cast<uint32_t>(hash ^ hash >> 32);
    return id != 0 ? id : 1;
  }

  bgp::PeerConfig peer_at(const Prefix& remote, bgp::Asn asn) const {
    bgp::PeerConfig peer;
    peer.remote = remote;
    peer.session.local_as = self_.asn;
    peer.session.local_id = router_id();
    peer.session.remote_as = asn;
    peer.session.hold_time = bgp_.hold_time;
    peer.session.restart_time = bgp_.restart_time;
    peer.session.families[0] = config_.enable_v4;
    peer.session.families[1] = config_.enable_v6;
    peer.session.extended_next_hop = remote.is_v6() && config_.enable_v4;
    peer.other_local = remote.is_v6() ? self_.ip : self_.ip6;
    return peer;
  }

  // --- the cluster's nodes

  void add_cluster_peers() {
    const bgp::Policy import_ibgp = cluster_import(bounds_, 0);
    for (const Speaking& node : others_) {
      const bool served = serves(self_, node), serving = serves(node, self_);
      if (!bgp_.mesh && !served && !serving && !(is_top(self_) && is_top(node))) continue;
      const bool by_v4 = self_.ip && node.ip;
      if (!by_v4 && !(self_.ip6 && node.ip6)) continue;
      const IpAddr& address = by_v4 ? node.ip : node.ip6;
      bgp::PeerConfig peer = peer_at(Prefix::host(address), node.asn);
      peer.name = node.name;
      peer.type = served ? "client" : serving || !bgp_.mesh ? "reflector" : "mesh";
      peer.port = bgp_.port;
      peer.local = by_v4 ? self_.ip : self_.ip6;
      peer.password = bgp_.password;
      peer.prefix_limit = std::max(bgp_.prefix_limit, kClusterPrefixLimit);
      if (node.asn == self_.asn) {
        peer.role = served ? bgp::PeerRole::reflector_client : bgp::PeerRole::ibgp;
        peer.import = import_ibgp;
      } else {
        peer.role = bgp::PeerRole::ebgp;
        const Uplink& uplink = uplink_of(view_.self, address.family());
        if (on_link(uplink, address))
          peer.link = uplink.address.masked();
        else
          peer.multihop = true;
        peer.import = cluster_import(bounds_, node.asn);
      }
      peer.export_.key = "all";
      add(std::move(peer));
    }
  }

  /// A reflector that is nobody's client.
  bool is_top(const Speaking& node) const {
    if (!node.reflects()) return false;
    const auto served_by = [&](const Speaking& other) { return &other != &node && serves(other, node); };
    return !served_by(self_) && std::none_of(others_.begin(), others_.end(), served_by);
  }

  // --- peers outside

  bool applies(const BgpPeerSpec& spec) const {
    if (!spec.node.empty() && spec.node != self_.name) return false;
    try {
      return spec.selector.empty() || Selector(spec.selector).matches(self_.labels);
    } catch (const Error&) {
      return false;  // the store's edge names it
    }
  }

  void add_outside_peers() {
    std::vector<const BgpPeerSpec*> specs;
    for (const BgpPeerSpec& spec : view_.bgp.peers)
      if (spec.remote && applies(spec)) specs.push_back(&spec);
    // Of several for one address the one that is meant most closely for this node.
    const auto breadth = [](const BgpPeerSpec* spec) { return !spec->node.empty() ? 0 : !spec->selector.empty() ? 1 : 2; };
    std::stable_sort(specs.begin(), specs.end(),
                     [&](const BgpPeerSpec* a, const BgpPeerSpec* b) { return breadth(a) < breadth(b); });
    for (const BgpPeerSpec* spec : specs)
      if (spec->remote.addr() != view_.self.public_ip && spec->remote.addr() != view_.self.public_ip6)
        add(outside_peer(*spec));
    std::sort(out_.peers.begin(), out_.peers.end(),
              [](const bgp::PeerConfig& a, const bgp::PeerConfig& b) { return a.remote < b.remote; });
  }

  bgp::PeerConfig outside_peer(const BgpPeerSpec& spec) const {
    bgp::PeerConfig peer = peer_at(spec.remote.masked(), spec.asn);
    const bool internal = spec.asn == self_.asn;
    const Uplink& uplink = uplink_of(view_.self, spec.remote.family());
    const bool near = uplink.dev && uplink.address.contains(spec.remote);
    peer.name = spec.name;
    peer.type = !spec.remote.is_host()   ? "dynamic"
                : !spec.node.empty()     ? "node"
                : !spec.selector.empty() ? "selector"
                                         : "global";
    peer.port = spec.port;
    if (near) peer.local = uplink.address.addr();
    peer.password = spec.password;
    peer.ttl_security = spec.ttl_security;
    peer.multihop = spec.multihop;
    peer.session.passive = spec.passive || !spec.remote.is_host();
    if (spec.hold_time != 0) peer.session.hold_time = spec.hold_time;
    peer.role = !internal     ? bgp::PeerRole::ebgp
                : spec.client ? bgp::PeerRole::reflector_client
                              : bgp::PeerRole::ibgp;
    peer.client = spec.client;
    peer.next_hop_self = spec.next_hop == BgpNextHop::self;
    peer.next_hop_unchanged = spec.next_hop == BgpNextHop::keep;
    if (!internal && near && spec.next_hop == BgpNextHop::automatic) peer.link = uplink.address.masked();
    peer.prefix_limit = spec.prefix_limit.value_or(bgp_.prefix_limit);
    peer.import = outside_import(bounds_, internal ? 0 : spec.asn, spec.import);
    peer.export_ = outside_export(bounds_, spec.export_);
    return peer;
  }

  /// Each remote once: the cluster's nodes come first.
  void add(bgp::PeerConfig peer) {
    if (remotes_.insert(peer.remote.str()).second) out_.peers.push_back(std::move(peer));
  }

  // --- what we tell

  void add_listen() {
    const auto wanted = [&](Family family) {
      return enabled(config_, family) || std::any_of(out_.peers.begin(), out_.peers.end(), [&](const bgp::PeerConfig& peer) {
               return peer.remote.family() == family;
             });
    };
    if (wanted(Family::v4)) out_.listen.push_back(IpAddr::v4(0));
    if (wanted(Family::v6)) out_.listen.push_back(IpAddr::from_bytes(Family::v6, std::array<uint8_t, 16>{}.data()));
  }

  void add_originated() {
    out_.hands_over = view_.self.runs_pods;
    if (!view_.self.runs_pods) return;
    std::vector<Prefix> prefixes = bounds_.own;
    const auto holds = [](const std::vector<Prefix>& networks, const IpAddr& ip) {
      return std::any_of(networks.begin(), networks.end(), [&](const Prefix& network) { return network.contains(ip); });
    };
    for (const Endpoint& endpoint : view_.endpoints)
      for (const IpAddr& ip : endpoint.addresses)
        if (holds(bounds_.networks, ip) && !holds(bounds_.own, ip)) prefixes.push_back(Prefix::host(ip));
    prefixes.insert(prefixes.end(), bgp_.advertise.begin(), bgp_.advertise.end());
    for (Prefix& prefix : prefixes) prefix = prefix.masked();
    std::sort(prefixes.begin(), prefixes.end());
    prefixes.erase(std::unique(prefixes.begin(), prefixes.end()), prefixes.end());
    bgp::Attributes attributes;
    attributes.local_pref = bgp_.local_pref;
    for (const Prefix& prefix : prefixes) out_.originated.emplace_back(prefix, attributes);
  }

  void add_igp() {
    for (const Family family : kFamilies)
      if (const Uplink& uplink = uplink_of(view_.self, family); uplink.dev)
        out_.igp.push_back({uplink.address.masked(), 0});
    for (const HostRoute& route : view_.self.host_routes) out_.igp.push_back({route.dst, route.via ? kByGateway : 0});
    std::sort(out_.igp.begin(), out_.igp.end(), [](const bgp::IgpRoute& a, const bgp::IgpRoute& b) {
      return a.dst != b.dst ? a.dst < b.dst : a.cost < b.cost;
    });
    out_.igp.erase(std::unique(out_.igp.begin(), out_.igp.end(),
                               [](const bgp::IgpRoute& a, const bgp::IgpRoute& b) { return a.dst == b.dst; }),
                   out_.igp.end());
  }

  const ClusterView& view_;
  const NetworkConfig& config_;
  const BgpConfig& bgp_;
  const Speaking self_;
  const std::vector<Speaking> others_;
  BgpBounds bounds_;
  std::unordered_set<std::string> remotes_;
  bgp::SpeakerConfig out_;
};

}  // namespace

bgp::SpeakerConfig plan_speaker(const ClusterView& view, const NetworkConfig& config) {
  return Planner(view, config).plan();
}

}  // namespace knet
