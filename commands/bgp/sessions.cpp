// knet bgp peers and knet bgp peer reset: the sessions of this node, from its agent.
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "agent/status_client.h"
#include "base/json.h"
#include "base/text.h"
#include "commands/bgp/bgp.h"
#include "commands/common/output.h"
#include "commands/common/table.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kAnswer = "the agent's answer";

/// Fields of an agent that may be older or newer: what is missing has its usual value.
template <typename T>
T field(const nlohmann::json& object, const char* key, T usual) {
  const auto at = object.find(key);
  if (at == object.end() || at->is_null()) return usual;
  try {
    return at->get<T>();
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::kernel, "{}: {} is not what it should be; is the agent of another version?", kAnswer, key);
  }
}

nlohmann::json ask_peers(const NodePaths& paths) {
  nlohmann::json tree = parse_json(ask_agent(paths, {"bgp/peers", {}}), kAnswer);
  if (!tree.is_object() || !tree["peers"].is_array()) fail(ErrorKind::kernel, "{} to bgp/peers has no peers", kAnswer);
  return tree;
}

std::string error_text(const nlohmann::json& peer) {
  std::vector<std::string> parts;
  if (field(peer, "restarting", false)) parts.push_back(fmt::format("it restarts, {} kept", count_of(field<uint64_t>(peer, "stale", 0), "route")));
  if (const std::string error = field<std::string>(peer, "last_error", ""); !error.empty()) parts.push_back(error);
  return parts.empty() ? "-" : join(parts, "; ");
}

std::string footer(const nlohmann::json& tree, size_t peers, size_t up) {
  std::string text = count_of(peers, "peer");
  if (peers > 0) text += fmt::format(": {} established", up);
  if (up < peers) text += fmt::format(", {} down", peers - up);
  text += fmt::format(".  {} AS {}, router id {}, mesh {}", field<std::string>(tree, "node", "?"), field<uint64_t>(tree, "asn", 0),
                      field<std::string>(tree, "router_id", "-"), field(tree, "mesh", false) ? "on" : "off");
  if (const std::string cluster = field<std::string>(tree, "cluster_id", ""); !cluster.empty()) text += ", reflector of cluster " + cluster;
  return text + "\n";
}

void print_table(const nlohmann::json& tree, bool wide) {
  std::vector<Column> columns{{"PEER"}, {"TYPE"}, {"NODE"}, {"AS", Column::Kind::right}, {"STATE"}, {"SINCE"}, {"RECV", Column::Kind::right}, {"SENT", Column::Kind::right}};
  if (wide)
    columns.insert(columns.end(), {{"ACCEPTED", Column::Kind::right}, {"BEST", Column::Kind::right}, {"STALE", Column::Kind::right}, {"ROUTER ID"}, {"FAMILIES"},
                                   {"HOLD", Column::Kind::right}, {"MSG IN", Column::Kind::right}, {"MSG OUT", Column::Kind::right}, {"BACKLOG", Column::Kind::right}, {"LOCAL"}});
  columns.push_back({"LAST ERROR", Column::Kind::free});
  Table table(columns);
  const int64_t now = unix_now();
  size_t up = 0;
  for (const nlohmann::json& peer : tree["peers"]) {
    const std::string state = field<std::string>(peer, "state", "");
    const bool established = state == "established";
    up += established;
    const auto count = [&](const char* key, bool always = true) {
      return always ? fmt::format("{}", field<uint64_t>(peer, key, 0)) : std::string("-");
    };
    const uint64_t asn = field<uint64_t>(peer, "asn", 0);
    std::vector<Cell> cells{field<std::string>(peer, "address", ""), field<std::string>(peer, "type", ""), field<std::string>(peer, "name", ""),
                            asn == 0 ? "any" : fmt::format("{}", asn), Cell(state, established ? Tone::plain : Tone::bad),
                            since(field<int64_t>(peer, "since", 0), now), count("received", established), count("advertised", established)};
    if (wide)
      cells.insert(cells.end(), {count("accepted"), count("best"), count("stale"), field<std::string>(peer, "router_id", ""),
                                 join(field<std::vector<std::string>>(peer, "families", {}), ","), count("hold_time"), count("messages_in"),
                                 count("messages_out"), count("backlog"), field<std::string>(peer, "local", "")});
    cells.emplace_back(error_text(peer));
    table.add(std::move(cells));
  }
  if (!table.empty()) print(table);
  for (const std::string& trouble : field<std::vector<std::string>>(tree, "troubles", {})) print(paint("TROUBLE", Tone::bad, wants_colour(1)) + ": " + printable(trouble, 500) + "\n");
  print(footer(tree, tree["peers"].size(), up));
}

}  // namespace

