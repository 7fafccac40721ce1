// knet node: who is in the cluster, with which subnet; and freeing what a dead one left.
#include <fmt/core.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/file.h"
#include "base/text.h"
#include "base/version.h"
#include "commands/common/cluster.h"
#include "commands/common/flags.h"
#include "commands/common/output.h"
#include "commands/common/table.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  StoreFlags store;
  PathFlags paths;
  OutputFlag output;
  std::string name;
  ClusterStore::Removal removal;
};

std::string_view state_text(NodeState state) {
  switch (state) {
    case NodeState::ready: return "ready";
    case NodeState::silent: return "silent";
    case NodeState::flannel: return "flannel";
    case NodeState::joining: return "joining";
  }
  return "-";
}

std::string why_text(NodeState state) {
  if (state == NodeState::silent) return "no presence; lease and routes kept";
  if (state == NodeState::joining) return "no subnet yet";
  return {};
}

std::string version_text(const NodeRow& row) { return row.state == NodeState::flannel ? "flanneld" : row.version; }
std::string age(const std::optional<std::chrono::seconds>& time) { return time ? format_age(*time) : "-"; }

std::string address_text(const IpAddr& v4, const IpAddr& v6) {
  if (v4 && v6) return v4.str() + " " + v6.str();
  return (v4 ? v4 : v6).str();
}

/// What it receives besides the mode that it announces, while the cluster changes over.
std::string receives_text(const NodeRow& row, const std::string& announced) {
  std::vector<std::string> others;
  if (row.record)
    for (const std::string& mode : row.record->receives)
      if (mode != announced) others.push_back(mode);
  return others.empty() ? "" : "still receives " + join(others, ", ");
}

/// The name that this host enrolled with; empty if it never did.
std::string own_name(const NodePaths& paths) { return std::string(trim(read_file(paths.node_name(), 4096).value_or(""))); }

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

Json as_json(const NodeRow& row, const std::string& own) {
  Json leases = Json::array();
  for (const LeaseRow& lease : row.leases) {
    leases.push_back({{"subnet", text_of(lease.lease.subnet)}, {"subnet6", text_of(lease.lease.subnet6)}, {"mode", lease.lease.mode},
                      {"address", text_of(lease.lease.public_ip)}, {"address6", text_of(lease.lease.public_ip6)},
                      {"left_seconds", lease.left ? Json(lease.left->count()) : Json(nullptr)},
                      {"reserved_for", lease.reserved_for.value_or("")}});
  }
  Json labels = Json::object();
  if (row.record)
    for (const auto& [key, value] : row.record->labels) labels[key] = value;
  return {{"name", row.name},
          {"state", state_text(row.state)},
          {"this_node", row.name == own},
          {"seen_seconds", row.seen ? Json(row.seen->count()) : Json(nullptr)},
          {"version", version_text(row)},
          {"machine_id", row.record ? row.record->machine_id : row.leases.empty() ? "" : row.leases.front().machine_id},
          {"seen_revision", row.record ? row.record->seen_rev : 0},
          {"receives", row.record ? row.record->receives : std::vector<std::string>{}},
          {"labels", labels},
          {"leases", leases}};
}

