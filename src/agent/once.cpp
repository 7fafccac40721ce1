#include "agent/once.h"

#include <algorithm>
#include <thread>

#include "agent/endpoint_watch.h"
#include "agent/installed.h"
#include "agent/subnet_env.h"
#include "agent/view_cache.h"
#include "agent/wireguard_key.h"
#include "base/error.h"
#include "base/log.h"
#include "core/compose.h"
#include "kernel/linux_plane.h"

namespace knet {
namespace {

constexpr int kMostTurns = 6;
constexpr std::chrono::milliseconds kBetweenTurns{50};

Membership load_membership(Store& store, const StorePaths& paths, const Lease& own,
                           std::vector<std::string>* problems) {
  Membership membership(paths, mode_registry());
  std::vector<StoreEvent> all;
  const Revision rev = store.for_each(paths.prefix + "/", [&](KeyValue&& item) {
    all.push_back({std::move(item.key), std::move(item.value), false, item.lease, item.mod_rev});
  });
  const Membership::Change change = membership.replace(std::move(all), rev, own);
  if (problems) *problems = change.problems;
  return membership;
}

NetworkConfig usable_config(const std::string& json, const NodeSettings& settings) {
  NetworkConfig config = parse_network_config(json, mode_registry());
  config.masquerade = config.masquerade && settings.masquerade;
  return config;
}

std::shared_ptr<ClusterView> cached_view(const NodePaths& paths, const NodeSettings& settings, const Identity& identity,
                                         const Observed& host, LinuxPlane& plane) {
  auto cache = load_view_cache(paths.view_cache());
  if (!cache || cache->node != identity.name) return nullptr;
  auto view = std::make_shared<ClusterView>();
  view->config = usable_config(cache->config_json, settings);
  view->self = describe_self(identity, settings, view->config, host, ask_reach(plane, settings.uplink));
  know_wireguard_key(view->self, paths, view->config, MakeKey::no);
  view->self.lease = cache->own;
  view->leases = cache->peers;
  view->names = cache->names;
  view->rev = cache->rev;
  view->endpoints = present_pods(paths.endpoints(), host);
  view->bgp = cache->bgp;
  view->self.runs_pods = !cache->no_pods;
  view->self.receive = received_modes(paths, identity.name, view->config);
  drop_conflicts(*view);
  ask_kernel(*view);
  return view;
}

}  // namespace

std::shared_ptr<ClusterView> load_view(Store& store, const StorePaths& paths, const NetworkConfig& config,
                                       const LocalNode& self, const NodePaths& node,
                                       std::vector<std::string>* problems) {
  const Membership membership = load_membership(store, paths, self.lease, problems);
  auto view = std::make_shared<ClusterView>();
  view->config = config;
  view->self = self;
  view->endpoints = read_endpoints(node.endpoints(), problems);
  std::vector<std::string> dropped;
  membership.fill(*view, &dropped);
  if (problems) problems->insert(problems->end(), dropped.begin(), dropped.end());
  view->self.receive = received_modes(node, self.name, config);
  ask_kernel(*view);
  return view;
}

OnceReport apply_once(const NodePaths& paths, const NodeSettings& settings, LinuxPlane& plane,
                      const Enrolment& enrolment, bool adopt_flannel) {
  std::unique_ptr<Store> store = open_store(settings.store);
  std::vector<std::string> problems;
  auto view = load_view(*store, StorePaths{settings.store.prefix}, enrolment.config, enrolment.self, paths, &problems);
  drop_linkless(view->endpoints, plane.observe(only(Kind::link)));
  for (const std::string& problem : problems) log::warning("{}", problem);

  Reconciler reconciler(plane, mode_registry(), {{}, [&](const NetState& desired) { plane.expect(desired); }});
  reconciler.adopt_flannel(adopt_flannel);
  reconciler.set_view(view, true);
  OnceReport report;
  report.view = view;
  for (int turns = 0; turns < kMostTurns; ++turns) {
    const auto turn = reconciler.run(Reconciler::Time::clock::now());
    report.applied += turn.applied;
    for (const std::string& line : turn.lines) log::debug("{}", line);
    if (turn.converged && !reconciler.dirty()) break;
    if (turn.failed > 0) {
      std::this_thread::sleep_for(kBetweenTurns);
      reconciler.mark(all_kinds(), Reconciler::Time::clock::now());
    }
  }
  report.desired = reconciler.desired();
  report.foreign = reconciler.foreign();
  for (const auto& [object, reason] : reconciler.holdback().failures(Reconciler::Time::clock::now()))
    report.failures.push_back(fmt::format("{}: {}", object, reason));
  report.failures.insert(report.failures.end(), reconciler.waiting().begin(), reconciler.waiting().end());
  report.failures.insert(report.failures.end(), report.desired->blockers.begin(), report.desired->blockers.end());
  if (!view->self.runs_pods)
    refuse_pods(paths, "it joined without pods, or: knet node set " + view->self.name + " --no-pods",
                Subnet::none);
  else if (write_subnet_env(paths, view->config, view->self.lease, pod_mtu(*view, mode_registry())) &&
      paths.subnet_env().parent_path() != paths.run_dir)
    InstalledFiles(paths.installed()).note(paths.subnet_env());
  return report;
}

bool announce_config_mode(const NodeSettings& settings, Enrolment& enrolment) {
  const NetworkConfig& config = enrolment.config;
  if (!enrolment.self.runs_pods || enrolment.self.lease.mode == config.mode) return false;
  std::unique_ptr<Store> store = open_store(settings.store);
  ClusterStore cluster(*store, StorePaths{settings.store.prefix});
  const LeaseData data = mode_registry().get(config.mode).announce(config, enrolment.self);
  Lease content = enrolment.self.lease;
  content.mode = data.mode;
  content.data = data.data;
  auto updated = cluster.update_lease(enrolment.self.lease, content);
  if (!updated)
    fail(ErrorKind::conflict, "the lease of {} was changed by somebody else meanwhile; run knet agent --once again",
         subnets_text(content));
  log::info("announced {} in the place of {}", content.mode, enrolment.self.lease.mode);
  enrolment.self.lease = std::move(*updated);
  return true;
}

std::vector<std::string> dry_run(const NodePaths& paths, const NodeSettings& settings, bool adopt_flannel) {
  const Identity identity = identify(paths, settings, false);
  LinuxPlane plane;
  plane.expect(self_sysctls());
  const Observed host = plane.observe(self_kinds());
  std::vector<std::string> lines;
  std::shared_ptr<ClusterView> view;
  bool complete = true;
  try {
    std::unique_ptr<Store> store = open_store(settings.store);
    const StorePaths keys{settings.store.prefix};
    const Membership membership = load_membership(*store, keys, {}, &lines);
    if (membership.config_json().empty())
      fail(ErrorKind::config,
           "{} holds no network config at {}; write one with: knet init --store {} --network 10.244.0.0/16",
           store->where(), keys.config(), store->where());
    view = std::make_shared<ClusterView>();
    view->config = usable_config(membership.config_json(), settings);
    LocalNode& self = view->self;
    self = describe_self(identity, settings, view->config, host, ask_reach(plane, settings.uplink));
    know_wireguard_key(self, paths, view->config, MakeKey::for_show);
    const auto& leases = membership.leases();
    auto own = std::find_if(leases.begin(), leases.end(), [&](const Lease& lease) {
      return (self.public_ip && lease.public_ip == self.public_ip) ||
             (self.public_ip6 && lease.public_ip6 == self.public_ip6);
    });
    const NodeSpec* spec = membership.bgp().spec(identity.name);
    if (own != leases.end()) {
      self.lease = *own;
    } else if (!settings.pods || (spec && !spec->pods)) {
      self.runs_pods = false;
      lines.push_back("take part without a subnet: this node runs no pods");
    } else {
      const auto choice = choose_subnet(view->config, membership.taken(identity.name), previous_subnet(paths), 0);
      if (!choice)
        fail(ErrorKind::conflict, "no subnet is free in {}",
             view->config.network ? view->config.network.str() : view->config.network6.str());
      const LeaseData data = mode_registry().get(view->config.mode).announce(view->config, self);
      self.lease.subnet = choice->subnet;
      self.lease.subnet6 = choice->subnet6;
      self.lease.public_ip = self.public_ip;
      self.lease.public_ip6 = self.public_ip6;
      self.lease.mode = data.mode;
      self.lease.data = data.data;
      lines.push_back(fmt::format("take a subnet, such as {}", subnets_text(self.lease)));
    }
    view->endpoints = read_endpoints(paths.endpoints(), &lines);
    drop_linkless(view->endpoints, host);
    membership.fill(*view, nullptr);
    self.receive = received_modes(paths, identity.name, view->config);
    ask_kernel(*view);
  } catch (const Error& error) {
    if (error.kind != ErrorKind::store) throw;
    view = cached_view(paths, settings, identity, host, plane);
    if (!view) throw;
    complete = false;
    lines.push_back(
        fmt::format("the store is away ({}); planned from the view kept at revision {}", error.text, view->rev));
  }
  Reconciler reconciler(plane, mode_registry(), {{}, [&](const NetState& desired) { plane.expect(desired); }});
  reconciler.adopt_flannel(adopt_flannel);
  reconciler.set_view(view, complete);
  for (std::string& line : reconciler.dry_run()) lines.push_back(std::move(line));
  for (const std::string& notice : reconciler.desired()->notices) lines.push_back(notice);
  for (const std::string& blocker : reconciler.desired()->blockers) lines.push_back("not ready: " + blocker);
  return lines;
}

}  // namespace knet
