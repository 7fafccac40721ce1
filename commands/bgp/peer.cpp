// knet bgp peer list, show and remove.
#include "commands/bgp/peer.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "commands/bgp/bgp.h"
#include "commands/bgp/reach.h"
#include "commands/common/output.h"
#include "commands/common/secrets.h"
#include "commands/common/table.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

std::string_view text_of(BgpNextHop next_hop) {
  return next_hop == BgpNextHop::self ? "self" : next_hop == BgpNextHop::keep ? "keep" : "auto";
}

std::vector<std::string> texts(const std::vector<BgpRule>& rules) {
  std::vector<std::string> out;
  for (const BgpRule& rule : rules) out.push_back(format(rule));
  return out;
}

std::string asn_text(const BgpPeerSpec& peer) { return peer.asn == 0 ? "any" : fmt::format("{}", peer.asn); }

std::string flags_text(const BgpPeerSpec& peer) {
  std::vector<std::string> words;
  if (!peer.password.empty()) words.push_back("password");
  if (peer.ttl_security) words.push_back("ttl-security");
  if (peer.multihop) words.push_back("multihop");
  if (peer.passive) words.push_back("passive");
  if (peer.client) words.push_back("client");
  if (!peer.import.empty()) words.push_back(count_of(peer.import.size(), "import rule"));
  if (!peer.export_.empty()) words.push_back(count_of(peer.export_.size(), "export rule"));
  return join(words, ", ");
}

Json as_json(const BgpPeerSpec& peer) {
  return {{"name", peer.name}, {"remote", bgp_peer_remote(peer)}, {"dynamic", !peer.remote.is_host()},
          {"asn", peer.asn == 0 ? Json(nullptr) : Json(peer.asn)}, {"node", peer.node}, {"selector", peer.selector},
          {"password", peer.password.empty() ? Json(nullptr) : Json("(hidden)")}, {"ttl_security", peer.ttl_security},
          {"multihop", peer.multihop}, {"passive", peer.passive}, {"client", peer.client}, {"port", peer.port},
          {"hold_time", peer.hold_time == 0 ? Json(nullptr) : Json(peer.hold_time)}, {"next_hop", text_of(peer.next_hop)},
          {"prefix_limit", peer.prefix_limit ? Json(*peer.prefix_limit) : Json(nullptr)},
          {"import", texts(peer.import)}, {"export", texts(peer.export_)}};
}

}  // namespace

std::string bgp_peer_remote(const BgpPeerSpec& peer) { return peer.remote.is_host() ? peer.remote.addr().str() : peer.remote.str(); }

std::string bgp_peer_nodes(const BgpPeerSpec& peer) { return !peer.node.empty() ? peer.node : peer.selector.empty() ? "all" : peer.selector; }

