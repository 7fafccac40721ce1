// knet bgp config show.
#include "commands/bgp/config.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "commands/bgp/bgp.h"
#include "commands/common/output.h"
#include "commands/common/secrets.h"
#include "commands/common/table.h"

namespace knet {

using Json = nlohmann::ordered_json;

std::vector<std::string> bgp_prefix_texts(const std::vector<Prefix>& prefixes) {
  std::vector<std::string> out;
  for (const Prefix& prefix : prefixes) out.push_back(prefix.str());
  return out;
}

std::string bgp_local_pref_text(uint32_t value) { return fmt::format("{}{}", value, value == kCalicoLocalPref ? " (as Calico's nodes)" : ""); }

int bgp_config_show(const BgpFlags& flags) {
  OpenCluster open(flags.store_options());
  const BgpConfig config = open.cluster.load_bgp_config();
  const NodeSpecTable specs = open.cluster.list_node_specs();
  std::vector<std::string> reflectors;
  for (const NodeSpec& spec : specs.rows)
    if (spec.reflector) reflectors.push_back(fmt::format("{} ({})", spec.node, format_cluster_id(*spec.reflector)));
  const std::string where = open.store->where() + " " + open.cluster.paths().bgp_config();
  if (flags.output.json()) {
    print_json({{"key", where}, {"mode", open.config.mode},
                {"config", {{"asn", config.asn}, {"mesh", config.mesh}, {"port", config.port}, {"hold_time", config.hold_time},
                            {"restart_time", config.restart_time}, {"local_pref", config.local_pref}, {"prefix_limit", config.prefix_limit},
                            {"max_paths", config.max_paths}, {"password", config.password.empty() ? Json(nullptr) : Json("(hidden)")},
                            {"advertise", bgp_prefix_texts(config.advertise)}, {"import", bgp_prefix_texts(config.import)}}},
                {"reflectors", reflectors}, {"problems", specs.problems}});
    return kExitOk;
  }
  const auto list = [](const std::vector<std::string>& items) { return items.empty() ? std::string("none") : join(items, ", "); };
  Table table({{"SETTING"}, {"VALUE"}, {"MEANING", Column::Kind::free}});
  table.add({"as", fmt::format("{}", config.asn), "of each node that has none of its own"});
  table.add({"mesh", config.mesh ? "on" : "off", config.mesh ? "each node is a peer of every other" : "nodes are peers of the reflectors only"});
  table.add({"port", fmt::format("{}", config.port), "that nodes listen on and dial"});
  table.add({"hold-time", fmt::format("{}", config.hold_time), "seconds without a sign of life until a peer is taken for dead"});
  table.add({"restart-time", fmt::format("{}", config.restart_time), "seconds that peers keep our routes for while an agent restarts"});
  table.add({"local-pref", bgp_local_pref_text(config.local_pref), "of what nodes originate"});
  table.add({"prefix-limit", fmt::format("{}", config.prefix_limit), "routes taken from one peer outside"});
  table.add({"max-paths", fmt::format("{}", config.max_paths), "next hops of one route"});
  table.add({"password", shown_password(config.password), "between the cluster's nodes"});
  table.add({"advertise", list(bgp_prefix_texts(config.advertise)), "besides the pods' subnets, by every node"});
  table.add({"import", list(bgp_prefix_texts(config.import)), "besides the cluster's networks: what may be learned"});
  table.add({"reflectors", list(reflectors)});
  print(table);
  for (const std::string& problem : specs.problems) print("unreadable: " + problem + "\n");
  print(fmt::format("{}{}\n", where, open.config.mode == "bgp" ? "" : fmt::format(".  the cluster's mode is {}, not bgp", open.config.mode)));
  return kExitOk;
}

}  // namespace knet
