// knet bgp peer list, show and remove.
#include "commands/bgp/peer.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "commands/bgp/bgp.h"
#include "commands/bgp/reach.h"
#include "commands/common/output.h"
#include "commands/common/table.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

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

}  // namespace

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
    for (const BgpPeerSpec& peer : peers.rows) rows.push_back(bgp_peer_json(peer));
    print_json({{"peers", rows}, {"problems", peers.problems}});
    return kExitOk;
  }
  std::vector<Column> columns{{"NAME"}, {"ADDRESS"}, {"AS"}, {"NODES"}};
  if (flags.output.wide()) columns.insert(columns.end(), {{"PORT"}, {"HOLD"}, {"NEXT HOP"}, {"LIMIT"}});
  columns.push_back({"SETTINGS", Column::Kind::free});
  Table table(columns);
  for (const BgpPeerSpec& peer : peers.rows) {
    std::vector<Cell> cells{peer.name, bgp_peer_remote(peer), bgp_peer_asn(peer), bgp_peer_nodes(peer)};
    if (flags.output.wide())
      cells.insert(cells.end(), {peer.remote.is_host() ? fmt::format("{}", peer.port) : "-", peer.hold_time == 0 ? "-" : fmt::format("{}", peer.hold_time),
                                 to_string(peer.next_hop), peer.prefix_limit ? fmt::format("{}", *peer.prefix_limit) : "-"});
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
    Json json = bgp_peer_json(peer);
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
    for (const BgpRule& rule : list) table.add({name, format(rule)});
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
