// knet bgp routes: what this node's speaker has of whom, which is used, and why the others lost.
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "agent/status_client.h"
#include "base/json.h"
#include "base/text.h"
#include "commands/bgp/bgp.h"
#include "commands/common/output.h"
#include "commands/common/table.h"

namespace knet {
namespace {

constexpr const char* kAnswer = "the agent's answer";

struct RouteLine {
  std::string prefix, peer, peer_address, next_hop, as_path, origin, loss, originator;
  std::optional<uint64_t> local_pref, med;
  std::vector<std::string> communities, clusters;
  bool best = false, multipath = false, stale = false;
};

std::vector<std::string> texts(const nlohmann::json& route, const char* key) {
  const auto at = route.find(key);
  return at != route.end() && at->is_array() ? at->get<std::vector<std::string>>() : std::vector<std::string>{};
}

RouteLine line_of(const nlohmann::json& route) {
  const auto text = [&](const char* key) {
    const auto at = route.find(key);
    return at != route.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  const auto number = [&](const char* key) {
    const auto at = route.find(key);
    return at != route.end() && at->is_number_unsigned() ? std::optional<uint64_t>(at->get<uint64_t>()) : std::nullopt;
  };
  RouteLine line{text("prefix"), text("peer"), text("peer_address"), text("next_hop"), text("as_path"), text("origin"), text("loss"), text("originator_id"),
                 number("local_pref"), number("med"), texts(route, "communities"), texts(route, "cluster_list")};
  for (std::string& large : texts(route, "large_communities")) line.communities.push_back(std::move(large));
  line.best = route.value("best", false);
  line.multipath = route.value("multipath", false);
  line.stale = route.value("stale", false);
  return line;
}

/// In words (RFC 4271 section 9.1.2.2 and what came after it); the agent's own where it is a newer one.
std::string why_lost(const std::string& loss) {
  struct Word {
    std::string_view word, text;
  };
  static constexpr Word words[] = {
      {"refused", "refused by the import rules"},
      {"loop", "it went through this AS, or this reflector, before"},
      {"unreachable", "its next hop can't be reached"},
      {"own", "this node's own wins"},
      {"stale", "stale: its peer is restarting"},
      {"local-pref", "another has a higher local preference"},
      {"path-length", "another has a shorter AS path"},
      {"origin", "another has a better origin"},
      {"med", "another has a lower MED"},
      {"ebgp", "another came by eBGP"},
      {"metric", "another's next hop is nearer"},
      {"originator", "another's originator has a lower router id"},
      {"cluster-list", "another went through fewer reflectors"},
      {"address", "another's peer has a lower address"},
  };
  for (const Word& known : words)
    if (known.word == loss) return std::string(known.text);
  return loss;
}

/// Those of the longest prefix that holds the address.
void keep_longest(std::vector<RouteLine>& lines, const IpAddr& address) {
  int longest = -1;
  const auto length = [&](const RouteLine& line) {
    const std::optional<Prefix> prefix = Prefix::parse(line.prefix);
    return prefix && prefix->contains(address) ? prefix->length() : -1;
  };
  for (const RouteLine& line : lines) longest = std::max(longest, length(line));
  std::erase_if(lines, [&](const RouteLine& line) { return longest < 0 || length(line) != longest; });
}

std::string number_text(const std::optional<uint64_t>& number) { return number ? fmt::format("{}", *number) : "-"; }

void print_table(const std::vector<RouteLine>& lines, const std::string& node, bool wide, bool decided) {
  std::vector<Column> columns{{"PREFIX"}, {"NEXT HOP"}, {"FROM"}, {"PREF", Column::Kind::right}, {"MED", Column::Kind::right}, {"AS PATH"}};
  if (wide) columns.insert(columns.end(), {{"ORIGIN"}, {"PEER"}, {"COMMUNITIES"}, {"ORIGINATOR"}, {"CLUSTERS"}});
  if (decided) columns.push_back({"STATE"});
  columns.push_back({decided ? "WHY" : "", Column::Kind::free});
  Table table(columns);
  std::set<std::string> prefixes;
  size_t best = 0, multipath = 0, lost = 0;
  for (const RouteLine& line : lines) {
    prefixes.insert(line.prefix);
    best += line.best;
    multipath += line.multipath && !line.best;
    lost += !line.best && !line.multipath;
    std::vector<Cell> cells{line.prefix, line.next_hop, !line.peer.empty() ? line.peer : line.peer_address.empty() ? "this node" : line.peer_address,
                            number_text(line.local_pref), number_text(line.med), line.as_path};
    if (wide) cells.insert(cells.end(), {line.origin, line.peer_address, join(line.communities, ","), line.originator, join(line.clusters, ",")});
    if (decided) cells.emplace_back(line.best ? "best" : line.multipath ? "multipath" : "lost", line.best || line.multipath ? Tone::plain : Tone::dim);
    std::string why = line.best || line.multipath ? "" : why_lost(line.loss);
    if (line.stale && line.loss != "stale") why += why.empty() ? "stale: its peer is restarting" : "; stale";
    cells.emplace_back(decided ? why : "");
    table.add(std::move(cells));
  }
  if (!table.empty()) print(table);
  std::string verdict = fmt::format("{} to {}", count_of(lines.size(), "route"), count_of(prefixes.size(), "prefix", "prefixes"));
  if (decided && !lines.empty())
    verdict += fmt::format(": {} best{}{}", best, multipath == 0 ? "" : fmt::format(", {} multipath", multipath), lost == 0 ? "" : fmt::format(", {} lost", lost));
  print(fmt::format("{}.  {}\n", verdict, node));
}

}  // namespace

int bgp_routes(const BgpFlags& flags) {
  const NodePaths paths = flags.paths.paths();
  ServiceQuestion question{"bgp/routes", {}};
  const std::optional<IpAddr> address = IpAddr::parse(flags.prefix);
  std::optional<Prefix> prefix = address ? Prefix::host(*address) : Prefix::parse(flags.prefix);
  if (!flags.prefix.empty() && !prefix)
    fail(ErrorKind::usage, "'{}' is no prefix and no address; give one such as 10.244.3.0/24", printable(flags.prefix));
  if (prefix) question.words.emplace_back("prefix", prefix->masked().str());  // answered with those that hold it, too
  const auto limit = static_cast<size_t>(flags.limit.empty() ? 100'000 : number_of("--limit", flags.limit, 1, 100'000));
  if (!prefix) question.words.emplace_back("limit", fmt::format("{}", limit));
  if (!flags.received.empty()) question.words.emplace_back("received", bgp_peer_address(paths, "--received", flags.received));
  if (!flags.advertised.empty()) question.words.emplace_back("advertised", bgp_peer_address(paths, "--advertised", flags.advertised));
  nlohmann::json tree = parse_json(ask_agent(paths, question, std::chrono::seconds(15)), kAnswer);
  if (!tree.is_object() || !tree["routes"].is_array()) fail(ErrorKind::kernel, "{} to bgp/routes has no routes", kAnswer);
  std::vector<RouteLine> lines;
  for (const nlohmann::json& route : tree["routes"]) lines.push_back(line_of(route));
  if (prefix) {
    if (address) keep_longest(lines, *address);
    else std::erase_if(lines, [&](const RouteLine& line) { return line.prefix != prefix->masked().str(); });
    const std::string kept = lines.empty() ? "" : lines.front().prefix;
    nlohmann::json routes = nlohmann::json::array();
    for (nlohmann::json& route : tree["routes"])
      if (!kept.empty() && routes.size() < limit && route.value("prefix", "") == kept) routes.push_back(std::move(route));
    if (lines.size() > limit) lines.erase(lines.begin() + static_cast<ptrdiff_t>(limit), lines.end());
    tree["routes"] = std::move(routes);
  }
  if (flags.output.json()) print_json(nlohmann::ordered_json(tree));
  else print_table(lines, tree.value("node", ""), flags.output.wide(), flags.advertised.empty());
  return kExitOk;
}

}  // namespace knet
