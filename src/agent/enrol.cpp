#include "agent/enrol.h"

#include <algorithm>

#include "agent/endpoint_watch.h"
#include "agent/subnet_env.h"
#include "agent/wireguard_key.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "base/version.h"
#include "core/compose.h"
#include "core/host_routes.h"
#include "core/rollover.h"
#include "kernel/linux_plane.h"

namespace knet {
namespace {

constexpr std::string_view kRpFilterAll = "net/ipv4/conf/all/rp_filter";
constexpr const char* kFlannelSubnetEnv = "/run/flannel/subnet.env";

// Of the modes that may be in use.
bool asks_host_routes(const NetworkConfig& config) {
  const auto asks = [](std::string_view name) {
    const Mode* mode = mode_registry().find(name);
    return mode != nullptr && mode->asks_host_routes();
  };
  return asks(config.mode) || std::any_of(config.earlier.begin(), config.earlier.end(),
                                          [&](const auto& earlier) { return asks(earlier.first); });
}

// The mode that this node's lease names in the store; "" if it has none.
std::string leased_mode(ClusterStore& cluster, const NetworkConfig& config, const LocalNode& self) {
  for (const LeaseRow& row : cluster.list_leases(config.mode, false).rows) {
    const bool here = (self.public_ip && row.lease.public_ip == self.public_ip) ||
                      (self.public_ip6 && row.lease.public_ip6 == self.public_ip6);
    if (row.in_use() && (row.node.empty() ? here : row.node == self.name)) return row.lease.mode;
  }
  return {};
}

}  // namespace

Identity identify(const NodePaths& paths, const NodeSettings& settings, bool keep) {
  Identity identity{resolve_node_name(paths, settings.name), resolve_machine_id(paths, keep), machine_instance()};
  if (keep) write_file(paths.node_name(), identity.name + "\n");
  return identity;
}

Kinds self_kinds() {
  return only(Kind::link) | only(Kind::address) | only(Kind::route) | only(Kind::sysctl) | only(Kind::forward_accept);
}

NetState self_sysctls() {
  NetState state;
  Sysctl all;
  all.path = kRpFilterAll;
  state.sysctls.push_back(std::move(all));
  return state;
}

std::optional<ReachAnswer> ask_reach(LinuxPlane& plane, const UplinkSelector& selector) {
  if (!selector.can_reach) return std::nullopt;
  auto answer = plane.route_to(*selector.can_reach);
  if (!answer) return std::nullopt;
  return ReachAnswer{answer->dev, answer->src};
}

LocalNode describe_self(const Identity& identity, const NodeSettings& settings, const NetworkConfig& config,
                        const Observed& observed, const std::optional<ReachAnswer>& reach, UplinkChoice* choice) {
  UplinkChoice chosen = choose_uplink(observed.net, settings.uplink, config.enable_v4, config.enable_v6, reach);
  LocalNode self;
  self.name = identity.name;
  self.machine_id = identity.machine_id;
  self.instance = identity.instance;
  self.public_ip = chosen.public_ip;
  self.public_ip6 = chosen.public_ip6;
  self.uplink = chosen.uplink;
  self.uplink6 = chosen.uplink6;
  self.forward_accept = settings.forward_accept;
  self.may_lower_rp_filter = settings.lower_rp_filter;
  self.forward_drops = observed.forward_drops;
  self.runs_pods = settings.pods;
  const auto& sysctls = observed.net.sysctls;
  auto rp = std::find_if(sysctls.begin(), sysctls.end(), [](const Sysctl& s) { return s.path == kRpFilterAll; });
  if (rp != sysctls.end()) self.rp_filter_all = static_cast<int>(parse_int(trim(rp->value)).value_or(0));
  if (asks_host_routes(config)) self.host_routes = host_routes(observed, config.networks());
  if (choice) *choice = std::move(chosen);
  return self;
}

SubnetChoice previous_subnet(const NodePaths& paths) {
  for (const std::filesystem::path& path : {paths.subnet_env(), std::filesystem::path(kFlannelSubnetEnv)}) {
    auto text = read_file(path, 64u << 10);
    if (!text) continue;
    if (auto env = parse_subnet_env(*text)) return {env->subnet, env->subnet6};
  }
  return {};
}

bool asks_kernel(const ClusterView& view) {
  const auto modes = mode_registry().all();
  return std::any_of(modes.begin(), modes.end(),
                     [&](const Mode* mode) { return mode->asks_kernel() && takes_part(view, *mode); });
}

bool takes_shortcuts(const ClusterView& view) {
  const auto modes = mode_registry().all();
  return std::any_of(modes.begin(), modes.end(), [&](const Mode* mode) {
    return takes_part(view, *mode) && mode->takes_shortcuts(view.config.as_mode(mode->name()));
  });
}

void ask_kernel(ClusterView& view) {
  view.self.kernel.known = false;
  const bool shortcuts = takes_shortcuts(view);
  if (shortcuts || asks_kernel(view)) view.self.kernel = probe_kernel(shortcuts ? Probe::whole : Probe::quick);
}

NodeRecord node_record(const LocalNode& self, const NodeSpec* spec) {
  NodeRecord record;
  record.name = self.name;
  record.machine_id = self.machine_id;
  record.instance = self.instance;
  if (self.lease.subnet) record.subnets.push_back(self.lease.subnet);
  if (self.lease.subnet6) record.subnets.push_back(self.lease.subnet6);
  record.public_ip = self.public_ip;
  record.public_ip6 = self.public_ip6;
  record.version = std::string(kVersion);
  if (!spec) return record;
  record.asn = spec->asn;
  if (spec->reflector) record.reflector = format_cluster_id(*spec->reflector);
  record.labels = spec->labels;
  return record;
}

Enrolment enrol(const NodePaths& paths, const NodeSettings& settings, LinuxPlane& plane, const EnrolOptions& options) {
  const Identity identity = identify(paths, settings, options.keep);
  std::unique_ptr<Store> store = open_store(settings.store);
  ClusterStore cluster(*store, StorePaths{settings.store.prefix});
  Enrolment enrolment;
  enrolment.store = store->where();
  enrolment.embedded = store->embedded();

  const auto text = cluster.load_config();
  if (!text)
    fail(ErrorKind::config,
         "{} holds no network config at {}; write one with: knet init --store {} --network 10.244.0.0/16",
         enrolment.store, cluster.paths().config(), enrolment.store);
  const ModeRegistry& modes = mode_registry();
  try {
    enrolment.config = parse_network_config(text->json, modes, &enrolment.notices);
  } catch (const Error& error) {
    throw with_context(error, fmt::format("{} {}", enrolment.store, cluster.paths().config()));
  }
  const Mode& mode = modes.get(enrolment.config.mode);

  plane.expect(self_sysctls());
  const Observed observed = plane.observe(self_kinds());
  enrolment.self = describe_self(identity, settings, enrolment.config, observed, ask_reach(plane, settings.uplink),
                                 &enrolment.choice);
  know_wireguard_key(enrolment.self, paths, enrolment.config, options.keep ? MakeKey::yes : MakeKey::no);
  enrolment.self.kernel = probe_kernel(Probe::quick);
  if (auto why = mode.unsupported(enrolment.self.kernel, enrolment.config))
    fail(ErrorKind::unsupported, "mode {} can't run here: {}", mode.name(), *why);

  // In the middle of a change of mode a lease of ours names another one: that is received until we announce the next.
  const std::string now =
      enrolment.config.earlier.empty() ? "" : leased_mode(cluster, enrolment.config, enrolment.self);
  const std::string& name = Rollover::to_announce(enrolment.config, now, false);
  const LeaseData announced = modes.get(name).announce(enrolment.config.as_mode(name), enrolment.self);
  AcquireRequest request;
  request.node = node_record(enrolment.self);
  request.config = enrolment.config;
  request.config.masquerade = enrolment.config.masquerade && settings.masquerade;
  request.mode = announced.mode;
  request.data = announced.data;
  request.previous = previous_subnet(paths);
  enrolment.config = request.config;
  const std::vector<NodeSpec> specs = cluster.list_node_specs().rows;
  const auto spec = std::find_if(specs.begin(), specs.end(), [&](const NodeSpec& s) { return s.node == identity.name; });
  const bool pods = settings.pods && (spec == specs.end() || spec->pods);
  // Pods that run keep their subnet until they are gone: the agent sees to that.
  if (pods || !present_pods(paths.endpoints(), observed).empty()) {
    Acquired acquired = cluster.acquire(request);
    enrolment.self.lease = std::move(acquired.lease);
    enrolment.presence = std::move(acquired.presence);
    enrolment.how = acquired.how;
    enrolment.notices.insert(enrolment.notices.end(), acquired.notices.begin(), acquired.notices.end());
    cluster.end_speaking(identity.name, identity.machine_id);
  } else {
    enrolment.presence = cluster.speak(request.node).presence;
  }
  enrolment.self.runs_pods = enrolment.self.lease.subnet || enrolment.self.lease.subnet6;
  if (options.keep) save_node_settings(paths, settings);
  return enrolment;
}

}  // namespace knet
