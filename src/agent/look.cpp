#include "agent/look.h"

#include <algorithm>

#include "agent/endpoint_watch.h"
#include "agent/enrol.h"
#include "agent/once.h"
#include "agent/view_cache.h"
#include "agent/wireguard_key.h"
#include "base/error.h"
#include "core/compose.h"
#include "store/cluster_store.h"

namespace knet {
namespace {

bool is_own(const LeaseRow& row, const LocalNode& self) {
  if (!row.node.empty()) return row.node == self.name && row.in_use();
  return (self.public_ip && row.lease.public_ip == self.public_ip) ||
         (self.public_ip6 && row.lease.public_ip6 == self.public_ip6);
}

/// Where the choice of the uplink fails (its NIC is down: just when people look), this node is as its lease says.
LocalNode self_as_enrolled(const Identity& identity, const NodeSettings& settings, const NetworkConfig& config,
                           const Observed& host, LinuxPlane& plane, const Lease* own, Look& look) {
  try {
    return describe_self(identity, settings, config, host, ask_reach(plane, settings.uplink));
  } catch (const Error& error) {
    if (error.kind != ErrorKind::config || own == nullptr) throw;
    look.notes.push_back(error.text);
  }
  NodeSettings enrolled = settings;
  enrolled.uplink = {};
  for (const IpAddr& address : {own->public_ip, own->public_ip6})
    if (address) enrolled.uplink.ifaces.push_back(address.str());
  Observed with_links_up = host;
  for (Link& link : with_links_up.net.links) link.up = link.running = true;
  return describe_self(identity, enrolled, config, with_links_up, std::nullopt);
}

[[noreturn]] void fail_without_subnet(const std::string& name, const std::string& store) {
  fail(ErrorKind::config, "{} holds no subnet in {}; enrol it with: knet join", name, store);
}

ClusterView view_from_store(const NodePaths& paths, const NodeSettings& settings, const Identity& identity,
                            const Observed& host, LinuxPlane& plane, Look& look) {
  const std::unique_ptr<Store> store = open_store(settings.store);
  look.store = store->where();
  const StorePaths keys{settings.store.prefix};
  ClusterStore cluster(*store, keys);
  const std::optional<ConfigText> text = cluster.load_config();
  if (!text)
    fail(ErrorKind::config,
         "{} holds no network config at {}; write one with: knet init --store {} --network 10.244.0.0/16", look.store,
         keys.config(), settings.store.url);
  NetworkConfig config = parse_network_config(text->json, mode_registry());
  config.masquerade = config.masquerade && settings.masquerade;
  const LeaseTable leases = cluster.list_leases(config.mode, false);
  const auto named = std::find_if(leases.rows.begin(), leases.rows.end(), [&](const LeaseRow& row) {
    return row.node == identity.name && row.in_use();
  });
  LocalNode self = self_as_enrolled(identity, settings, config, host, plane,
                                    named != leases.rows.end() ? &named->lease : nullptr, look);
  know_wireguard_key(self, paths, config, MakeKey::no);
  const auto own =
      std::find_if(leases.rows.begin(), leases.rows.end(), [&](const LeaseRow& row) { return is_own(row, self); });
  if (own != leases.rows.end())
    self.lease = own->lease;
  else if (store->get(keys.speaker(identity.name)))
    self.runs_pods = false;
  else
    fail_without_subnet(identity.name, look.store);
  return *load_view(*store, keys, config, self, paths, &look.notes);
}

ClusterView view_from_disk(const NodePaths& paths, const NodeSettings& settings, const Identity& identity,
                           const Observed& host, LinuxPlane& plane, Look& look, const Error& why) {
  auto cache = load_view_cache(paths.view_cache());
  if (!cache || cache->node != identity.name) throw why;
  ClusterView view;
  view.config = parse_network_config(cache->config_json, mode_registry());
  view.config.masquerade = view.config.masquerade && settings.masquerade;
  view.self = self_as_enrolled(identity, settings, view.config, host, plane, &cache->own, look);
  know_wireguard_key(view.self, paths, view.config, MakeKey::no);
  view.self.lease = cache->own;
  view.leases = std::move(cache->peers);
  view.names = std::move(cache->names);
  view.bgp = cache->bgp;
  view.self.runs_pods = !cache->no_pods;
  view.rev = cache->rev;
  view.endpoints = read_endpoints(paths.endpoints());
  view.self.receive = received_modes(paths, identity.name, view.config);
  drop_conflicts(view);
  ask_kernel(view);
  return view;
}

}  // namespace

std::unique_ptr<Look> look_at_node(const NodePaths& paths, const NodeSettings& settings, LinuxPlane& plane) {
  auto look = std::make_unique<Look>();
  const Identity identity = identify(paths, settings, false);
  plane.expect(self_sysctls());
  const Observed host = plane.observe(self_kinds());
  try {
    look->view = view_from_store(paths, settings, identity, host, plane, *look);
  } catch (const Error& error) {
    if (error.kind != ErrorKind::store) throw;
    look->view = view_from_disk(paths, settings, identity, host, plane, *look, error);
    look->live = false;
    look->notes.push_back(
        fmt::format("the store is away ({}); shown is the view kept at revision {}", error.text, look->view.rev));
  }
  look->desired = compose(look->view, mode_registry());
  plane.expect(look->desired.net);
  look->observed = plane.observe(all_kinds());
  if (auto pods = present_pods(paths.endpoints(), look->observed); pods != look->view.endpoints) {
    look->view.endpoints = std::move(pods);
    look->desired = compose(look->view, mode_registry());
  }
  for (size_t kind = 0; kind < kKinds; ++kind)
    if (!look->observed.complete.test(kind)) look->unread.emplace_back(to_string(static_cast<Kind>(kind)));
  const Plan plan = diff(look->desired, look->observed, ownership_of(look->view));
  look->rows = route_rows(look->view, look->desired, look->observed, plan, {});
  look->notes.insert(look->notes.end(), look->desired.notices.begin(), look->desired.notices.end());
  look->notes.insert(look->notes.end(), look->desired.blockers.begin(), look->desired.blockers.end());
  return look;
}

}  // namespace knet
