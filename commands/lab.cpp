// knet lab: a cluster on this machine, in network namespaces, to try things out.
#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/text.h"
#include "commands/common/cli.h"
#include "commands/common/flags.h"
#include "commands/common/output.h"
#include "commands/common/table.h"
#include "commands/lab/bench.h"
#include "lab/lab_dirs.h"
#include "lab/lab_down.h"
#include "lab/lab_exec.h"
#include "lab/lab_space.h"
#include "lab/lab_up.h"
#include "lab/matrix.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  LabWords words;
  OutputFlag output;
  bool ipv6 = false, dual = false, all = false, no_masquerade = false;
  std::string part, limit = "1s";
  std::vector<std::string> command;
  BenchFlags bench;

  std::string named() const { return words.name == LabWords{}.name ? "" : " --name " + words.name; }
};

void tell(const std::string& line) { fmt::print(stderr, "{}\n", line); }

int up(Flags& flags) {
  const auto begin = std::chrono::steady_clock::now();
  flags.words.v4 = !flags.ipv6 || flags.dual;
  flags.words.v6 = flags.ipv6 || flags.dual;
  flags.words.masquerade = !flags.no_masquerade;
  const Lab plan = plan_lab(flags.words);
  if (!flags.output.json()) {
    print(describe(plan) + "\n");
    std::fflush(stdout);
  }
  const Lab lab = lab_up(plan, tell);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  if (flags.output.json()) {
    print_json(Json::parse(format_lab(lab)));
    return kExitOk;
  }
  Table table({{""}, {""}, {""}, {""}, {""}});
  for (const LabNode& node : lab.nodes) {
    const bool both = node.subnet && node.subnet6;
    table.add({"  " + node.name, (node.subnet ? node.ip : node.ip6).str(),
               both ? node.subnet.str() + " " + node.subnet6.str() : (node.subnet ? node.subnet : node.subnet6).str(),
               node.pods.empty() ? "no pods" : "pods " + pod_addresses(node), "ready"});
  }
  print(table);
  const std::string first = lab.nodes.front().pods.empty() ? "n1" : lab.nodes.front().pods.front().name;
  print(fmt::format("up in {:.1f} s.  next: knet lab ping{} | knet lab exec{} {} -- sh | knet lab down{}\n", took.count(),
                    flags.named(), flags.named(), first, flags.named()));
  return kExitOk;
}

size_t agents_alive(const Lab& lab) {
  size_t count = 0;
  for (const LabNode& node : lab.nodes) count += is_alive(node.agent);
  return count;
}

int list(const Flags& flags) {
  Table table({{"NAME"}, {"NODES", Column::Kind::right}, {"PODS", Column::Kind::right}, {"MODE"}, {"STORE"}, {"AGENTS"}, {"SINCE", Column::Kind::right},
               {"", Column::Kind::free}});
  Json labs = Json::array();
  for (const std::string& name : lab_names()) {
    const std::optional<Lab> lab = load_lab(name);
    if (!lab) {
      table.add({name, "-", "-", "-", "-", "-", "-", fmt::format("left by a crash; knet lab down --name {}", name)});
      continue;
    }
    const size_t alive = agents_alive(*lab);
    const size_t wanted = lab->nodes.size();
    table.add({name, std::to_string(wanted), std::to_string(wanted * static_cast<size_t>(lab->words.pods)), lab->words.mode, lab->words.store,
               Cell(fmt::format("{} of {}", alive, wanted), alive < wanted ? Tone::bad : Tone::plain), since(lab->since, unix_now()),
               alive < wanted ? "agents are gone; knet lab down --name " + name : ""});
    Json tree = Json::parse(format_lab(*lab));
    tree["agents_alive"] = alive;
    tree["directory"] = lab->dir.string();
    labs.push_back(std::move(tree));
  }
  if (flags.output.json()) {
    print_json({{"labs", labs}});
  } else if (table.empty()) {
    print("no lab is up.  next: knet lab up\n");
  } else {
    print(table);
  }
  return kExitOk;
}

Json as_json(const Matrix& matrix) {
  Json pairs = Json::array();
  for (size_t i = 0; i < matrix.ends.size(); ++i) {
    for (size_t j = 0; j < matrix.ends.size(); ++j) {
      const EchoResult& result = matrix.results[i][j];
      if (i != j) {
        pairs.push_back({{"from", matrix.ends[i].pod}, {"to", matrix.ends[j].pod}, {"address", matrix.ends[j].ip.str()},
                         {"ms", result.ms ? Json(*result.ms) : Json(nullptr)}, {"why", result.why}});
      }
    }
  }
  return pairs;
}

int ping(const Flags& flags) {
  const Lab lab = get_lab(flags.words.name);
  const std::vector<Matrix> matrices = ping_lab(lab, duration_of("--timeout", flags.limit));
  if (matrices.empty()) fail(ErrorKind::usage, "lab {} has no pods; start it with --pods 1 or more", lab.words.name);
  bool all = true;
  Json pairs = Json::array();
  for (const Matrix& matrix : matrices) {
    all = all && matrix.passed() == matrix.pairs();
    if (flags.output.json()) {
      for (const Json& pair : as_json(matrix)) pairs.push_back(pair);
    } else {
      print(render(matrix) + verdict(matrix, lab.words.name));
    }
  }
  if (flags.output.json()) print_json({{"lab", lab.words.name}, {"pass", all}, {"pairs", pairs}});
  return all ? kExitOk : kExitDrift;
}

