// knet node set: what holds for one node, whether it runs or not.
#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "commands/bgp/reach.h"
#include "commands/common/changes.h"
#include "commands/node/node.h"
#include "core/selector.h"

namespace knet {
namespace {

Selector selector_of(const std::string& text) {
  try {
    return Selector(text);
  } catch (const Error& error) {
    throw with_context(error, "--clients");
  }
}

void change_labels(const NodeSetFlags& flags, NodeSpec& spec) {
  for (const std::string& name : flags.no_labels) {
    if (std::erase_if(spec.labels, [&](const auto& label) { return label.first == name; }) == 0)
      fail(ErrorKind::usage, "--no-label {}: {} has no such label", printable(name), spec.node);
  }
  for (const std::string& text : flags.labels) {
    std::pair<std::string, std::string> label;
    try {
      label = parse_label(text);
    } catch (const Error& error) {
      throw with_context(error, "--label");
    }
    std::erase_if(spec.labels, [&](const auto& other) { return other.first == label.first; });
    spec.labels.push_back(std::move(label));
  }
  std::sort(spec.labels.begin(), spec.labels.end());
}

void apply(const NodeSetFlags& flags, NodeSpec& spec) {
  if (flags.no_asn) spec.asn.reset();
  if (!flags.asn.empty()) spec.asn = asn_of("--as", flags.asn);
  if (flags.no_reflector) spec.reflector.reset(), spec.clients.clear();
  if (!flags.reflector.empty()) {
    try {
      spec.reflector = parse_cluster_id(flags.reflector);
    } catch (const Error& error) {
      throw with_context(error, "--reflector");
    }
  }
  if (given(flags.clients_given)) {
    if (!spec.reflector) fail(ErrorKind::usage, "--clients says whom a reflector serves, and {} is none; give --reflector 1.0.0.1 too", spec.node);
    spec.clients = flags.clients.empty() ? "" : selector_of(flags.clients).str();
  }
  if (flags.pods) spec.pods = true;
  if (flags.no_pods) spec.pods = false;
  change_labels(flags, spec);
}

std::vector<std::string> texts(const NodeSpec& spec) {
  std::vector<std::string> out;
  for (const auto& [key, value] : spec.labels) out.push_back(key + "=" + value);
  return out;
}

void compare(const NodeSpec& from, const NodeSpec& to, Changes& changes) {
  const auto asn = [](const NodeSpec& spec) { return spec.asn ? fmt::format("{}", *spec.asn) : std::string("the cluster's"); };
  const auto reflector = [](const NodeSpec& spec) { return spec.reflector ? format_cluster_id(*spec.reflector) : std::string("no"); };
  const auto clients = [](const NodeSpec& spec) { return !spec.reflector ? "none" : spec.clients.empty() ? "all that are no reflectors" : spec.clients; };
  changes.put("as", asn(from), asn(to));
  changes.put("reflector", reflector(from), reflector(to));
  changes.put("clients", clients(from), clients(to));
  changes.put_list("labels", texts(from), texts(to));
  changes.put("pods", from.pods ? "yes" : "no", to.pods ? "yes" : "no");
}

void explain(OpenCluster& open, const NodeSpec& spec, bool force, Changes& changes) {
  const NodeTable nodes = open.cluster.list_nodes(open.config.mode, false);
  std::vector<NodeSpec> specs = open.cluster.list_node_specs().rows;
  const std::vector<std::string> present = present_nodes(nodes);
  const BgpConfig config = open.cluster.load_bgp_config();
  const std::vector<BgpPeerSpec> outside = open.cluster.list_bgp_peers().rows;
  const std::vector<std::string> before = cut_off(config, present, specs, outside);
  std::erase_if(specs, [&](const NodeSpec& other) { return other.node == spec.node; });
  specs.push_back(spec);
  const auto reflectors = std::count_if(specs.begin(), specs.end(), [](const NodeSpec& other) { return other.reflector.has_value(); });
  refuse_cut_off(before, cut_off(config, present, specs, outside), reflectors > 0, force, changes.notices);
  if (std::find(present.begin(), present.end(), spec.node) == present.end()) {
    const auto near = nearest(spec.node, present);
    changes.notices.push_back(fmt::format("no node {} has joined yet{}", spec.node, near ? fmt::format("; did you mean {}?", *near) : "; it will have this when it does"));
  }
  if (changes.has("as")) changes.notices.push_back(fmt::format("all BGP sessions of {} are reset; peers outside must expect the new AS", spec.node));
  if (changes.has("pods") && !spec.pods) changes.notices.push_back(fmt::format("{} gives its subnet back: pods that still run there lose their network; drain it first", spec.node));
  if (changes.has("reflector") && spec.reflector && config.mesh) {
    if (reflectors == 1) changes.notices.push_back("one reflector is a single point of failure; make a second one before the mesh is turned off");
    else changes.next = "knet bgp config set --mesh off, once all reflectors are made";
  }
}

}  // namespace

int node_set(const NodeVerbFlags& flags) {
  check_node_name(flags.name);
  OpenCluster open(flags.store_options());
  Changes changes;
  const auto change = [&](NodeSpec& spec) {
    const NodeSpec before = spec;
    apply(flags.set, spec);
    changes = {};  // a lost race begins again
    compare(before, spec, changes);
    if (!changes.empty()) explain(open, spec, flags.set.force, changes);
  };
  if (flags.set.dry_run) {
    NodeSpec spec = spec_of(open.cluster.list_node_specs().rows, flags.name);
    change(spec);
  } else {
    open.cluster.update_node_spec(flags.name, change);
  }
  return changes.report("node " + flags.name, open.store->where() + " " + open.cluster.paths().spec(flags.name), flags.set.dry_run, flags.output.json());
}

}  // namespace knet
