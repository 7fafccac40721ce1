#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "commands/bgp/peer.h"
#include "commands/common/secrets.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> texts(const std::vector<BgpRule>& rules) {
  std::vector<std::string> out;
  for (const BgpRule& rule : rules) out.push_back(format(rule));
  return out;
}

}  // namespace

std::string_view to_string(BgpNextHop next_hop) {
  return next_hop == BgpNextHop::self ? "self" : next_hop == BgpNextHop::keep ? "keep" : "auto";
}

std::string bgp_peer_asn(const BgpPeerSpec& peer) { return peer.asn == 0 ? "any" : fmt::format("{}", peer.asn); }

Json bgp_peer_json(const BgpPeerSpec& peer) {
  return {{"name", peer.name}, {"remote", bgp_peer_remote(peer)}, {"dynamic", !peer.remote.is_host()},
          {"asn", peer.asn == 0 ? Json(nullptr) : Json(peer.asn)}, {"node", peer.node}, {"selector", peer.selector},
          {"password", peer.password.empty() ? Json(nullptr) : Json("(hidden)")}, {"ttl_security", peer.ttl_security},
          {"multihop", peer.multihop}, {"passive", peer.passive}, {"client", peer.client}, {"port", peer.port},
          {"hold_time", peer.hold_time == 0 ? Json(nullptr) : Json(peer.hold_time)}, {"next_hop", to_string(peer.next_hop)},
          {"prefix_limit", peer.prefix_limit ? Json(*peer.prefix_limit) : Json(nullptr)},
          {"import", texts(peer.import)}, {"export", texts(peer.export_)}};
}

std::string bgp_peer_remote(const BgpPeerSpec& peer) { return peer.remote.is_host() ? peer.remote.addr().str() : peer.remote.str(); }

std::string bgp_peer_nodes(const BgpPeerSpec& peer) { return !peer.node.empty() ? peer.node : peer.selector.empty() ? "all" : peer.selector; }

std::vector<BgpPeerRow> bgp_peer_rows(const BgpPeerSpec& peer) {
  const auto on = [](bool value) { return value ? "on" : "off"; };
  return {{"remote", bgp_peer_remote(peer) + (peer.remote.is_host() ? "" : ", dynamic neighbours"), false},
          {"as", bgp_peer_asn(peer), false},
          {"nodes", bgp_peer_nodes(peer), false},
          {"password", shown_password(peer.password), peer.password.empty()},
          {"ttl-security", on(peer.ttl_security), !peer.ttl_security},
          {"multihop", on(peer.multihop), !peer.multihop},
          {"passive", on(peer.passive), !peer.passive},
          {"client", on(peer.client), !peer.client},
          {"port", fmt::format("{}", peer.port), peer.port == BgpPeerSpec{}.port},
          {"hold-time", peer.hold_time == 0 ? "the cluster's" : fmt::format("{}", peer.hold_time), peer.hold_time == 0},
          {"next-hop", std::string(to_string(peer.next_hop)), peer.next_hop == BgpNextHop::automatic},
          {"prefix-limit", peer.prefix_limit ? fmt::format("{}", *peer.prefix_limit) : "the cluster's", !peer.prefix_limit},
          {"import", join(texts(peer.import), "; "), peer.import.empty()},
          {"export", join(texts(peer.export_), "; "), peer.export_.empty()}};
}

BgpPeerSpec find_bgp_peer(ClusterStore& cluster, const std::string& name) {
  const BgpPeerTable peers = cluster.list_bgp_peers();
  std::vector<std::string> names;
  std::vector<const BgpPeerSpec*> there;
  for (const BgpPeerSpec& peer : peers.rows) {
    if (peer.name == name) return peer;
    if (bgp_peer_remote(peer) == name) there.push_back(&peer);
    names.push_back(peer.name);
  }
  if (there.size() == 1) return *there.front();
  for (const std::string& problem : peers.problems)
    if (problem.find("/" + name + ":") != std::string::npos) fail(ErrorKind::config, "{}", problem);
  if (there.size() > 1) fail(ErrorKind::usage, "{} peers have the address {}; give one by its name, as in knet bgp peer list", there.size(), name);
  const auto near = nearest(name, names);
  fail(ErrorKind::usage, "no peer '{}'; {}", printable(name), near ? "did you mean " + *near + "?" : "knet bgp peer list shows all");
}

}  // namespace knet
