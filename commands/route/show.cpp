// knet route show, with --check and --watch.
#include <fmt/core.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "agent/look.h"
#include "agent/status_client.h"
#include "base/json.h"
#include "base/text.h"
#include "commands/common/output.h"
#include "commands/common/table.h"
#include "commands/route/route.h"

namespace knet {
namespace {

constexpr std::chrono::milliseconds kLookEvery{300};

RouteLook from_agent(const StatusSnapshot& status, std::vector<RouteRow> rows) {
  RouteLook look;
  look.node = status.node;
  look.subnet = status.subnet.empty() ? status.subnet6 : status.subnet6.empty() ? status.subnet : status.subnet + " " + status.subnet6;
  look.mode = status.mode;
  look.by = fmt::format("agent {}, store {} at revision {}", status.version,
                        status.store_connected ? "live" : status.from_cache ? "AWAY, view kept" : "AWAY, view", status.revision);
  look.rows = std::move(rows);
  for (const StatusSnapshot::Path& path : status.datapaths)
    look.paths.push_back(fmt::format("{} by {}{}", path.mode, path.name, path.why.empty() ? "" : ": " + path.why));
  look.known = !look.subnet.empty();
  if (!look.known)
    look.notes.push_back(fmt::format("the agent does not know yet what is wanted here: {}",
                                     status.unready.empty() ? "it has just started" : join(status.unready, "; ")));
  return look;
}

RouteLook from_kernel(const RouteFlags& flags) {
  LinuxPlane plane;
  const auto seen = look_at_node(flags.paths.paths(), flags.settings(), plane);
  RouteLook look;
  look.node = seen->view.self.name;
  look.subnet = subnets_text(seen->view.self.lease);
  look.mode = seen->view.self.lease.mode;
  look.by = seen->live ? fmt::format("no agent, store live at revision {}", seen->view.rev)
                       : fmt::format("no agent, store AWAY, view kept at revision {}", seen->view.rev);
  look.rows = seen->rows;
  look.notes = seen->notes;
  if (!seen->unread.empty())
    look.notes.push_back(fmt::format("could not be read{}: {}", geteuid() == 0 ? "" : " (not root)", join(seen->unread, ", ")));
  return look;
}

Tone tone_of(RowState state) {
  if (state == RowState::ok) return Tone::plain;
  if (state == RowState::broken) return Tone::bad;
  return state == RowState::foreign ? Tone::dim : Tone::warn;
}

/// The further next hops, for a table: the first has columns of its own.
std::string others_text(const RouteRow& row) {
  std::string out;
  for (const RouteHop& hop : row.others)
    out += fmt::format("{}{}%{}{}", out.empty() ? "" : ",", hop.via ? hop.via.str() : "", hop.dev.view(), hop.onlink ? " onlink" : "");
  return out.empty() ? "-" : out;
}

std::string via_text(const RouteRow& row) { return row.others.empty() ? row.via.str() : fmt::format("{} +{}", row.via.str(), row.others.size()); }

std::string destination(const RouteRow& row) { return row.dst.is_host() ? row.dst.addr().str() : row.dst.str(); }

void print_table(const RouteLook& look, const std::vector<RouteRow>& rows, bool wide) {
  std::vector<Column> columns{{"DESTINATION"}, {"VIA"}, {"DEV"}, {"MODE"}, {"NODE"}, {"SOURCE"}, {"STATE"}, {"SINCE"}};
  if (wide) columns.insert(columns.end(), {{"PATH"}, {"NEXTHOP"}, {"NEIGHBOR"}, {"FDB"}, {"FILTER"}, {"PEER"}, {"MTU", Column::Kind::right}, {"METRIC", Column::Kind::right}, {"FLAGS"}, {"OTHERS"}});
  columns.push_back({"WHY", Column::Kind::free});
  Table table(columns);
  const int64_t now = unix_now();
  for (const RouteRow& row : rows) {
    std::vector<Cell> cells{destination(row), via_text(row), row.dev, row.mode, row.node, row.source,
                            Cell(shown_state(row.state), tone_of(row.state)), since(row.since, now)};
    if (wide)
      cells.insert(cells.end(), {row.path, row.part_nexthop, row.part_neighbor, row.part_fdb, row.part_filter, row.part_peer, row.mtu != 0 ? fmt::format("{}", row.mtu) : "-",
                                 fmt::format("{}", row.metric), row.onlink ? "onlink" : "-", others_text(row)});
    cells.emplace_back(row.why);
    table.add(std::move(cells));
  }
  const auto or_dash = [](const std::string& text) { return text.empty() ? std::string("-") : text; };
  print(fmt::format("{}  {}  {}  {}, {}\n", look.node, or_dash(look.subnet), or_dash(look.mode), look.by, rfc3339(now)));
  print(table);
  if (wide)
    for (const std::string& path : look.paths) print(path + "\n");
  for (const std::string& note : look.notes) print("note: " + note + "\n");
  print(verdict(rows) + "\n");
}

void print_json_rows(const RouteLook& look, const std::vector<RouteRow>& rows) {
  nlohmann::ordered_json tree = nlohmann::ordered_json::parse(format_routes(look.node, rows));
  tree["subnet"] = look.subnet;
  tree["mode"] = look.mode;
  tree["by"] = look.by;
  tree["at"] = rfc3339(unix_now());
  tree["drift"] = has_drift(rows);
  tree["known"] = look.known;
  tree["datapaths"] = look.paths;
  tree["notes"] = look.notes;
  print_json(tree);
}

void print_change(const RowChange& change, bool json) {
  const RouteRow& row = change.row;
  const std::string at = rfc3339(unix_now());
  if (json) {
    const nlohmann::ordered_json tree = {{"schema", kOutputSchema}, {"at", at},          {"dst", row.dst.str()}, {"via", row.via.str()},
                                         {"dev", row.dev},          {"mode", row.mode},  {"node", row.node},     {"source", row.source},
                                         {"from", change.from},     {"to", change.to},   {"why", row.why}};
    print(tree.dump() + "\n");
  } else {
    print(fmt::format("{}  {:<18}  {:<15}  {:<8}  {}{}\n", at, destination(row), row.dev, row.node, change.text(),
                      row.why.empty() || change.to.empty() ? "" : "  " + row.why));
  }
  std::fflush(stdout);
}

}  // namespace

NodeSettings RouteFlags::settings() const {
  NodeSettings out = load_node_settings(paths.paths()).value_or(NodeSettings{});
  out.store = store.options(paths.paths());
  return out;
}

RouteLook look_at_routes(const RouteFlags& flags) {
  const NodePaths paths = flags.paths.paths();
  if (const auto status = fetch_status(paths))
    if (auto rows = fetch_routes(paths)) return from_agent(*status, std::move(*rows));
  return from_kernel(flags);
}

int route_show(const RouteFlags& flags) {
  const RouteLook look = look_at_routes(flags);
  const std::vector<RouteRow> rows = pick(look.rows, flags.filter);
  switch (flags.output.format()) {
    case Output::json: print_json_rows(look, rows); break;
    case Output::ip: print(ip_batch(rows)); break;
    default: print_table(look, rows, flags.output.wide());
  }
  return flags.check && (!look.known || has_drift(rows)) ? kExitDrift : kExitOk;
}

int route_watch(const RouteFlags& flags) {
  std::vector<RouteRow> before = pick(look_at_routes(flags).rows, flags.filter);
  std::string trouble;
  for (;;) {
    std::this_thread::sleep_for(kLookEvery);
    try {
      std::vector<RouteRow> now = pick(look_at_routes(flags).rows, flags.filter);
      for (const RowChange& change : changes(before, now)) print_change(change, flags.output.json());
      before = std::move(now);
      trouble.clear();
    } catch (const Error& error) {  // the agent restarts, the store is away: told once, looked again
      if (error.text != trouble) fmt::print(stderr, "{}  {}\n", rfc3339(unix_now()), error.text);
      trouble = error.text;
    }
  }
}

}  // namespace knet
