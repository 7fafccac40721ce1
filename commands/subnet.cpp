// knet subnet: leases and reservations of the pool.
#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "commands/common/cli.h"
#include "commands/common/cluster.h"
#include "commands/common/flags.h"
#include "commands/common/output.h"
#include "commands/common/table.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

struct Flags : CommonFlags {
  std::string subnet, node;
};

std::string holder(const LeaseRow& row) {
  if (!row.node.empty()) return row.node;
  if (row.reserved_for) return *row.reserved_for;
  return (row.lease.public_ip ? row.lease.public_ip : row.lease.public_ip6).str();
}

std::string state_of(const LeaseRow& row) {
  if (!row.in_use()) return "reserved";
  if (row.node.empty()) return "flannel";
  return row.alive ? "in use" : "silent";
}

int list(OpenCluster& open, const Flags& flags) {
  const LeaseTable leases = open.cluster.list_leases(open.config.mode, true);
  if (flags.output.json()) {
    Json rows = Json::array();
    for (const LeaseRow& row : leases.rows) {
      rows.push_back({{"subnet", text_of(row.lease.subnet)}, {"subnet6", text_of(row.lease.subnet6)}, {"node", row.node},
                      {"state", state_of(row)}, {"mode", row.in_use() ? row.lease.mode : ""}, {"address", text_of(row.lease.public_ip)},
                      {"address6", text_of(row.lease.public_ip6)}, {"left_seconds", row.left ? Json(row.left->count()) : Json(nullptr)},
                      {"reserved_for", row.reserved_for.value_or("")}, {"key", row.key}});
    }
    print_json({{"revision", leases.rev}, {"subnets", rows}, {"problems", leases.problems}});
    return kExitOk;
  }
  Table table({{"SUBNET"}, {"NODE"}, {"ADDRESS"}, {"MODE"}, {"STATE"}, {"LEASE"}, {"RESERVED"}});
  size_t reserved = 0;
  for (const LeaseRow& row : leases.rows) {
    const bool used = row.in_use();
    reserved += row.reserved_for.has_value();
    table.add({subnets_text(row.lease), holder(row), used ? (row.lease.public_ip ? row.lease.public_ip : row.lease.public_ip6).str() : "-",
               used ? row.lease.mode : "-", Cell(state_of(row), state_of(row) == "silent" ? Tone::warn : Tone::plain),
               row.left ? format_age(*row.left) : "-", row.reserved_for ? "for " + *row.reserved_for : "-"});
  }
  print(table);
  for (const std::string& problem : leases.problems) print("unreadable: " + problem + "\n");
  print(fmt::format("{}, {} reserved.  {}\n", count_of(leases.rows.size(), "subnet"), reserved, pool_text(open.config, leases)));
  return kExitOk;
}

/// "10.244.7.0/24", "fd00:244:7::/64" or both with ',' between.
SubnetChoice subnet_of(const std::string& text) {
  SubnetChoice choice;
  for (const std::string_view part : split(text, ',')) {
    const std::optional<Prefix> prefix = Prefix::parse(part);
    if (!prefix) fail(ErrorKind::usage, "'{}' is no subnet; give one such as 10.244.7.0/24", printable(part));
    if (!prefix->is_masked()) fail(ErrorKind::usage, "{} has host bits; the subnet is {}", prefix->str(), prefix->masked().str());
    Prefix& place = prefix->is_v4() ? choice.subnet : choice.subnet6;
    if (place) fail(ErrorKind::usage, "two subnets of one family: {} and {}", place.str(), prefix->str());
    place = *prefix;
  }
  return choice;
}

int reserve(OpenCluster& open, const Flags& flags) {
  const bool fresh = open.cluster.reserve(open.config, subnet_of(flags.subnet), flags.node);
  if (flags.output.json()) {
    print_json({{"subnet", flags.subnet}, {"node", flags.node}, {"fresh", fresh}});
  } else {
    print(fmt::format("{} is {}reserved for {}\n", flags.subnet, fresh ? "" : "already ", flags.node));
  }
  return kExitOk;
}

int release(OpenCluster& open, const Flags& flags) {
  const SubnetChoice wanted = subnet_of(flags.subnet);
  bool released = false;
  std::string node;
  for (const ReservationRow& row : open.cluster.list_reservations()) {
    const bool v4 = wanted.subnet && row.subnet.subnet == wanted.subnet;
    const bool v6 = wanted.subnet6 && row.subnet.subnet6 == wanted.subnet6;
    if (!v4 && !v6) continue;
    released = open.cluster.unreserve(row.key);
    node = row.node;
  }
  if (flags.output.json()) {
    print_json({{"subnet", flags.subnet}, {"node", node}, {"released", released}});
  } else if (released) {
    print(fmt::format("{} is no longer reserved for {}\n", flags.subnet, node));
  } else {
    print(fmt::format("{} was not reserved\n", flags.subnet));
  }
  return kExitOk;
}

std::function<int()> declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  flags->declare_common(app);
  CLI::App* list_verb = add_verb(app, "list", "leases and reservations: which node has which subnet");
  CLI::App* reserve_verb = add_verb(app, "reserve", "keep a subnet for a node, whether or not it runs");
  CLI::App* release_verb = add_verb(app, "release", "give a reservation up; a lease in use goes on");
  auto reserved = [flags] {
    OpenCluster open(flags->store_options());
    std::vector<std::string> out;
    for (const ReservationRow& row : open.cluster.list_reservations())
      out.push_back((row.subnet.subnet ? row.subnet.subnet : row.subnet.subnet6).str());
    return out;
  };
  reserve_verb->add_option("SUBNET", flags->subnet, "as 10.244.7.0/24; with two families both, ',' between")->required();
  reserve_verb->add_option("NODE", flags->node, "for which node")->required();
  offer(release_verb->add_option("SUBNET", flags->subnet, "the reserved subnet")->required(), reserved);
  add_examples(app, {"knet subnet list", "knet subnet reserve 10.244.7.0/24 n7", "knet subnet release 10.244.7.0/24"});
  return [=] {
    OpenCluster open(flags->store_options());
    if (list_verb->parsed()) return list(open, *flags);
    return reserve_verb->parsed() ? reserve(open, *flags) : release(open, *flags);
  };
}

}  // namespace

const Command& subnet_command() {
  static const Command command{"subnet", "leases of the pool, and subnets kept for a node", CommandGroup::look, declare, nullptr, "subnets"};
  return command;
}

}  // namespace knet
