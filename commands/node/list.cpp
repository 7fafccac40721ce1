// knet node list and show.
#include <fmt/core.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "commands/common/output.h"
#include "commands/common/table.h"
#include "commands/node/node.h"
#include "commands/node/rows.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

std::string footer(const NodeTable& nodes, const std::string& pool) {
  std::map<NodeState, size_t> states;
  std::set<std::string> versions;
  for (const NodeRow& row : nodes.rows) {
    ++states[row.state];
    if (!row.version.empty()) versions.insert(row.version);
  }
  std::vector<std::string> parts;
  for (const auto& [state, count] : states) parts.push_back(fmt::format("{} {}", count, state_text(state)));
  std::string text = count_of(nodes.rows.size(), "node") + (parts.empty() ? "." : ": " + join(parts, ", ") + ".") + "  " + pool + ".";
  if (versions.size() > 1) text += "  versions mixed: " + join(std::vector<std::string>(versions.begin(), versions.end()), ", ");
  return text + "\n";
}

/// A line for each lease, or one.
void add_rows(Table& table, const NodeRow& row, const std::string& own, bool wide, uint32_t usual_asn) {
  const LeaseRow none;
  const NodeRecord record = row.record.value_or(NodeRecord{});
  const bool leased = !row.leases.empty();
  for (size_t i = 0; i < std::max<size_t>(row.leases.size(), 1); ++i) {
    const LeaseRow& lease = leased ? row.leases[i] : none;
    std::vector<Cell> cells{row.name + (row.name == own ? " *" : ""),
                            leased ? address_text(lease.lease.public_ip, lease.lease.public_ip6) : address_text(record.public_ip, record.public_ip6),
                            leased ? subnets_text(lease.lease) : row.no_pods ? "no pods" : "-", leased ? lease.lease.mode : "-",
                            Cell(state_text(row.state), row.state == NodeState::silent ? Tone::warn : Tone::plain), age_text(row.seen),
                            leased && !lease.left && lease.reserved_for ? "reserved" : age_text(lease.left), version_text(row)};
    if (wide) {
      cells.emplace_back(row.state == NodeState::flannel ? "-" : fmt::format("{}", asn_of(row, usual_asn)));
      cells.emplace_back(reflector_text(row));
      cells.emplace_back(labels_text(row));
      cells.emplace_back(leased ? lease.machine_id : record.machine_id);
      cells.emplace_back(row.record ? fmt::format("{}", record.seen_rev) : "-");
    }
    const std::string why = why_text(row);
    cells.emplace_back(why.empty() && leased ? receives_text(row, lease.lease.mode) : why);
    table.add(std::move(cells));
  }
}

const NodeRow& find(const NodeTable& nodes, const std::string& name) {
  std::vector<std::string> names;
  for (const NodeRow& row : nodes.rows) {
    if (row.name == name) return row;
    for (const LeaseRow& lease : row.leases)
      if (lease.lease.public_ip.str() == name || lease.lease.public_ip6.str() == name) return row;
    names.push_back(row.name);
  }
  const auto near = nearest(name, names);
  fail(ErrorKind::usage, "no node '{}'; {}", printable(name), near ? "did you mean " + *near + "?" : "knet node list shows all");
}

/// The usual AS where the cluster's BGP settings can't be read: the list is not about them.
uint32_t usual_asn(OpenCluster& open, std::vector<std::string>& problems) {
  try {
    return open.cluster.load_bgp_config().asn;
  } catch (const Error& error) {
    if (error.kind != ErrorKind::config) throw;
    problems.push_back(error.text);
    return BgpConfig{}.asn;
  }
}

void add_bgp(Table& table, const NodeRow& row, uint32_t usual) {
  if (row.state != NodeState::flannel)
    table.add({"as", fmt::format("{}{}", asn_of(row, usual), row.spec && row.spec->asn ? ", its own" : ", the cluster's")});
  if (const std::string reflector = reflector_text(row); !reflector.empty())
    table.add({"reflector", "of cluster " + reflector + (row.spec->clients.empty() ? ", of all that are no reflectors" : "")});
  if (row.no_pods || (row.spec && !row.spec->pods)) table.add({"pods", "none: it has no subnet"});
  if (row.spec)
    for (const auto& [key, value] : row.spec->labels) table.add({"label", key + "=" + value});
  if (row.record)
    for (const auto& [key, value] : row.record->labels) table.add({"label", key + "=" + value});
}

}  // namespace

