// knet mode: the modes that this binary has, whether this kernel runs them, and their options; the cluster's is changed
// by commands/mode/change.cpp.
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "commands/common/cli.h"
#include "commands/common/flags.h"
#include "commands/common/output.h"
#include "commands/common/table.h"
#include "commands/mode/change.h"
#include "core/mode.h"
#include "kernel/linux_plane.h"
#include "store/cluster_store.h"

namespace knet {
namespace {

constexpr uint32_t kPlainMtu = 1500;
constexpr std::chrono::milliseconds kQuickly{1500};

/// Where the modes are looked at: the cluster, if this node has joined one or a store was named, and this host's NIC.
struct Place {
  std::optional<NetworkConfig> config;
  LocalNode self;
  KernelFeatures kernel;
};

std::optional<NetworkConfig> cluster_config(const StoreFlags& flags, const NodePaths& paths) {
  try {
    if (!flags.given() && !load_node_settings(paths)) return std::nullopt;
    StoreOptions options = flags.options(paths);
    options.timeout = std::min(options.timeout, kQuickly);
    const std::unique_ptr<Store> store = open_store(options);
    const std::optional<ConfigText> text = ClusterStore(*store, StorePaths{options.prefix}).load_config();
    if (text) return parse_network_config(text->json, mode_registry());
  } catch (const Error& error) {
    log::warning("the cluster's config can't be read: {}", error.text);
  }
  return std::nullopt;
}

LocalNode this_host() {
  LocalNode self;
  self.uplink.mtu = self.uplink6.mtu = kPlainMtu;
  try {
    LinuxPlane plane;
    const Observed observed = plane.observe(only(Kind::link) | only(Kind::address) | only(Kind::route));
    const UplinkChoice choice = choose_uplink(observed.net, {}, true, false, std::nullopt);
    self.uplink = choice.uplink;
    self.uplink6 = choice.uplink;
  } catch (const Error&) {
    // No NIC yet: figures for a plain Ethernet.
  }
  return self;
}

Place look(const StoreFlags& store, const NodePaths& paths) {
  Place place;
  place.config = cluster_config(store, paths);
  place.self = this_host();
  place.kernel = probe_kernel();
  return place;
}

/// With the cluster's options for the cluster's mode and the defaults for any other.
NetworkConfig config_for(const Mode& mode, const Place& place) {
  return place.config.value_or(NetworkConfig{}).as_mode(mode.name());
}

ModeMtu mtu_of(const Mode& mode, const Place& place) { return mode.mtu(config_for(mode, place), place.self); }

/// Nothing if it runs here, or if that is not known.
std::optional<std::string> why_not(const Mode& mode, const Place& place) {
  if (!place.kernel.known) return std::nullopt;
  return mode.unsupported(place.kernel, config_for(mode, place));
}

/// "bpf", "user"; "" where there is nothing to choose.
Datapath datapath_of(const Mode& mode, const Place& place) {
  if (!place.kernel.known || why_not(mode, place)) return {};
  return mode.datapath(place.kernel, config_for(mode, place));
}

std::string mtu_text(const ModeMtu& mtu, bool both) {
  if (both && mtu.v4 != 0 && mtu.v6 != 0 && mtu.v4 != mtu.v6) return fmt::format("{}, IPv6 {}", mtu.v4, mtu.v6);
  return fmt::format("{}", mtu.v4 != 0 ? mtu.v4 : mtu.v6);
}

std::string runs_here(const Mode& mode, const Place& place) {
  if (!place.kernel.known) return "unknown";
  if (why_not(mode, place)) return "no";
  const Datapath path = datapath_of(mode, place);
  return path.name.empty() ? "yes" : fmt::format("yes, {}", path.name);
}

nlohmann::ordered_json as_json(const Mode& mode, const Place& place) {
  const ModeMtu mtu = mtu_of(mode, place);
  nlohmann::ordered_json options = nlohmann::ordered_json::array();
  for (const OptionSpec& option : mode.options()) {
    static constexpr const char* types[] = {"boolean", "integer", "text"};
    options.push_back({{"name", option.name}, {"type", types[static_cast<int>(option.type)]}, {"default", option.fallback},
                       {"live", option.live}, {"help", option.help}});
  }
  const std::optional<std::string> why = why_not(mode, place);
  const Datapath path = datapath_of(mode, place);
  return {{"name", mode.name()},
          {"summary", mode.summary()},
          {"cluster", place.config && place.config->mode == mode.name()},
          {"runs_here", place.kernel.known ? nlohmann::ordered_json(!why) : nlohmann::ordered_json(nullptr)},
          {"why_not", why.value_or("")},
          {"datapath", path.name},
          {"datapath_why", path.why},
          {"ipv4", mode.carries(Family::v4)},
          {"ipv6", mode.carries(Family::v6)},
          {"mtu", mtu.v4},
          {"mtu6", mtu.v6},
          {"options", options}};
}

int list_modes(const Place& place, const OutputFlag& output) {
  if (output.json()) {
    nlohmann::ordered_json modes = nlohmann::ordered_json::array();
    for (const Mode* mode : mode_registry().all()) modes.push_back(as_json(*mode, place));
    print_json({{"modes", modes}});
    return kExitOk;
  }
  Table table({{"MODE"}, {"RUNS HERE"}, {"MTU"}, {"SUMMARY", Column::Kind::free}});
  for (const Mode* mode : mode_registry().all()) {
    const bool current = place.config && place.config->mode == mode->name();
    const std::optional<std::string> why = why_not(*mode, place);
    const Datapath path = datapath_of(*mode, place);
    std::string summary(mode->summary());
    if (why) summary += "; " + *why;
    if (!path.why.empty()) summary += "; " + path.why;
    table.add({std::string(mode->name()) + (current ? " *" : ""), Cell(runs_here(*mode, place), why ? Tone::warn : Tone::plain),
               mtu_text(mtu_of(*mode, place), output.wide()), summary});
  }
  print(table);
  if (place.config) print("* the cluster's mode\n");
  return kExitOk;
}

std::string default_text(const OptionSpec& option) {
  if (option.type == OptionType::text && option.fallback.empty()) return "\"\"";
  return std::string(option.fallback);
}

std::string value_text(const OptionSpec& option) {
  if (option.type == OptionType::boolean) return "true or false";
  if (!option.values.empty()) return join(std::vector<std::string>(option.values.begin(), option.values.end()), ", ");
  if (option.type == OptionType::text) return option.secret ? "text, secret" : "text";
  return fmt::format("{} to {}", option.min, option.max);
}

int show_mode(const Mode& mode, const Place& place, const OutputFlag& output) {
  if (output.json()) {
    print_json({{"mode", as_json(mode, place)}});
    return kExitOk;
  }
  print(fmt::format("{} - {}\n\n{}\n\n", mode.name(), mode.summary(), wrap(mode.description())));
  Table facts({{""}, {"", Column::Kind::free}});
  const std::optional<std::string> why = why_not(mode, place);
  const Datapath path = datapath_of(mode, place);
  facts.add({"runs here", why ? "no: " + *why : place.kernel.known ? runs_here(mode, place) + (path.why.empty() ? "" : ": " + path.why)
                                                                  : "unknown: the kernel could not be asked (not root?)"});
  facts.add({"carries", mode.carries(Family::v4) && mode.carries(Family::v6) ? "IPv4, IPv6, both" : mode.carries(Family::v4) ? "IPv4" : "IPv6"});
  const Uplink& uplink = place.self.uplink;
  facts.add({"mtu", fmt::format("{} over {}, whose own is {}", mtu_text(mtu_of(mode, place), true),
                                uplink.dev ? uplink.dev.str() : "a NIC", uplink.mtu)});
  print(facts);
  if (!mode.options().empty()) {
    print("\n");
    Table options({{"OPTION"}, {"DEFAULT"}, {"VALUES"}, {"CHANGE"}, {"MEANING", Column::Kind::free}});
    for (const OptionSpec& option : mode.options()) {
      options.add({std::string(option.name), default_text(option), value_text(option), option.live ? "live" : "restart", std::string(option.help)});
    }
    print(options);
  }
  print(fmt::format("\nuse: knet {} {}{}\n", place.config ? "mode set" : "init --mode", mode.name(), mode.options().empty() ? "" : " [--opt KEY=VALUE]..."));
  return kExitOk;
}

std::function<int()> declare(CLI::App& app) {
  struct Flags : CommonFlags {
    std::string mode;
    ModeChangeFlags change;
  };
  auto flags = std::make_shared<Flags>();
  flags->declare_common(app);
  CLI::App* list = add_verb(app, "list", "all modes, and which of them run here");
  CLI::App* show = add_verb(app, "show", "one mode: how it works, its MTU here, its options with their defaults");
  offer(show->add_option("MODE", flags->mode, "its name, as in knet mode list")->required(), mode_names);
  CLI::App* set = add_verb(app, "set", "change the cluster's mode while pods talk");
  ModeChangeFlags& change = flags->change;
  offer(set->add_option("MODE", change.mode, "its name, as in knet mode list")->required(), mode_names);
  set->add_option("--opt", change.options, "an option of the mode, such as DirectRouting=true; repeatable")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->allow_extra_args(false);
  set->add_flag("--wait", change.wait, "until every node is over; tells how far each is");
  set->add_option("--wait-timeout", change.timeout, "of --wait (default 2m)")->type_name("TIME");
  CLI::App* finish = add_verb(app, "finish", "end a change of mode: no node receives the earlier mode any more");
  set->add_flag("--force", change.force, "in spite of nodes that can't follow");
  finish->add_flag("--force", change.force, "in spite of nodes that still announce the earlier mode");
  for (CLI::App* verb : {set, finish}) verb->add_flag("--dry-run", change.dry_run, "check and print, write nothing");
  add_examples(app, {"knet mode list", "knet mode show vxlan", "knet mode set host-gw --wait"});
  return [flags, list, set, finish] {
    if (set->parsed()) return mode_set(flags->store_options(), flags->change, flags->output);
    if (finish->parsed()) return mode_finish(flags->store_options(), flags->change, flags->output);
    const Mode* mode = nullptr;
    try {
      if (!list->parsed()) mode = &mode_registry().get(flags->mode);
    } catch (const Error& error) {
      throw Error(ErrorKind::usage, error.text);
    }
    const Place place = look(flags->store, flags->paths.paths());
    return mode == nullptr ? list_modes(place, flags->output) : show_mode(*mode, place, flags->output);
  };
}

}  // namespace

const Command& mode_command() {
  static const Command command{"mode", "the ways of moving packets between nodes, which run here, changing it", CommandGroup::look, declare, nullptr, "modes"};
  return command;
}

}  // namespace knet