int list(OpenCluster& open, const NodeTable& nodes, const Flags& flags) {
  const std::string own = own_name(flags.paths.paths());
  if (flags.output.json()) {
    Json rows = Json::array();
    for (const NodeRow& row : nodes.rows) rows.push_back(as_json(row, own));
    print_json({{"revision", nodes.rev}, {"nodes", rows}, {"problems", nodes.problems}});
    return kExitOk;
  }
  std::vector<Column> columns{{"NODE"}, {"ADDRESS"}, {"SUBNET"}, {"MODE"}, {"STATE"}, {"SEEN", Column::Kind::right}, {"LEASE"}, {"VERSION"}};
  if (flags.output.wide()) columns.insert(columns.end(), {{"MACHINE"}, {"REVISION", Column::Kind::right}});
  columns.push_back({"", Column::Kind::free});
  Table table(columns);
  for (const NodeRow& row : nodes.rows) {
    const LeaseRow none;
    for (size_t i = 0; i < std::max<size_t>(row.leases.size(), 1); ++i) {
      const LeaseRow& lease = row.leases.empty() ? none : row.leases[i];
      const NodeRecord record = row.record.value_or(NodeRecord{});
      const bool leased = !row.leases.empty();
      std::vector<Cell> cells{row.name + (row.name == own ? " *" : ""),
                              leased ? address_text(lease.lease.public_ip, lease.lease.public_ip6) : address_text(record.public_ip, record.public_ip6),
                              leased ? subnets_text(lease.lease) : "-", leased ? lease.lease.mode : "-",
                              Cell(state_text(row.state), row.state == NodeState::silent ? Tone::warn : Tone::plain), age(row.seen),
                              leased && !lease.left && lease.reserved_for ? "reserved" : age(lease.left), version_text(row)};
      if (flags.output.wide()) {
        cells.emplace_back(leased ? lease.machine_id : record.machine_id);
        cells.emplace_back(row.record ? fmt::format("{}", record.seen_rev) : "-");
      }
      const std::string why = why_text(row.state);
      cells.emplace_back(why.empty() && leased ? receives_text(row, lease.lease.mode) : why);
      table.add(std::move(cells));
    }
  }
  print(table);
  for (const std::string& problem : nodes.problems) print("unreadable: " + problem + "\n");
  print(footer(nodes, pool_text(open.config, open.cluster.list_leases(open.config.mode, false))));
  return kExitOk;
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

int show(const NodeTable& nodes, const Flags& flags) {
  const NodeRow& row = find(nodes, flags.name);
  const std::string own = own_name(flags.paths.paths());
  if (flags.output.json()) {
    print_json({{"node", as_json(row, own)}});
    return kExitOk;
  }
  const NodeRecord record = row.record.value_or(NodeRecord{});
  Table table({{""}, {"", Column::Kind::free}});
  const std::string why = why_text(row.state);
  table.add({"node", row.name + (row.name == own ? ", this one" : "")});
  table.add({"state", std::string(state_text(row.state)) + (why.empty() ? "" : ": " + why)});
  table.add({"seen", row.seen ? format_age(*row.seen) + " ago" : "-"});
  table.add({"version", version_text(row)});
  if (!record.machine_id.empty()) table.add({"machine", record.machine_id});
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
  for (const auto& [mode, why] : record.modes)
    if (!why.empty()) table.add({"can't run", fmt::format("{}: {}", printable(mode, 40), printable(why, 200))});
  for (const auto& [key, value] : record.labels) table.add({"label", key + "=" + value});
  print(table);
  return kExitOk;
}

int remove(OpenCluster& open, const Flags& flags) {
  const std::vector<std::string> removed = open.cluster.remove_node(flags.name, flags.removal);
  if (flags.output.json()) {
    print_json({{"node", flags.name}, {"removed", removed}});
  } else if (removed.empty()) {
    print(fmt::format("nothing is known of a node '{}'\n", printable(flags.name)));
  } else {
    for (const std::string& line : removed) print(fmt::format("removed {}\n", line));
  }
  return kExitOk;
}

std::function<int()> declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  flags->store.declare(app);
  flags->paths.declare(app);
  flags->output.declare(app);
  declare_log(app);
  auto names = [flags] {
    OpenCluster open(flags->store.options(flags->paths.paths()));
    std::vector<std::string> out;
    for (const NodeRow& row : open.cluster.list_nodes(open.config.mode, false).rows) out.push_back(row.name);
    return out;
  };
  CLI::App* list_verb = add_verb(app, "list", "all nodes: address, subnet, mode, presence, lease, version");
  CLI::App* show_verb = add_verb(app, "show", "one node with all that the store has of it");
  CLI::App* remove_verb = add_verb(app, "remove", "free what a dead node left in the store; refuses a live one");
  for (CLI::App* verb : {show_verb, remove_verb})
    offer(verb->add_option("NODE", flags->name, "its name, or a flannel node's address")->required(), names);
  remove_verb->add_flag("--reservation", flags->removal.reservation, "give up its reserved subnets too");
  remove_verb->add_flag("--force", flags->removal.force, "also where life can't be seen (flanneld)");
  add_examples(app, {"knet node list", "knet node show n3", "knet node remove n3"});
  return [=] {
    OpenCluster open(flags->store.options(flags->paths.paths()));
    if (remove_verb->parsed()) return remove(open, *flags);
    const NodeTable nodes = open.cluster.list_nodes(open.config.mode, true);
    return list_verb->parsed() ? list(open, nodes, *flags) : show(nodes, *flags);
  };
}

}  // namespace

const Command& node_command() {
  static const Command command{"node", "the cluster's nodes, and freeing what a dead one left", CommandGroup::look, declare, nullptr, "nodes"};
  return command;
}

}  // namespace knet
