// What the tests of the bgp mode share: clusters by node numbers, learned routes, peers by name.
#pragma once

#include <initializer_list>
#include <memory>

#include "modes/common/speaker_plan.h"
#include "tests/unit/modes/mode_cases.h"

namespace knet::test {

inline LearnedRoute learned(const std::string& dst, const std::string& next_hop,
                            const std::vector<std::string>& others = {}) {
  LearnedRoute route;
  route.dst = prefix(dst);
  route.next_hop = ip(next_hop);
  route.peer = route.next_hop;
  for (const std::string& other : others) route.others.push_back(ip(other));
  return route;
}

inline void learn(ClusterView& view, std::vector<LearnedRoute> routes, bool whole = true) {
  std::sort(routes.begin(), routes.end(),
            [](const LearnedRoute& a, const LearnedRoute& b) { return a.dst < b.dst; });
  view.learned = std::make_shared<const std::vector<LearnedRoute>>(std::move(routes));
  view.learned_whole = whole;
}

inline HostRoute host_route(const std::string& dst, const std::string& device, const std::string& via = "",
                            uint32_t metric = 0) {
  return {prefix(dst), dev(device), via.empty() ? IpAddr() : ip(via), metric};
}

/// n1 (ours) and n2 to n<nodes>, all in mode bgp.
inline ClusterView bgp_cluster(int nodes) {
  ClusterView view = view_of("bgp");
  for (int n = 2; n <= nodes; ++n) add_peer(view, n, "bgp");
  return view;
}

/// The same cluster as node n<number> sees it.
inline ClusterView as_seen_by(const ClusterView& view, int number) {
  if (number == 1) return view;
  ClusterView seen = view;
  const size_t at = static_cast<size_t>(number) - 2;
  std::swap(seen.self.lease, seen.leases[at]);
  std::swap(seen.self.name, seen.names[at]);
  seen.self.public_ip = seen.self.lease.public_ip;
  seen.self.uplink.address = Prefix(seen.self.public_ip, 24);
  return seen;
}

inline NodeSpec& spec(ClusterView& view, const std::string& node) {
  auto& specs = view.bgp.specs;
  const auto at = std::lower_bound(specs.begin(), specs.end(), node,
                                   [](const NodeSpec& one, const std::string& name) { return one.node < name; });
  if (at != specs.end() && at->node == node) return *at;
  NodeSpec made;
  made.node = node;
  return *specs.insert(at, made);
}

inline void reflect(ClusterView& view, const std::string& node, uint32_t cluster_id, const std::string& clients = "") {
  spec(view, node).reflector = cluster_id;
  spec(view, node).clients = clients;
}

inline bgp::SpeakerConfig plan(const ClusterView& view) { return plan_speaker(view, view.config.as_mode("bgp")); }

/// "n2 client, n3 mesh": by address.
inline std::string peers(const bgp::SpeakerConfig& config) {
  std::string out;
  for (const bgp::PeerConfig& peer : config.peers) out += (out.empty() ? "" : ", ") + peer.name + " " + peer.type;
  return out;
}

inline const bgp::PeerConfig& peer(const bgp::SpeakerConfig& config, const std::string& name) {
  for (const bgp::PeerConfig& one : config.peers)
    if (one.name == name) return one;
  throw std::runtime_error("no peer " + name);
}

}  // namespace knet::test
