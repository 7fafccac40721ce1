#include "commands/common/flags.h"

#include <algorithm>

#include "base/text.h"
#include "commands/common/cli.h"

namespace knet {
namespace {

constexpr const char* kStoreGroup = "Store";
constexpr const char* kNodeGroup = "This node";
constexpr const char* kCommonGroup = "Common";

bool any_given(const std::vector<const CLI::Option*>& options) {
  return std::any_of(options.begin(), options.end(), [](const CLI::Option* option) { return option->count() > 0; });
}

}  // namespace

const std::vector<std::string>& shared_flags() {
  static const std::vector<std::string> names = {"store", "prefix",        "cert",    "key",       "cacert",  "user",
                                                 "output", "password-file", "timeout", "state-dir", "run-dir", "log"};
  return names;
}

bool is_shared_flag(std::string_view name) {
  const auto& names = shared_flags();
  return std::find(names.begin(), names.end(), name) != names.end();
}

void PathFlags::declare(CLI::App& app) {
  const NodePaths defaults;
  app.add_option("--state-dir", state_dir_, "what this node keeps over reboots (default " + defaults.state_dir.string() + ")")
      ->type_name("DIR")->envname("KNET_STATE_DIR")->group(kCommonGroup);
  app.add_option("--run-dir", run_dir_, "sockets, subnet.env and pods' records (default " + defaults.run_dir.string() + ")")
      ->type_name("DIR")->envname("KNET_RUN_DIR")->group(kCommonGroup);
}

NodePaths PathFlags::paths() const {
  NodePaths paths;
  if (!state_dir_.empty()) paths.state_dir = state_dir_;
  if (!run_dir_.empty()) paths.run_dir = run_dir_;
  return paths;
}

void StoreFlags::declare(CLI::App& app) {
  auto add = [&](const char* flag, std::string& into, const char* type, const char* help) {
    CLI::Option* option = app.add_option(flag, into, help)->type_name(type)->group(kStoreGroup);
    options_.push_back(option);
    return option;
  };
  add("--store", url_, "URL", "etcd as http://A:2379,http://B:2379 (or https), or sqlite:///FILE; default: as joined, else "
      "the embedded sqlite:///var/lib/knet/knet.db")->envname("KNET_STORE");
  add("--prefix", prefix_, "KEY", "where in the store (default /coreos.com/network)")->envname("KNET_PREFIX");
  add("--cert", cert_, "FILE", "client certificate for an https store");
  add("--key", key_, "FILE", "its private key");
  add("--cacert", cacert_, "FILE", "who vouches for the store's certificate");
  add("--user", user_, "NAME", "etcd user");
  add("--password-file", password_file_, "FILE", "file with the user's password (or KNET_STORE_PASSWORD)");
  add("--timeout", timeout_, "TIME", "how long to wait for the store (default 5s)");
}

bool StoreFlags::given() const { return any_given(options_); }

StoreOptions StoreFlags::over(const StoreOptions& base) const {
  StoreOptions out = base;
  auto put = [](const std::string& given, std::string& into) {
    if (!given.empty()) into = given;
  };
  put(url_, out.url);
  put(prefix_, out.prefix);
  put(cert_, out.cert_file);
  put(key_, out.key_file);
  put(cacert_, out.ca_file);
  put(user_, out.user);
  put(password_file_, out.password_file);
  if (!timeout_.empty()) out.timeout = duration_of("--timeout", timeout_);
  while (out.prefix.size() > 1 && out.prefix.ends_with('/')) out.prefix.pop_back();
  if (!out.prefix.starts_with('/')) fail(ErrorKind::usage, "--prefix {} does not begin with '/'", printable(out.prefix));
  return out;
}

StoreOptions StoreFlags::options(const NodePaths& paths) const {
  if (!url_.empty()) return over({});  // another store than the joined one: its certificates and prefix don't apply
  const std::optional<NodeSettings> joined = load_node_settings(paths);
  return over(joined ? joined->store : StoreOptions{});
}

void NodeFlags::declare(CLI::App& app) {
  auto choosing = [&](CLI::Option* option, const char* type, const char* env) {
    option->type_name(type)->envname(env)->group(kNodeGroup);
    choosing_.push_back(option);
  };
  auto other = [&](CLI::Option* option, const char* env) {
    option->envname(env)->group(kNodeGroup);
    others_.push_back(option);
    return option;
  };
  CLI::Option* ifaces = app.add_option("--iface", ifaces_, "the NIC, or an address on it, that other nodes reach; "
                                       "repeatable, first that matches; auto: by the default route");
  ifaces->take_all()->allow_extra_args(false)->delimiter(',');
  choosing(ifaces, "NAME", "KNET_NODE_IFACE");
  CLI::Option* regexes = app.add_option("--iface-regex", iface_regexes_,
                                        "the same by a pattern, on addresses first, then on names; repeatable");
  regexes->take_all()->allow_extra_args(false);
  choosing(regexes, "REGEX", "KNET_NODE_IFACE_REGEX");
  choosing(app.add_option("--iface-can-reach", can_reach_, "the NIC and address by which this address is reached"), "IP",
           "KNET_NODE_IFACE_CAN_REACH");
  choosing(app.add_option("--public-ip", public_ip_, "the IPv4 address told to other nodes (behind NAT)"), "IP",
           "KNET_NODE_PUBLIC_IP");
  choosing(app.add_option("--public-ip6", public_ip6_, "the IPv6 address told to other nodes"), "IP", "KNET_NODE_PUBLIC_IP6");
  other(app.add_option("--node-name", name_, "this node's name (default: the one kept, else the host's)"), "KNET_NODE_NAME")
      ->type_name("NAME");
  masquerade_option_ = other(app.add_flag("--no-masquerade", no_masquerade_, "pods' traffic leaves the cluster with pods' addresses"),
                             "KNET_NODE_NO_MASQUERADE");
  forward_option_ = other(app.add_flag("--no-forward-accept", no_forward_accept_, "leave foreign FORWARD chains that drop alone"),
                          "KNET_NODE_NO_FORWARD_ACCEPT");
  rp_filter_option_ = other(app.add_flag("--keep-rp-filter", keep_rp_filter_, "refuse rather than lower all.rp_filter from 1 to 2"),
                            "KNET_NODE_KEEP_RP_FILTER");
  pods_option_ = other(app.add_flag("--no-pods", no_pods_, "no subnet and no pods here: it takes part as a route reflector does"),
                       "KNET_NODE_NO_PODS");
}

bool NodeFlags::given() const { return any_given(choosing_) || any_given(others_); }

NodeSettings NodeFlags::over(NodeSettings base) const {
  if (any_given(choosing_)) {
    UplinkSelector& chosen = base.uplink;
    chosen = {};
    if (ifaces_ != std::vector<std::string>{"auto"}) chosen.ifaces = ifaces_;
    chosen.iface_regexes = iface_regexes_;
    if (!can_reach_.empty()) chosen.can_reach = address_of("--iface-can-reach", can_reach_);
    if (!public_ip_.empty()) chosen.public_ip = address_of("--public-ip", public_ip_, Family::v4);
    if (!public_ip6_.empty()) chosen.public_ip6 = address_of("--public-ip6", public_ip6_, Family::v6);
  }
  if (!name_.empty()) base.name = name_;
  if (masquerade_option_->count() > 0) base.masquerade = !no_masquerade_;
  if (forward_option_->count() > 0) base.forward_accept = !no_forward_accept_;
  if (rp_filter_option_->count() > 0) base.lower_rp_filter = !keep_rp_filter_;
  if (pods_option_->count() > 0) base.pods = !no_pods_;
  return base;
}

void OutputFlag::declare(CLI::App& app, bool with_ip) {
  std::vector<std::string> words = {"table", "wide", "json"};
  if (with_ip) words.push_back("ip");
  CLI::Option* option = app.add_option("-o,--output", word_, join(words, ", ") + " (default table)");
  one_of(option->type_name("FORMAT")->group(kCommonGroup), words);
}

Output OutputFlag::format() const {
  if (word_ == "json") return Output::json;
  if (word_ == "wide") return Output::wide;
  return word_ == "ip" ? Output::ip : Output::table;
}

void declare_log(CLI::App& app, log::Level otherwise) {
  log::set_level(otherwise);
  CLI::Option* option = app.add_option_function<std::string>(
      "--log", [](const std::string& level) { log::set_level(level); }, "debug, info, warning or error");
  one_of(option->type_name("LEVEL")->envname("KNET_LOG")->group(kCommonGroup), {"debug", "info", "warning", "error"});
}

bool given(const CLI::Option* option) { return option->count() > 0; }

void CommonFlags::declare_common(CLI::App& app, bool with_ip) {
  store.declare(app);
  paths.declare(app);
  output.declare(app, with_ip);
  declare_log(app);
}

std::chrono::milliseconds duration_of(std::string_view flag, std::string_view text) {
  const std::optional<std::chrono::milliseconds> time = parse_duration(text);
  if (!time || time->count() == 0) fail(ErrorKind::usage, "{} {} is no time; give one such as 500ms, 5s or 2m", flag, printable(text));
  return *time;
}

uint64_t number_of(std::string_view flag, std::string_view text, uint64_t least, uint64_t most) {
  const std::optional<int64_t> number = parse_int(text);
  if (!number || *number < 0 || static_cast<uint64_t>(*number) < least || static_cast<uint64_t>(*number) > most)
    fail(ErrorKind::usage, "{} {} is no number from {} to {}", flag, printable(text), least, most);
  return static_cast<uint64_t>(*number);
}

uint32_t asn_of(std::string_view flag, std::string_view text) {
  constexpr uint32_t kTransition = 23456, kLast16 = 65535, kLast32 = UINT32_MAX;
  const size_t dot = text.find('.');
  const std::optional<int64_t> high = dot == std::string_view::npos ? 0 : parse_int(text.substr(0, dot));
  const std::optional<int64_t> low = parse_int(dot == std::string_view::npos ? text : text.substr(dot + 1));
  const int64_t most = dot == std::string_view::npos ? kLast32 : kLast16;
  if (!high || !low || *high < 0 || *high > kLast16 || *low < 0 || *low > most)
    fail(ErrorKind::usage, "{} {} is no AS number; give one such as 64512, or 1.10", flag, printable(text));
  const uint32_t asn = static_cast<uint32_t>(*high << 16 | *low);
  if (asn == 0 || asn == kTransition || asn == kLast16 || asn == kLast32)
    fail(ErrorKind::usage, "{} {}: no speaker may have this AS number; private ones are 64512 to 65534", flag, printable(text));
  return asn;
}

IpAddr address_of(std::string_view flag, std::string_view text, Family family) {
  const std::optional<IpAddr> address = IpAddr::parse(text);
  const char* kind = family == Family::v4 ? "IPv4 address" : family == Family::v6 ? "IPv6 address" : "IP address";
  if (!address || (family != Family::none && address->family() != family)) {
    fail(ErrorKind::usage, "{} {} is no {}", flag, printable(text), kind);
  }
  return *address;
}

}  // namespace knet
