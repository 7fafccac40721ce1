// knet config: the cluster's live config, where each value comes from, and safe changes of it.
#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "agent/init.h"
#include "base/json.h"
#include "base/text.h"
#include "commands/common/cli.h"
#include "commands/common/flags.h"
#include "commands/common/output.h"
#include "commands/common/secrets.h"
#include "commands/common/table.h"
#include "core/mode.h"

namespace knet {
namespace {

struct Flags : CommonFlags {
  std::vector<std::string> changes;
  bool dry_run = false;
};

/// Whether the stored text itself has the key, whatever its case.
bool stored(const nlohmann::json& object, std::string_view key) {
  if (!object.is_object()) return false;
  for (const auto& [name, value] : object.items()) {
    if (equals_ignoring_case(name, key)) return true;
  }
  return false;
}

nlohmann::json part(const nlohmann::json& object, std::string_view key) {
  for (const auto& [name, value] : object.items()) {
    if (equals_ignoring_case(name, key)) return value;
  }
  return nullptr;
}

struct Row {
  std::string key, value, from;
};

/// Every value in force: from the store, or by which default.
std::vector<Row> rows_of(const NetworkConfig& config, const nlohmann::json& json) {
  std::vector<Row> rows;
  auto put = [&](std::string_view key, std::string value, std::string_view otherwise) {
    rows.push_back({std::string(key), std::move(value), stored(json, key) ? "store" : std::string(otherwise)});
  };
  if (config.enable_v4) {
    put("Network", config.network.str(), "default");
    put("SubnetLen", fmt::format("{}", config.subnet_len), "default, from Network");
    put("SubnetMin", config.subnet_min.str(), "default, from Network");
    put("SubnetMax", config.subnet_max.str(), "default, from Network");
  } else {
    put("EnableIPv4", "false", "default");
  }
  if (config.enable_v6) {
    put("EnableIPv6", "true", "default");
    put("IPv6Network", config.network6.str(), "default");
    put("IPv6SubnetLen", fmt::format("{}", config.subnet_len6), "default, from IPv6Network");
    put("IPv6SubnetMin", config.subnet_min6.str(), "default, from IPv6Network");
    put("IPv6SubnetMax", config.subnet_max6.str(), "default, from IPv6Network");
  }
  const nlohmann::json backend = part(json, "Backend");
  rows.push_back({"Backend.Type", config.mode, stored(backend, "Type") ? "store" : "default of a config without Backend"});
  for (const OptionSpec& option : mode_registry().get(config.mode).options()) {
    rows.push_back({fmt::format("Backend.{}", option.name), shown_option(config, option), stored(backend, option.name) ? "store" : "default"});
  }
  rows.push_back({"Masquerade", config.masquerade ? "true" : "false", stored(part(json, "Knet"), "Masquerade") ? "store" : "default"});
  return rows;
}

int show(const Flags& flags, ClusterStore& cluster) {
  const std::string where = cluster.store().where();
  const std::optional<ConfigText> text = cluster.load_config();
  if (!text) fail(ErrorKind::config, "{} {} holds no config; write one with knet init", where, cluster.paths().config());
  std::vector<std::string> notices;
  const NetworkConfig config = parse_network_config(text->json, mode_registry(), &notices);
  const std::vector<Row> rows = rows_of(config, parse_json(text->json, "config"));
  if (flags.output.json()) {
    nlohmann::ordered_json values = nlohmann::ordered_json::array();
    for (const Row& row : rows) values.push_back({{"key", row.key}, {"value", row.value}, {"from", row.from}});
    print_json({{"store", where}, {"key", cluster.paths().config()}, {"revision", text->rev},
                {"config", nlohmann::ordered_json::parse(hide_secrets(text->json, mode_registry()))}, {"values", values}, {"notices", notices}});
    return kExitOk;
  }
  Table table({{"KEY"}, {"VALUE"}, {"FROM", Column::Kind::free}});
  for (const Row& row : rows) table.add({row.key, row.value, row.from});
  print(table);
  for (const std::string& notice : notices) print("note: " + notice + "\n");
  print(fmt::format("{} {}, revision {}\n", where, cluster.paths().config(), text->rev));
  return kExitOk;
}

int set(const Flags& flags, ClusterStore& cluster) {
  const ConfigSetReport report = set_config(cluster, mode_registry(), read_secrets(flags.changes, ""), flags.dry_run);
  if (flags.output.json()) {
    nlohmann::ordered_json changes = nlohmann::ordered_json::array();
    for (const ConfigChange& change : report.changes) changes.push_back(change.what);
    print_json({{"store", report.where}, {"key", report.key}, {"written", !flags.dry_run && !report.changes.empty()}, {"changes", changes}});
    return kExitOk;
  }
  for (const ConfigChange& change : report.changes) print(change.what + "\n");
  if (report.changes.empty()) {
    print("nothing to change: it is so already\n");
  } else if (flags.dry_run) {
    print(fmt::format("dry run: {} would be written to {} {}\n", count_of(report.changes.size(), "change"), report.where, report.key));
  } else {
    print(fmt::format("{} written to {} {}; running agents follow\n", count_of(report.changes.size(), "change"), report.where, report.key));
  }
  return kExitOk;
}

/// Keys for a shell: those of all modes, as what is stored is not asked for.
std::vector<std::string> settable() {
  std::vector<std::string> keys = {"Masquerade=true", "Masquerade=false"};
  for (const Mode* mode : mode_registry().all()) {
    for (const OptionSpec& option : mode->options()) {
      if (option.live) keys.push_back(fmt::format("{}=", option.name));
    }
  }
  return keys;
}

std::function<int()> declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  flags->declare_common(app);
  CLI::App* show_verb = add_verb(app, "show", "every value in force, and where it comes from");
  CLI::App* set_verb = add_verb(app, "set", "change what can be changed while nodes run; says the steps for the rest");
  offer(set_verb->add_option("KEY=VALUE", flags->changes, "such as Masquerade=false or DirectRouting=true")->required(), settable);
  set_verb->add_flag("--dry-run", flags->dry_run, "check and print, write nothing");
  add_examples(app, {"knet config show", "knet config set DirectRouting=true"});
  return [flags, show_verb] {
    const StoreOptions options = flags->store_options();
    const std::unique_ptr<Store> store = open_store(options);
    ClusterStore cluster(*store, StorePaths{options.prefix});
    return show_verb->parsed() ? show(*flags, cluster) : set(*flags, cluster);
  };
}

}  // namespace

const Command& config_command() {
  static const Command command{"config", "the cluster's network config: show it, change it", CommandGroup::cluster, declare};
  return command;
}

}  // namespace knet