int down(const Flags& flags) {
  std::vector<std::string> names{flags.words.name};
  if (flags.all) names = lab_names();
  bool clean = true, found = false;
  for (const std::string& name : names) {
    const DownReport report = lab_down(name);
    if (!report.found) continue;
    found = true;
    for (const std::string& failure : report.failed) tell(fmt::format("knet lab down: {}: {}", name, failure));
    clean = clean && report.failed.empty();
    print(fmt::format("{} {}: {} stopped{}\n", name, report.failed.empty() ? "down" : "NOT WHOLLY DOWN", count_of(report.processes, "process", "processes"),
                      report.namespaces > 0 ? fmt::format(", {} removed", count_of(report.namespaces, "namespace")) : ""));
  }
  if (!found) print(flags.all ? "no lab is up\n" : fmt::format("no lab '{}' is up\n", flags.words.name));
  return clean ? kExitOk : kExitFailed;
}

std::vector<std::string> known_parts() {
  std::vector<std::string> parts;
  for (const std::string& name : lab_names())
    if (const auto lab = load_lab(name))
      for (std::string& part : lab_parts(*lab)) parts.push_back(std::move(part));
  return parts;
}

std::function<int()> declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  flags->output.declare(app);
  declare_log(app);
  offer(app.add_option("--name", flags->words.name, "the lab's name (default lab)")->type_name("NAME"), lab_names);
  CLI::App* start = add_verb(app, "up", "make nodes, agents and pods, and wait until they are ready");
  LabWords& words = flags->words;
  start->add_option("--nodes", words.nodes, "how many nodes (default 3)")->type_name("N");
  start->add_option("--pods", words.pods, "how many pods on each (default 2)")->type_name("N");
  offer(start->add_option("--mode", words.mode, "how packets move between nodes (default vxlan)")->type_name("MODE"), mode_names);
  start->add_option("--opt", words.options, "an option of the mode; repeatable")->type_name("KEY=VALUE")->take_all()->allow_extra_args(false);
  one_of(start->add_option("--store", words.store, "sqlite, or etcd where it is installed (default sqlite)")->type_name("STORE"), {"sqlite", "etcd"});
  start->add_flag("--no-masquerade", flags->no_masquerade, "pods' traffic leaves the cluster with pods' addresses");
  start->add_flag("--routers", words.routers, "two routed segments between the nodes instead of one switch");
  start->add_flag("--ipv6", flags->ipv6, "pods with IPv6 addresses alone");
  start->add_flag("--dual", flags->dual, "pods with IPv4 and IPv6 addresses");
  CLI::App* list_verb = add_verb(app, "list", "labs that are up");
  CLI::App* ping_verb = add_verb(app, "ping", "every pod to every other one; exit 3 unless all pairs pass");
  ping_verb->add_option("--timeout", flags->limit, "how long to wait for an answer (default 1s)")->type_name("TIME");
  CLI::App* exec = add_verb(app, "exec", "run a command inside a node or pod");
  offer(exec->add_option("PART", flags->part, "a node (n1), a pod (n1-p1) or the switch (sw)")->required(), known_parts);
  exec->add_option("COMMAND", flags->command, "the command, after --")->required();
  CLI::App* route = add_verb(app, "route", "knet route show on a node");
  offer(route->add_option("NODE", flags->part, "the node")->required(), known_parts);
  CLI::App* bench = declare_bench(app, flags->bench);
  CLI::App* down_verb = add_verb(app, "down", "stop and remove it, also after a crash");
  down_verb->add_flag("--all", flags->all, "all labs of this user");
  add_examples(app, {"knet lab up --nodes 5 --mode host-gw", "knet lab ping", "knet lab exec n1 -- knet route trace n1-p1 n3-p1",
                     "knet lab exec n1-p1 -- sh", "knet lab bench --modes vxlan --svg cost.svg", "knet lab down --all"});
  return [=] {
    if (start->parsed()) return up(*flags);
    if (list_verb->parsed()) return list(*flags);
    if (ping_verb->parsed()) return ping(*flags);
    if (down_verb->parsed()) return down(*flags);
    if (bench->parsed()) return lab_bench(flags->bench, flags->output);
    if (route->parsed()) flags->command = {"knet", "route", "show", "-o", flags->output.json() ? "json" : flags->output.wide() ? "wide" : "table"};
    lab_exec(get_lab(flags->words.name), flags->part, flags->command);
  };
}

}  // namespace

const Command& lab_command() {
  static const Command command{"lab", "a cluster of network namespaces on this machine, to try things out", CommandGroup::lab, declare, nullptr, "labs"};
  return command;
}

}  // namespace knet
