// knet init: the cluster's network config into the store.
#include "agent/init.h"

#include <fmt/core.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "commands/common/cli.h"
#include "commands/common/flags.h"
#include "commands/common/output.h"
#include "commands/common/secrets.h"
#include "commands/common/table.h"
#include "kernel/linux_plane.h"

namespace knet {
namespace {

struct Flags : CommonFlags {
  ConfigWords words;
  std::string network, network6, subnet_min, subnet_max, subnet_min6, subnet_max6, file;
  int subnet_len = 0, subnet_len6 = 0;
  bool no_masquerade = false, force = false, dry_run = false;
  std::vector<const CLI::Option*> worded;  // what --config replaces
};

/// The flags that lead `knet join` to the same store; "" for the embedded default.
std::string store_words(const StoreOptions& options) {
  std::string words;
  if (options.url != StoreOptions{}.url) words += " --store " + options.url;
  if (options.prefix != StoreOptions{}.prefix) words += " --prefix " + options.prefix;
  if (!options.cert_file.empty()) words += " --cert " + options.cert_file;
  if (!options.key_file.empty()) words += " --key " + options.key_file;
  if (!options.ca_file.empty()) words += " --cacert " + options.ca_file;
  if (!options.user.empty()) words += " --user " + options.user;
  if (!options.password_file.empty()) words += " --password-file " + options.password_file;
  return words;
}

NetworkConfig config_from(const Flags& flags, std::vector<std::string>& notices) {
  if (!flags.file.empty()) {
    for (const CLI::Option* option : flags.worded) {
      if (option->count() > 0) fail(ErrorKind::usage, "--config can't be given with {}: it says all", option->get_name());
    }
    std::optional<std::string> text = flags.file == "-" ? read_all(STDIN_FILENO, "--config -") : read_file(flags.file);
    if (!text) fail(ErrorKind::usage, "--config {}: no such file", flags.file);
    try {
      return parse_network_config(*text, mode_registry(), &notices);
    } catch (const Error& error) {
      throw with_context(error, "--config " + flags.file);
    }
  }
  ConfigWords words = flags.words;
  auto put = [](const std::string& given, std::optional<std::string>& into) {
    if (!given.empty()) into = given;
  };
  put(flags.network, words.network);
  put(flags.network6, words.network6);
  put(flags.subnet_min, words.subnet_min);
  put(flags.subnet_max, words.subnet_max);
  put(flags.subnet_min6, words.subnet_min6);
  put(flags.subnet_max6, words.subnet_max6);
  if (flags.subnet_len != 0) words.subnet_len = flags.subnet_len;
  if (flags.subnet_len6 != 0) words.subnet_len6 = flags.subnet_len6;
  words.options = read_secrets(std::move(words.options), "--opt");
  words.masquerade = !flags.no_masquerade;
  if (!words.network && !words.network6) fail(ErrorKind::usage, "give the pods' network, such as --network 10.244.0.0/16");
  return make_network_config(words, mode_registry());
}

std::string pods_each(int subnet_len) {
  const int host_bits = 32 - subnet_len;
  return count_of((uint64_t{1} << host_bits) - 3, "pod");  // the subnet's own address, subnet.env's, the broadcast
}

std::string nodes_of(uint64_t pool) { return pool > 1'000'000'000 ? "more nodes than there are" : count_of(pool, "node"); }

/// "vxlan (VNI 1, udp 8472)", "host-gw", "vxlan (VNI 7, udp 8472, DirectRouting true)".
std::string mode_text(const NetworkConfig& config) {
  const Mode& mode = mode_registry().get(config.mode);
  std::vector<std::string> parts;
  if (std::string wire = mode.wire(config); !wire.empty()) parts.push_back(std::move(wire));
  for (const OptionSpec& spec : mode.options()) {
    NetworkConfig without = config;
    std::erase_if(without.options, [&](const auto& option) { return option.first == spec.name; });
    const std::string value = shown_option(config, spec);
    // What is as usual, or stands in what is on the wire, is not told again.
    if (value == shown_option(without, spec) || mode.wire(config) != mode.wire(without)) continue;
    parts.push_back(fmt::format("{} {}", spec.name, value));
  }
  return parts.empty() ? config.mode : fmt::format("{} ({})", config.mode, join(parts, ", "));
}

void print_json_report(const InitReport& report) {
  static constexpr const char* outcomes[] = {"written", "replaced", "equal", "not written"};
  print_json({{"outcome", outcomes[static_cast<int>(report.outcome)]},
              {"store", report.where},
              {"key", report.key},
              {"embedded", report.embedded},
              {"config", nlohmann::ordered_json::parse(hide_secrets(report.json, mode_registry()))},
              {"notices", report.notices}});
}

void print_report(const InitReport& report, const NetworkConfig& config, const StoreOptions& store) {
  static constexpr const char* outcomes[] = {"written to", "overwritten in", "stands already in", "dry run: not written to"};
  const int label = config.enable_v4 && config.enable_v6 ? 8 : 7;
  auto line = [&](std::string_view name, const std::string& text) { print(fmt::format("{:<{}}  {}\n", name, label, text)); };
  if (config.enable_v4) {
    line("network", fmt::format("{}, a /{} for each node: {}, up to {} each", config.network.str(), config.subnet_len,
                                nodes_of(pool_size(config, Family::v4)), pods_each(config.subnet_len)));
  }
  if (config.enable_v6) {
    line(config.enable_v4 ? "network6" : "network", fmt::format("{}, a /{} for each node: {}", config.network6.str(), config.subnet_len6,
                                                                nodes_of(pool_size(config, Family::v6))));
  }
  line("mode", fmt::format("{:<31} {} {} {}", mode_text(config), outcomes[static_cast<int>(report.outcome)], report.where, report.key));
  for (const std::string& notice : report.notices) print("note: " + notice + "\n");
  const std::string join_line = "knet join" + store_words(store);
  if (report.outcome == InitReport::Outcome::not_written) {
    print(hide_secrets(report.json, mode_registry()) + "\n");
  } else if (report.embedded) {
    print(fmt::format("next, on this machine:   {}\n\n"
                      "The embedded store is this machine's own: this machine is the whole cluster. To span several, use an etcd\n"
                      "that all of them reach:  apt-get install etcd-server  on one of them, and then\n"
                      "  knet init --store http://ITS-ADDRESS:2379 --network {}\n",
                      join_line, (config.enable_v4 ? config.network : config.network6).str()));
  } else {
    print(fmt::format("next, on every node, this one too:   {}\n", join_line));
  }
}

int init(const Flags& flags) {
  const NodePaths paths = flags.paths.paths();
  std::vector<std::string> notices;
  const NetworkConfig config = config_from(flags, notices);
  const StoreOptions options = flags.store.options(paths);
  const std::unique_ptr<Store> store = open_store(options);
  ClusterStore cluster(*store, StorePaths{options.prefix});
  LinuxPlane host;
  InitReport report = run_init(cluster, host, mode_registry(), {config, flags.force, flags.dry_run});
  report.notices.insert(report.notices.begin(), notices.begin(), notices.end());
  if (flags.output.json()) {
    print_json_report(report);
  } else {
    print_report(report, config, options);
  }
  return kExitOk;
}

std::function<int()> declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  auto add = [&](const char* name, auto& into, const char* type, const char* help) {
    CLI::Option* option = app.add_option(name, into, help)->type_name(type);
    flags->worded.push_back(option);
    return option;
  };
  add("--network", flags->network, "CIDR", "pods' IPv4 network, such as 10.244.0.0/16");
  add("--network6", flags->network6, "CIDR", "pods' IPv6 network, such as fd00:10:244::/48; alone or besides");
  add("--subnet-len", flags->subnet_len, "N", "length of each node's subnet (default 24, or 2 more than a short network's)");
  add("--subnet-min", flags->subnet_min, "IP", "first subnet given out (default: the second of the network)");
  add("--subnet-max", flags->subnet_max, "IP", "last subnet given out (default: the last of the network)");
  add("--subnet-len6", flags->subnet_len6, "N", "the same for IPv6 (default 64)");
  add("--subnet-min6", flags->subnet_min6, "IP", "the same for IPv6");
  add("--subnet-max6", flags->subnet_max6, "IP", "the same for IPv6");
  offer(add("--mode", flags->words.mode, "MODE", "how packets get from node to node (default vxlan); see knet mode list"), mode_names);
  add("--opt", flags->words.options, "KEY=VALUE", "an option of the mode, such as DirectRouting=true; repeatable")
      ->take_all()->allow_extra_args(false);
  flags->worded.push_back(app.add_flag("--no-masquerade", flags->no_masquerade, "pods' traffic leaves the cluster with pods' addresses"));
  app.add_option("--config", flags->file, "all of it from a file, or - for stdin, in flannel's JSON")->type_name("FILE");
  app.add_flag("--force", flags->force, "overwrite a different config, and in spite of what this host uses");
  app.add_flag("--dry-run", flags->dry_run, "check and print, write nothing");
  flags->declare_common(app);
  add_examples(app, {"knet init --network 10.244.0.0/16", "knet init --store http://192.168.77.1:2379 --network 10.244.0.0/16 --mode host-gw",
                     "knet init --network 10.244.0.0/16 --network6 fd00:10:244::/48 --opt DirectRouting=true",
                     "knet init --config net-conf.json"});
  return [flags] { return init(*flags); };
}

}  // namespace

const Command& init_command() {
  static const Command command{"init", "write the cluster's network config", CommandGroup::cluster, declare};
  return command;
}

}  // namespace knet