int node_list(const NodeVerbFlags& flags) {
  OpenCluster open(flags.store_options());
  NodeTable nodes = open.cluster.list_nodes(open.config.mode, true);
  const uint32_t asn = usual_asn(open, nodes.problems);
  const std::string own = own_name(flags.paths.paths());
  if (flags.output.json()) {
    Json rows = Json::array();
    for (const NodeRow& row : nodes.rows) rows.push_back(node_json(row, own, asn));
    print_json({{"revision", nodes.rev}, {"nodes", rows}, {"problems", nodes.problems}});
    return kExitOk;
  }
  std::vector<Column> columns{{"NODE"}, {"ADDRESS"}, {"SUBNET"}, {"MODE"}, {"STATE"}, {"SEEN", Column::Kind::right}, {"LEASE"}, {"VERSION"}};
  if (flags.output.wide()) columns.insert(columns.end(), {{"AS", Column::Kind::right}, {"REFLECTOR"}, {"LABELS"}, {"MACHINE"}, {"REVISION", Column::Kind::right}});
  columns.push_back({"", Column::Kind::free});
  Table table(columns);
  for (const NodeRow& row : nodes.rows) add_rows(table, row, own, flags.output.wide(), asn);
  print(table);
  for (const std::string& problem : nodes.problems) print("unreadable: " + problem + "\n");
  print(footer(nodes, pool_text(open.config, open.cluster.list_leases(open.config.mode, false))));
  return kExitOk;
}

int node_show(const NodeVerbFlags& flags) {
  OpenCluster open(flags.store_options());
  NodeTable nodes = open.cluster.list_nodes(open.config.mode, true);
  const NodeRow& row = find(nodes, flags.name);
  std::vector<std::string> problems;
  const uint32_t asn = usual_asn(open, problems);
  const std::string own = own_name(flags.paths.paths());
  if (flags.output.json()) {
    print_json({{"node", node_json(row, own, asn)}});
    return kExitOk;
  }
  const NodeRecord record = row.record.value_or(NodeRecord{});
  Table table({{""}, {"", Column::Kind::free}});
  const std::string why = why_text(row);
  table.add({"node", row.name + (row.name == own ? ", this one" : "")});
  table.add({"state", std::string(state_text(row.state)) + (why.empty() ? "" : ": " + why)});
  table.add({"seen", row.seen ? format_age(*row.seen) + " ago" : "-"});
  table.add({"version", version_text(row)});
  if (!record.machine_id.empty()) table.add({"machine", record.machine_id});
  if (row.leases.empty() && (record.public_ip || record.public_ip6)) table.add({"address", address_text(record.public_ip, record.public_ip6)});
  for (const LeaseRow& lease : row.leases) {
    table.add({"subnet", fmt::format("{}, {}{}", subnets_text(lease.lease), lease.left ? "lease for " + format_age(*lease.left) : "no end",
                                     lease.reserved_for ? ", reserved for " + *lease.reserved_for : "")});
    table.add({"address", address_text(lease.lease.public_ip, lease.lease.public_ip6)});
    const std::string receives = receives_text(row, lease.lease.mode);
    table.add({"mode", lease.lease.mode + (receives.empty() ? "" : ", " + receives)});
    if (!lease.lease.data.v4.empty()) table.add({"data", lease.lease.data.v4});
    if (!lease.lease.data.v6.empty()) table.add({"data, IPv6", lease.lease.data.v6});
  }
  if (row.record) table.add({"revision", fmt::format("has acted on revision {} of {}", record.seen_rev, nodes.rev)});
  for (const auto& [mode, cant] : record.modes)
    if (!cant.empty()) table.add({"can't run", fmt::format("{}: {}", printable(mode, 40), printable(cant, 200))});
  add_bgp(table, row, asn);
  print(table);
  for (const std::string& problem : problems) print("unreadable: " + problem + "\n");
  return kExitOk;
}

}  // namespace knet