int bgp_sessions(const BgpFlags& flags) {
  nlohmann::json tree = ask_peers(flags.paths.paths());
  bool broken = !field<std::vector<std::string>>(tree, "troubles", {}).empty();
  for (const nlohmann::json& peer : tree["peers"]) broken |= field<std::string>(peer, "state", "") != "established";
  if (flags.output.json()) {
    Json json = tree;
    for (Json& peer : json["peers"]) peer["since"] = rfc3339(field<int64_t>(peer, "since", 0));
    json["broken"] = broken;
    print_json(json);
  } else {
    print_table(tree, flags.output.wide());
  }
  return broken ? kExitDrift : kExitOk;
}

std::vector<std::string> bgp_session_names(const BgpFlags& flags) {
  std::vector<std::string> names;
  const nlohmann::json tree = ask_peers(flags.paths.paths());
  for (const nlohmann::json& peer : tree["peers"])
    for (const char* key : {"address", "name"})
      if (std::string word = field<std::string>(peer, key, ""); !word.empty()) names.push_back(std::move(word));
  return names;
}

std::string bgp_peer_address(const NodePaths& paths, std::string_view flag, const std::string& typed) {
  if (const std::optional<IpAddr> address = IpAddr::parse(typed)) return address->str();
  std::vector<std::string> names, found;
  const nlohmann::json tree = ask_peers(paths);
  for (const nlohmann::json& peer : tree["peers"]) {
    names.push_back(field<std::string>(peer, "name", ""));
    if (names.back() == typed) found.push_back(field<std::string>(peer, "address", ""));
  }
  if (found.size() == 1) return found.front();
  if (found.size() > 1) fail(ErrorKind::usage, "{} {}: it has {} sessions here; give one's address: {}", flag, typed, found.size(), join(found, ", "));
  const auto near = nearest(typed, names);
  fail(ErrorKind::usage, "{} {}: no session has that name; {}", flag, printable(typed), near ? "did you mean " + *near + "?" : "knet bgp peers shows all");
}

int bgp_peer_reset(const BgpFlags& flags) {
  const NodePaths paths = flags.paths.paths();
  ServiceQuestion question{"bgp/reset", {}};
  if (flags.peer == "all") question.words.emplace_back("all", "1");
  else question.words.emplace_back("peer", bgp_peer_address(paths, "reset", flags.peer));
  question.words.emplace_back("kind", flags.soft.empty() ? "hard" : flags.soft);
  const nlohmann::json tree = parse_json(tell_agent(paths, question), kAnswer);
  const auto reset = field<std::vector<std::string>>(tree, "reset", {});
  if (flags.output.json()) {
    print_json(Json(tree));
    return kExitOk;
  }
  const char* how = flags.soft == "in" ? "asked for all routes again" : flags.soft == "out" ? "all routes are sent again" : "session ended, begins anew";
  for (const std::string& address : reset) print(fmt::format("{}  {}\n", printable(address), how));
  print(fmt::format("{}.  next: knet bgp peers\n", count_of(reset.size(), "peer")));
  return kExitOk;
}

}  // namespace knet
