// flanneld: the node agent under flanneld's own flags and environment, so that a unit file or script keeps working with
// the binary swapped. Same subnet.env in the same place, same healthz; what flannel left on the node is taken over.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "agent/agent.h"
#include "base/log.h"
#include "base/text.h"
#include "base/version.h"
#include "commands/command.h"
#include "commands/common/flags.h"
#include "commands/common/go_flags.h"
#include "commands/common/table.h"

namespace knet {
namespace {

using Kind = GoFlag::Kind;

/// What becomes of a flag: the first letter of its help says it to the reader, the switch in warn_of() to the user.
constexpr GoFlag kFlags[] = {
    {"etcd-endpoints", Kind::text, "http://127.0.0.1:4001,http://127.0.0.1:2379", "etcd servers, between commas"},
    {"etcd-prefix", Kind::text, "/coreos.com/network", "where in etcd"},
    {"etcd-keyfile", Kind::text, "", "private key for etcd"},
    {"etcd-certfile", Kind::text, "", "client certificate for etcd"},
    {"etcd-cafile", Kind::text, "", "who vouches for etcd's certificate"},
    {"etcd-username", Kind::text, "", "etcd user"},
    {"etcd-password", Kind::text, "", "etcd password; better in KNET_STORE_PASSWORD"},
    {"iface", Kind::list, "", "NIC or address for traffic between nodes; repeatable, first that matches"},
    {"iface-regex", Kind::list, "", "the same by a pattern; repeatable, tried after all --iface"},
    {"iface-can-reach", Kind::text, "", "the NIC by which this address is reached"},
    {"public-ip", Kind::text, "", "address told to other nodes"},
    {"public-ipv6", Kind::text, "", "IPv6 address told to other nodes"},
    {"subnet-file", Kind::text, "/run/flannel/subnet.env", "file for the subnet, MTU and so on"},
    {"ip-masq", Kind::boolean, "false", "masquerade what leaves the cluster"},
    {"iptables-forward-rules", Kind::boolean, "true", "let pods' traffic through a FORWARD chain that drops"},
    {"ip-blackhole-route", Kind::boolean, "false", "always so in knet"},
    {"healthz-ip", Kind::text, "0.0.0.0", "address for /healthz and /readyz"},
    {"healthz-port", Kind::integer, "0", "port for them; 0: none"},
    {"v", Kind::integer, "0", "4 and more: debug log"},
    {"version", Kind::boolean, "false", "print the version and end"},
    {"kube-subnet-mgr", Kind::boolean, "false", "refused: knet keeps its data in etcd"},
    {"subnet-lease-renew-margin", Kind::integer, "60", "no meaning: leases are kept alive all the time"},
    {"ip-masq-fully-random-disable", Kind::boolean, "false", "no meaning"},
    {"iptables-resync", Kind::integer, "5", "no meaning: changes are seen at once"},
    {"kube-api-url", Kind::text, "", "no meaning"},
    {"kubeconfig-file", Kind::text, "", "no meaning"},
    {"kube-annotation-prefix", Kind::text, "flannel.alpha.coreos.com", "no meaning"},
    {"net-config-path", Kind::text, "/etc/kube-flannel/net-conf.json", "no meaning: the config is in etcd"},
    {"set-node-network-unavailable", Kind::boolean, "true", "no meaning"},
    {"vmodule", Kind::text, "", "no meaning"},
    {"log_backtrace_at", Kind::text, "", "no meaning"},
};

/// From this one on the table's flags mean nothing here.
constexpr std::string_view kFirstMeaningless = "subnet-lease-renew-margin";

std::string help() {
  std::string out =
      "flanneld - knet's node agent under flanneld's flags\n\nusage: flanneld [flags]      each flag also as FLANNELD_NAME_OF_FLAG\n\n";
  Table table({{""}, {""}, {"", Column::Kind::free}});
  for (const GoFlag& flag : kFlags) {
    const std::string fallback = flag.fallback.empty() || flag.fallback == "0" || flag.fallback == "false" ? "" : fmt::format(" (default {})", flag.fallback);
    table.add({"  --" + std::string(flag.name), flag.kind == Kind::boolean ? "" : flag.kind == Kind::integer ? "N" : "TEXT",
               std::string(flag.help) + fallback});
  }
  std::string rows = table.render(false);
  for (size_t at = rows.find(" -  "); at != std::string::npos; at = rows.find(" -  ", at)) rows[at + 1] = ' ';
  return out + rows + "\nexample:\n  flanneld --etcd-endpoints=http://192.168.77.1:2379 --iface=eth1 --ip-masq\n";
}

void warn_of_meaningless(const GoFlags& flags) {
  std::vector<std::string> names;
  bool meaningless = false;
  for (const GoFlag& flag : kFlags) {
    meaningless |= flag.name == kFirstMeaningless;
    if (meaningless && flags.given(flag.name)) names.push_back("--" + std::string(flag.name));
  }
  if (!names.empty()) log::warning("without meaning in knet, ignored: {}", join(names, ", "));
}

/// The password leaves argv, which every user of this machine can read.
void hide_password(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    char* word = argv[i];
    const std::string_view text = word;
    const size_t start = text.find_first_not_of('-');
    if (start == 0 || start == std::string_view::npos || !text.substr(start).starts_with("etcd-password")) continue;
    if (char* equals = std::strchr(word, '=')) {
      std::memset(equals + 1, '*', std::strlen(equals + 1));
    } else if (i + 1 < argc) {
      std::memset(argv[i + 1], '*', std::strlen(argv[i + 1]));
    }
  }
}

StoreOptions store_options(const GoFlags& flags) {
  StoreOptions store;
  store.url = flags.text("etcd-endpoints");
  store.prefix = flags.text("etcd-prefix");
  while (store.prefix.size() > 1 && store.prefix.ends_with('/')) store.prefix.pop_back();
  store.cert_file = flags.text("etcd-certfile");
  store.key_file = flags.text("etcd-keyfile");
  store.ca_file = flags.text("etcd-cafile");
  store.user = flags.text("etcd-username");
  if (store.cert_file.empty() != store.key_file.empty()) {
    fail(ErrorKind::usage, "--etcd-certfile and --etcd-keyfile go together");
  }
  if (!store.ca_file.empty() && store.url.starts_with("http://")) {
    log::warning("--etcd-cafile is of no use with {}; give https:// endpoints", store.url);
  }
  return store;
}

UplinkSelector uplink(const GoFlags& flags) {
  UplinkSelector selector;
  selector.ifaces = flags.list("iface");
  selector.iface_regexes = flags.list("iface-regex");
  if (const std::string reach = flags.text("iface-can-reach"); !reach.empty()) selector.can_reach = address_of("--iface-can-reach", reach);
  if (const std::string ip = flags.text("public-ip"); !ip.empty()) selector.public_ip = address_of("--public-ip", ip, Family::v4);
  if (const std::string ip = flags.text("public-ipv6"); !ip.empty()) selector.public_ip6 = address_of("--public-ipv6", ip, Family::v6);
  return selector;
}

std::string healthz(const GoFlags& flags) {
  const int64_t port = flags.integer("healthz-port");
  if (port == 0) return {};
  if (port < 1 || port > 65535) fail(ErrorKind::usage, "--healthz-port {} is no port", port);
  const IpAddr ip = address_of("--healthz-ip", flags.text("healthz-ip"));
  return ip.is_v6() ? fmt::format("[{}]:{}", ip.str(), port) : fmt::format("{}:{}", ip.str(), port);
}

std::string from_env(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

int flanneld(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const GoFlags flags(kFlags, words, "FLANNELD", [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  });
  if (flags.help()) {
    print(help());
    return kExitOk;
  }
  if (flags.flag("version")) {
    print(fmt::format("knet {}, as flanneld\n", kVersion));
    return kExitOk;
  }
  if (flags.flag("kube-subnet-mgr")) {
    fail(ErrorKind::unsupported, "--kube-subnet-mgr: knet keeps its data in etcd, not in the Kubernetes API; leave the flag out and give --etcd-endpoints");
  }
  if (const std::string level = from_env("KNET_LOG", ""); !level.empty() && !log::set_level(level)) {
    fail(ErrorKind::usage, "KNET_LOG={} is none of debug, info, warning, error", printable(level));
  }
  if (flags.integer("v") >= 4) log::set_level(log::Level::debug);
  warn_of_meaningless(flags);

  AgentOptions options;
  options.settings.store = store_options(flags);
  options.settings.uplink = uplink(flags);
  options.settings.name = from_env("KNET_NODE_NAME", "");
  options.settings.masquerade = flags.flag("ip-masq");
  options.settings.forward_accept = flags.flag("iptables-forward-rules");
  options.paths.state_dir = from_env("KNET_STATE_DIR", options.paths.state_dir);
  options.paths.run_dir = from_env("KNET_RUN_DIR", options.paths.run_dir);
  options.paths.subnet_file = flags.text("subnet-file");
  options.save_settings = true;
  options.adopt_flannel = true;
  options.healthz = healthz(flags);
  if (const std::string password = flags.text("etcd-password"); !password.empty()) {
    ::setenv("KNET_STORE_PASSWORD", password.c_str(), 1);
    hide_password(argc, argv);
  }
  return run_agent(options);
}

}  // namespace

const Command& flanneld_command() {
  static const Command command{"flanneld", "the agent under flanneld's flags, for scripts that call it", CommandGroup::plugin, nullptr, flanneld};
  return command;
}

}  // namespace knet
