// knet bgp config set.
#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "commands/bgp/bgp.h"
#include "commands/bgp/config.h"
#include "commands/bgp/reach.h"
#include "commands/common/changes.h"
#include "commands/common/secrets.h"

namespace knet {
namespace {

constexpr uint64_t kMostPaths = 128;
constexpr uint64_t kMostRestart = 4095;  // seconds; 12 bits (RFC 4724 section 3)

Prefix prefix_of(std::string_view flag, const std::string& text) {
  const std::optional<Prefix> prefix = Prefix::parse(text);
  if (!prefix) fail(ErrorKind::usage, "{} {} is no prefix; give one such as 10.96.0.0/12", flag, printable(text));
  if (!prefix->is_masked()) fail(ErrorKind::usage, "{} {} has host bits; the prefix is {}", flag, prefix->str(), prefix->masked().str());
  return *prefix;
}

void change_list(std::string_view name, std::vector<Prefix>& list, const std::vector<std::string>& add, const std::vector<std::string>& remove) {
  for (const std::string& text : remove) {
    if (text == "all") list.clear();
    else if (const Prefix prefix = prefix_of(fmt::format("--no-{}", name), text); std::erase(list, prefix) == 0)
      fail(ErrorKind::usage, "--no-{} {}: it is not among them{}", name, prefix.str(), list.empty() ? "" : ": " + join(bgp_prefix_texts(list), ", "));
  }
  for (const std::string& text : add) list.push_back(prefix_of(fmt::format("--{}", name), text));
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

/// `password`: as read from the file that was given.
void apply(const BgpConfigFlags& flags, const std::string& password, BgpConfig& config) {
  const auto number = [](const char* flag, const std::string& text, uint64_t least, uint64_t most, auto& into) {
    if (!text.empty()) into = static_cast<std::remove_reference_t<decltype(into)>>(number_of(flag, text, least, most));
  };
  if (!flags.mesh.empty()) config.mesh = flags.mesh == "on";
  if (!flags.asn.empty()) config.asn = asn_of("--as", flags.asn);
  number("--port", flags.port, 1, UINT16_MAX, config.port);
  number("--hold-time", flags.hold_time, 0, UINT16_MAX, config.hold_time);
  if (!flags.hold_time.empty() && (config.hold_time == 1 || config.hold_time == 2))
    fail(ErrorKind::usage, "--hold-time {}: 3 seconds are the least (RFC 4271), or 0 for no keepalives", config.hold_time);
  number("--restart-time", flags.restart_time, 0, kMostRestart, config.restart_time);
  if (flags.local_pref == "calico") config.local_pref = kCalicoLocalPref;
  else number("--local-pref", flags.local_pref, 0, UINT32_MAX, config.local_pref);
  number("--prefix-limit", flags.prefix_limit, 1, UINT32_MAX, config.prefix_limit);
  number("--max-paths", flags.max_paths, 1, kMostPaths, config.max_paths);
  change_list("advertise", config.advertise, flags.advertise, flags.no_advertise);
  change_list("import", config.import, flags.import, flags.no_import);
  if (flags.no_password) config.password.clear();
  if (!flags.password_file.empty()) config.password = password;
}

void compare(const BgpConfig& from, const BgpConfig& to, Changes& changes) {
  const auto number = [&](const char* what, uint64_t a, uint64_t b) { changes.put(what, fmt::format("{}", a), fmt::format("{}", b)); };
  changes.put("mesh", from.mesh ? "on" : "off", to.mesh ? "on" : "off");
  number("as", from.asn, to.asn);
  number("port", from.port, to.port);
  number("hold-time", from.hold_time, to.hold_time);
  number("restart-time", from.restart_time, to.restart_time);
  changes.put("local-pref", bgp_local_pref_text(from.local_pref), bgp_local_pref_text(to.local_pref));
  number("prefix-limit", from.prefix_limit, to.prefix_limit);
  number("max-paths", from.max_paths, to.max_paths);
  changes.put_secret("password", from.password, to.password);
  changes.put_list("advertise", bgp_prefix_texts(from.advertise), bgp_prefix_texts(to.advertise));
  changes.put_list("import", bgp_prefix_texts(from.import), bgp_prefix_texts(to.import));
}

/// What a change does to nodes that run.
void explain(OpenCluster& open, const BgpConfig& before, const BgpConfig& after, bool force, Changes& changes) {
  if (changes.has("as"))
    changes.notices.push_back("each session of a node without an AS of its own is reset; peers outside must be told the new AS first");
  for (const char* what : {"port", "hold-time", "restart-time", "password"})
    if (changes.has(what))
      changes.notices.push_back(fmt::format("{}: sessions between the cluster's nodes are reset, one by one, as each agent follows", what));
  const NodeSpecTable specs = open.cluster.list_node_specs();
  const std::vector<std::string> nodes = present_nodes(open.cluster.list_nodes(open.config.mode, false));
  const std::vector<BgpPeerSpec> outside = open.cluster.list_bgp_peers().rows;
  const auto reflectors = std::count_if(specs.rows.begin(), specs.rows.end(), [](const NodeSpec& spec) { return spec.reflector.has_value(); });
  refuse_cut_off(cut_off(before, nodes, specs.rows, outside), cut_off(after, nodes, specs.rows, outside), reflectors > 0, force, changes.notices);
  if (changes.has("mesh") && !after.mesh && reflectors == 0 && !force && outside.empty())
    fail(ErrorKind::conflict, "without the mesh and without any route reflector no node hears of another; make two nodes reflectors first: "
         "knet node set NODE --reflector 1.0.0.1, or give --force");
  if (changes.has("mesh") && !after.mesh && reflectors == 1)
    changes.notices.push_back("there is one reflector only: while it is away nothing new is learned; make a second one");
  if (open.config.mode != "bgp")
    changes.notices.push_back(fmt::format("the cluster's mode is {}: this counts once it is bgp (knet mode set bgp)", open.config.mode));
}

}  // namespace

int bgp_config_set(const BgpFlags& flags) {
  const BgpConfigFlags& given = flags.config;
  std::vector<std::string> notices;
  const std::string password = given.password_file.empty() ? "" : read_password_file("--password-file", given.password_file, notices);
  OpenCluster open(flags.store_options());
  Changes changes;
  const auto change = [&](BgpConfig& config) {
    const BgpConfig before = config;
    apply(given, password, config);
    changes = {};  // a lost race begins again
    changes.notices = notices;
    compare(before, config, changes);
    if (!changes.empty()) explain(open, before, config, given.force, changes);
  };
  if (given.dry_run) {
    BgpConfig config = open.cluster.load_bgp_config();
    change(config);
  } else {
    open.cluster.update_bgp_config(change);
  }
  return changes.report("BGP's settings", open.store->where() + " " + open.cluster.paths().bgp_config(), given.dry_run, flags.output.json());
}

}  // namespace knet
