#include "core/node_part.h"

#include <fmt/core.h>

#include <algorithm>

namespace knet {

namespace {

struct OwnSubnet {
  Prefix subnet;
  Prefix network;
};

// Families that are on and for which this node holds a subnet of the network.
std::vector<OwnSubnet> own_subnets(const ClusterView& view) {
  std::vector<OwnSubnet> all;
  const Lease& lease = view.self.lease;
  if (view.config.enable_v4 && lease.subnet) all.push_back({lease.subnet, view.config.network});
  if (view.config.enable_v6 && lease.subnet6) all.push_back({lease.subnet6, view.config.network6});
  return all;
}

void add_sysctls(const ClusterView& view, const Origin& origin, DesiredState& out) {
  Sysctl sysctl;
  sysctl.origin = origin;
  sysctl.value = "1";
  if (view.config.enable_v4) {
    sysctl.path = "net/ipv4/ip_forward";
    out.net.sysctls.push_back(sysctl);
  }
  if (!view.config.enable_v6) return;
  sysctl.path = "net/ipv6/conf/all/forwarding";
  out.net.sysctls.push_back(sysctl);
  if (!view.self.uplink6.dev) return;
  // A forwarding host drops its router advertisements, and with them its default route, unless this is 2
  // (Documentation/networking/ip-sysctl.rst, accept_ra).
  sysctl.path = "net/ipv6/conf/" + view.self.uplink6.dev.str() + "/accept_ra";
  sysctl.value = "2";
  sysctl.also = "0";
  sysctl.dev = view.self.uplink6.dev;
  sysctl.optional = true;
  out.net.sysctls.push_back(sysctl);
}

void add_forward_accepts(const ClusterView& view, const Origin& origin, DesiredState& out) {
  for (const ForeignChain& chain : view.self.forward_drops) {
    if (!view.self.forward_accept) {
      out.notices.push_back(
          fmt::format("chain {} of table {} drops what is forwarded, pods' packets too; it is left "
                      "as it is (--no-forward-accept)",
                      chain.chain, chain.table));
      continue;
    }
    for (const Prefix& network : view.config.networks()) {
      if (chain.family != Family::none && chain.family != network.family()) continue;
      for (const bool source : {true, false}) {
        ForwardAccept rule;
        rule.chain = chain;
        rule.network = network;
        rule.source = source;
        rule.origin = origin;
        out.net.forward_accepts.push_back(rule);
      }
    }
  }
}

}  // namespace

namespace {

constexpr int32_t kBeforeFilter = -10;  // of the usual filter priority 0

NftChain masquerade_chain(const ClusterView& view) {
  NftChain chain;
  chain.name = "postrouting";
  chain.nat = true;
  chain.hook = NftHook::postrouting;
  chain.priority = 100;
  chain.rules.push_back({"kube", {NftMarkIs{kKubeMasqueradeMark, kKubeMasqueradeMark}, NftReturn{}}});
  for (const OwnSubnet& own : own_subnets(view)) {
    const bool v4 = own.subnet.is_v4();
    chain.rules.push_back({v4 ? "masquerade4" : "masquerade6",
                           {NftAddressIn{true, false, {own.subnet}}, NftAddressIn{false, true, {own.network}},
                            NftMulticastDestination{true, own.subnet.family()}, NftMasquerade{true}}});
  }
  return chain;
}

std::string_view hook_name(NftHook hook) {
  static constexpr std::string_view names[] = {"prerouting", "input", "forward", "output", "postrouting"};
  return names[static_cast<size_t>(hook)];
}

}  // namespace

void add_node_table(const ClusterView& view, const Origin& origin, DesiredState& out) {
  NftTable table;
  table.name = "knet";
  table.origin = origin;
  if (view.config.masquerade && !own_subnets(view).empty()) table.rules.chains.push_back(masquerade_chain(view));
  for (auto& [hook, rule] : out.mode_rules) {
    const auto same = [&, &at = hook](const NftChain& chain) { return !chain.nat && chain.hook == at; };
    auto chain = std::find_if(table.rules.chains.begin(), table.rules.chains.end(), same);
    if (chain == table.rules.chains.end()) {
      chain = table.rules.chains.insert(chain, NftChain{std::string(hook_name(hook)), false, hook, kBeforeFilter, {}});
    }
    chain->rules.push_back(std::move(rule));
  }
  out.mode_rules.clear();
  if (table.rules.chains.empty()) return;
  table.digest = digest(table.rules);
  out.net.nft_tables.push_back(std::move(table));
}

void add_node_part(const ClusterView& view, const Origin& origin, DesiredState& out) {
  add_sysctls(view, origin, out);
  add_forward_accepts(view, origin, out);
  const auto subnets = own_subnets(view);
  for (const OwnSubnet& own : subnets) {
    if (!own.network.contains(own.subnet)) {
      out.blockers.push_back(fmt::format("this node's subnet {} is outside of the network {}: it needs another one",
                                         own.subnet.str(), own.network.str()));
      continue;
    }
    Route blackhole;
    blackhole.dst = own.subnet;
    blackhole.type = RouteType::blackhole;
    blackhole.metric = kBlackholeMetric;
    blackhole.origin = origin;
    out.net.routes.push_back(blackhole);
  }
}

void add_pod_mtus(const ClusterView& view, const ModeMtu& mtu, const Origin& origin, DesiredState& out) {
  // A link has the larger family's, as CNI makes it; what the other may send less stands on the pod's default route.
  const uint32_t most = std::max(mtu.v4, mtu.v6);
  if (most == 0) return;
  for (const Endpoint& endpoint : view.endpoints) {
    if (endpoint.netns.empty()) continue;
    PodMtu pod;
    pod.dev = endpoint.host_dev;
    pod.netns = endpoint.netns;
    pod.ifname = endpoint.ifname;
    pod.mtu = most;
    pod.origin = origin;
    out.net.pod_mtus.push_back(std::move(pod));
  }
}

void add_pod_routes(const ClusterView& view, const Origin& origin, DesiredState& out) {
  const auto networks = view.config.networks();
  for (const Endpoint& endpoint : view.endpoints) {
    for (const IpAddr& address : endpoint.addresses) {
      const auto holds = [&](const Prefix& network) { return network.contains(address); };
      if (std::none_of(networks.begin(), networks.end(), holds)) {
        out.notices.push_back(
            fmt::format("pod {} has the address {}, which is outside of the cluster's networks; no route",
                        endpoint.pod.empty() ? endpoint.container : endpoint.pod, address.str()));
        continue;
      }
      Route route;
      route.dst = Prefix::host(address);
      route.dev = endpoint.host_dev;
      route.origin = origin;
      out.net.routes.push_back(route);
    }
  }
}

}  // namespace knet
