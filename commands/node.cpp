// knet node: who is in the cluster, with which subnet; what is set for one; and freeing what a dead one left. The verbs
// are in commands/node/.
#include "commands/node/node.h"

#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "commands/common/cli.h"
#include "commands/common/output.h"
#include "commands/common/table.h"

namespace knet {

std::vector<std::string> node_names(const NodeVerbFlags& flags) {
  OpenCluster open(flags.store_options());
  std::vector<std::string> out;
  for (const NodeRow& row : open.cluster.list_nodes(open.config.mode, false).rows) out.push_back(row.name);
  return out;
}

int node_remove(const NodeVerbFlags& flags) {
  OpenCluster open(flags.store_options());
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

namespace {

void declare_set(CLI::App* set, NodeSetFlags& flags) {
  const auto option = [&](const char* flag, std::string& into, const char* type, const char* help) {
    return set->add_option(flag, into, help)->type_name(type);
  };
  const auto list = [&](const char* flag, std::vector<std::string>& into, const char* type, const char* help) {
    set->add_option(flag, into, help)->type_name(type)->take_all()->allow_extra_args(false);
  };
  CLI::Option* asn = option("--as", flags.asn, "N", "its own AS number");
  set->add_flag("--no-as", flags.no_asn, "the cluster's AS number")->excludes(asn);
  CLI::Option* reflector = option("--reflector", flags.reflector, "CLUSTER-ID", "a BGP route reflector of this cluster id, such as 1.0.0.1");
  CLI::Option* clients = option("--clients", flags.clients, "EXPR", "whom it reflects for, by labels, such as \"rack == 'a'\"; '': all that are no reflectors");
  flags.clients_given = clients;
  set->add_flag("--no-reflector", flags.no_reflector, "no reflector any more")->excludes(reflector)->excludes(clients);
  list("--label", flags.labels, "KEY=VALUE", "a label, for selectors; repeatable");
  list("--no-label", flags.no_labels, "KEY", "take a label away; repeatable");
  CLI::Option* pods = set->add_flag("--pods", flags.pods, "it runs pods and has a subnet for them");
  set->add_flag("--no-pods", flags.no_pods, "no subnet, no pods: a reflector only")->excludes(pods);
  set->add_flag("--force", flags.force, "also where it cuts pods off");
  set->add_flag("--dry-run", flags.dry_run, "check and print, write nothing");
}

std::function<int()> declare(CLI::App& app) {
  auto flags = std::make_shared<NodeVerbFlags>();
  flags->declare_common(app);
  CLI::App* list = add_verb(app, "list", "all nodes: address, subnet, mode, presence, lease, version");
  CLI::App* show = add_verb(app, "show", "one node with all that the store has of it");
  CLI::App* set = add_verb(app, "set", "a node's AS, labels, whether it reflects routes, whether it runs pods");
  CLI::App* remove = add_verb(app, "remove", "free what a dead node left in the store; refuses a live one");
  for (CLI::App* verb : {show, set, remove})
    offer(verb->add_option("NODE", flags->name, verb == set ? "its name" : "its name, or a flannel node's address")->required(), [flags] { return node_names(*flags); });
  declare_set(set, flags->set);
  remove->add_flag("--reservation", flags->removal.reservation, "give up its reserved subnets too");
  remove->add_flag("--force", flags->removal.force, "also where life can't be seen (flanneld)");
  add_examples(app, {"knet node list", "knet node show n3", "knet node set n1 --reflector 1.0.0.1 --label rack=a", "knet node remove n3"});
  return [=] {
    if (list->parsed()) return node_list(*flags);
    if (show->parsed()) return node_show(*flags);
    return set->parsed() ? node_set(*flags) : node_remove(*flags);
  };
}

}  // namespace

const Command& node_command() {
  static const Command command{"node", "the cluster's nodes: show them, set what holds for one, free what a dead one left", CommandGroup::look,
                               declare, nullptr, "nodes"};
  return command;
}

}  // namespace knet