std::vector<BgpPeerRow> bgp_peer_rows(const BgpPeerSpec& peer) {
  const auto on = [](bool value) { return value ? "on" : "off"; };
  return {{"remote", bgp_peer_remote(peer) + (peer.remote.is_host() ? "" : ", dynamic neighbours"), false},
          {"as", asn_text(peer), false},
          {"nodes", bgp_peer_nodes(peer), false},
          {"password", shown_password(peer.password), peer.password.empty()},
          {"ttl-security", on(peer.ttl_security), !peer.ttl_security},
          {"multihop", on(peer.multihop), !peer.multihop},
          {"passive", on(peer.passive), !peer.passive},
          {"client", on(peer.client), !peer.client},
          {"port", fmt::format("{}", peer.port), peer.port == BgpPeerSpec{}.port},
          {"hold-time", peer.hold_time == 0 ? "the cluster's" : fmt::format("{}", peer.hold_time), peer.hold_time == 0},
          {"next-hop", std::string(text_of(peer.next_hop)), peer.next_hop == BgpNextHop::automatic},
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

std::vector<std::string> bgp_peer_names(const BgpFlags& flags) {
  OpenCluster open(flags.store_options());
  std::vector<std::string> names;
  for (const BgpPeerSpec& peer : open.cluster.list_bgp_peers().rows) names.push_back(peer.name);
  return names;
}

int bgp_peer_list(const BgpFlags& flags) {
  OpenCluster open(flags.store_options());
  const BgpPeerTable peers = open.cluster.list_bgp_peers();
  if (flags.output.json()) {
    Json rows = Json::array();
    for (const BgpPeerSpec& peer : peers.rows) rows.push_back(as_json(peer));
    print_json({{"peers", rows}, {"problems", peers.problems}});
    return kExitOk;
  }
  std::vector<Column> columns{{"NAME"}, {"ADDRESS"}, {"AS"}, {"NODES"}};
  if (flags.output.wide()) columns.insert(columns.end(), {{"PORT"}, {"HOLD"}, {"NEXT HOP"}, {"LIMIT"}});
  columns.push_back({"SETTINGS", Column::Kind::free});
  Table table(columns);
  for (const BgpPeerSpec& peer : peers.rows) {
    std::vector<Cell> cells{peer.name, bgp_peer_remote(peer), asn_text(peer), bgp_peer_nodes(peer)};
    if (flags.output.wide())
      cells.insert(cells.end(), {peer.remote.is_host() ? fmt::format("{}", peer.port) : "-", peer.hold_time == 0 ? "-" : fmt::format("{}", peer.hold_time),
                                 text_of(peer.next_hop), peer.prefix_limit ? fmt::format("{}", *peer.prefix_limit) : "-"});
    cells.emplace_back(flags_text(peer));
    table.add(std::move(cells));
  }
  if (!table.empty()) print(table);
  for (const std::string& problem : peers.problems) print("unreadable: " + problem + "\n");
  print(fmt::format("{} outside of the cluster.  next: {}\n", count_of(peers.rows.size(), "peer"),
                    peers.rows.empty() ? "knet bgp peer add ADDRESS --as N" : "knet bgp peers, for the sessions of a node"));
  return kExitOk;
}

int bgp_peer_show(const BgpFlags& flags) {
  OpenCluster open(flags.store_options());
  const BgpPeerSpec peer = find_bgp_peer(open.cluster, flags.peers.front());
  const std::vector<NodeSpec> specs = open.cluster.list_node_specs().rows;
  std::vector<std::string> nodes;
  for (const std::string& name : present_nodes(open.cluster.list_nodes(open.config.mode, false)))
    if (applies_to(peer, spec_of(specs, name))) nodes.push_back(name);
  if (flags.output.json()) {
    Json json = as_json(peer);
    json["nodes"] = nodes;
    print_json({{"peer", json}});
    return kExitOk;
  }
  Table table({{""}, {"", Column::Kind::free}});
  table.add({"peer", peer.name});
  for (const BgpPeerRow& row : bgp_peer_rows(peer)) {
    if (row.name == "import" || row.name == "export") continue;
    table.add({row.name, row.name != "nodes" ? row.value : row.value + (nodes.empty() ? ": none now" : ": " + join(nodes, ", "))});
  }
  const auto rules = [&](const char* name, const std::vector<BgpRule>& list, const char* otherwise) {
    for (const std::string& rule : texts(list)) table.add({name, rule});
    table.add({name, otherwise});
  };
  rules("import", peer.import, "otherwise accept what lies in the cluster's networks or its import prefixes, reject the rest");
  rules("export", peer.export_, "otherwise accept pods' subnets and the cluster's advertised prefixes, reject the rest");
  print(table);
  return kExitOk;
}

int bgp_peer_remove(const BgpFlags& flags) {
  OpenCluster open(flags.store_options());
  std::vector<std::string> names;
  for (const std::string& given : flags.peers) {
    // One that can't be read has its name only.
    const BgpPeerTable peers = open.cluster.list_bgp_peers();
    bool unreadable = false;
    for (const std::string& problem : peers.problems) unreadable |= problem.find("bgp/peers/" + given + ":") != std::string::npos;
    names.push_back(unreadable ? given : find_bgp_peer(open.cluster, given).name);
  }
  std::vector<std::string> removed;
  for (const std::string& name : names)
    if (open.cluster.remove_bgp_peer(name)) removed.push_back(name);
  if (flags.output.json()) print_json({{"removed", removed}});
  for (const std::string& name : removed)
    if (!flags.output.json()) print(fmt::format("removed {}; its sessions end as the agents follow\n", name));
  return kExitOk;
}

}  // namespace knet
