#include "core/compose.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "core/node_part.h"
#include "core/rollover.h"

namespace knet {

namespace {

constexpr uint16_t kNode = 0;
constexpr uint16_t kPod = 1;
constexpr uint16_t kFirstMode = 2;

// Who wins where two producers want one key; an empty loser is any mode. Everything else is a bug.
struct Precedence {
  Kind kind;
  std::string_view winner;
  std::string_view loser;
};
constexpr Precedence kPrecedence[] = {
    {Kind::route, "pod", ""},  // a pod of this node is nearer than what any peer announces
    {Kind::sysctl, "node", ""},
};

bool wins(Kind kind, const DesiredState& state, const Origin& a, const Origin& b) {
  return std::any_of(std::begin(kPrecedence), std::end(kPrecedence), [&](const Precedence& rule) {
    return rule.kind == kind && state.producers[a.producer] == rule.winner &&
           (rule.loser.empty() ? b.producer >= kFirstMode : state.producers[b.producer] == rule.loser);
  });
}

// Settles adjacent objects of one key, so that each key stands once.
template <typename T>
void settle(std::vector<T>& objects, const ClusterView& view, DesiredState& state) {
  const auto same_key = [](const T& a, const T& b) { return a.key() == b.key(); };
  if (std::adjacent_find(objects.begin(), objects.end(), same_key) == objects.end()) return;
  const auto age = [&](const T& object) {
    return object.origin.peer < view.leases.size() ? view.leases[object.origin.peer].rev : 0;
  };
  const auto who = [&](const T& object) {
    const std::string& producer = state.producers[object.origin.producer];
    return object.origin.peer < state.peers.size() ? producer + " for " + state.peers[object.origin.peer] : producer;
  };
  std::vector<T> kept;
  kept.reserve(objects.size());
  for (T& object : objects) {
    if (kept.empty() || !same_key(kept.back(), object)) {
      kept.push_back(std::move(object));
      continue;
    }
    T& first = kept.back();
    const std::string text = describe(first);
    if (text == describe(object)) continue;
    if (wins(T::kKind, state, first.origin, object.origin)) continue;
    if (wins(T::kKind, state, object.origin, first.origin)) {
      first = std::move(object);
    } else if (first.origin.producer == object.origin.producer) {
      // Two peers, or two pods, that claim the same: theirs is the fault, and the older claim stands.
      const bool newer = age(object) < age(first);
      state.notices.push_back(fmt::format("{} is also claimed by {}, with {}; the older claim stands", text,
                                          who(object), describe(object)));
      if (newer) first = std::move(object);
    } else {
      fail(ErrorKind::bug, "both {} and {} want {} (the other as {})", who(first), who(object), text, describe(object));
    }
  }
  objects = std::move(kept);
}

// The modes that this node sends by on its own account or receives.
bool receives(const ClusterView& view, std::string_view mode) {
  const LocalNode& self = view.self;
  return view.config.mode == mode || (!self.lease.mode.empty() && self.lease.mode == mode) ||
         std::find(self.receive.begin(), self.receive.end(), mode) != self.receive.end();
}

// Why a peer's subnets can't be routed here, whatever its mode.
std::string unroutable(const ClusterView& view, const Lease& lease) {
  for (const Prefix& subnet : {lease.subnet, lease.subnet6}) {
    if (!subnet) continue;
    const Prefix& network = subnet.is_v4() ? view.config.network : view.config.network6;
    const bool enabled = subnet.is_v4() ? view.config.enable_v4 : view.config.enable_v6;
    if (!subnet.is_masked()) return fmt::format("its subnet {} has bits set after its length", subnet.str());
    if (enabled && !network.contains(subnet))
      return fmt::format("its subnet {} is outside of the network {}", subnet.str(), network.str());
  }
  return {};
}

std::string name_of(const ClusterView& view, uint32_t peer) {
  return peer < view.names.size() ? view.names[peer] : view.leases[peer].public_ip.str();
}

// By itself, not as a carrier.
bool takes_part(const ClusterView& view, std::string_view mode) {
  return receives(view, mode) || std::any_of(view.leases.begin(), view.leases.end(),
                                             [&](const Lease& lease) { return lease.mode == mode; });
}

// The peers of each mode, in the registry's order; those that no mode can serve are noticed.
std::vector<std::vector<uint32_t>> sort_peers(const ClusterView& view, const ModeRegistry& modes, DesiredState& out) {
  std::vector<std::vector<uint32_t>> peers(modes.all().size());
  for (uint32_t i = 0; i < view.leases.size(); ++i) {
    const Lease& lease = view.leases[i];
    const auto left_out = [&](std::string_view why) {
      out.notices.push_back(fmt::format("{} {} is left out: {}", name_of(view, i), subnets_text(lease), why));
    };
    const Mode* mode = modes.find(lease.mode);
    if (mode == nullptr) {
      left_out(fmt::format("it announces the mode '{}', which this version of knet has not", lease.mode));
      continue;
    }
    if (const std::string why = unroutable(view, lease); !why.empty()) {
      left_out(why);
      continue;
    }
    try {
      mode->check_peer(lease);
    } catch (const Error& error) {
      left_out(error.text);
      continue;
    }
    const auto at = std::find(modes.all().begin(), modes.all().end(), mode) - modes.all().begin();
    peers[static_cast<size_t>(at)].push_back(i);
  }
  return peers;
}

// What every tunnel device needs, whichever mode made it (design: max(all, device) counts for rp_filter).
void add_link_sysctls(DesiredState& state) {
  for (const Link& link : state.net.links) {
    const std::string dev = link.name.str();
    const auto add = [&](std::string path, std::string_view value) {
      Sysctl sysctl;
      sysctl.path = std::move(path);
      sysctl.value = value;
      sysctl.dev = link.name;
      sysctl.optional = true;
      sysctl.origin = link.origin;
      state.net.sysctls.push_back(std::move(sysctl));
    };
    add("net/ipv4/conf/" + dev + "/rp_filter", "2");
    add("net/ipv6/conf/" + dev + "/accept_ra", "0");
    const bool holds_v6 =
        std::any_of(state.net.addresses.begin(), state.net.addresses.end(),
                    [&](const Address& address) { return address.dev == link.name && address.prefix.is_v6(); });
    if (holds_v6) add("net/ipv6/conf/" + dev + "/disable_ipv6", "0");
    if (link.type == LinkType::tun) {
      // It has no carrier while no agent holds it, and the kernel's path goes on. For IPv4 it is max(all, device).
      add("net/ipv4/conf/" + dev + "/ignore_routes_with_linkdown", "0");
      add("net/ipv6/conf/" + dev + "/ignore_routes_with_linkdown", "0");
    }
  }
}

}  // namespace

DesiredState compose(const ClusterView& view, const ModeRegistry& modes) {
  DesiredState state;
  state.producers = {"node", "pod"};
  for (const Mode* mode : modes.all()) state.producers.emplace_back(mode->name());
  state.peers = view.names;
  if (!view.self.runs_pods) return state;  // it may speak of routes, and has none itself

  add_node_part(view, {kNode, Origin::kNoPeer}, state);
  add_pod_routes(view, {kPod, Origin::kNoPeer}, state);
  const auto peers = sort_peers(view, modes, state);
  const std::string carrier = carrier_of(view);
  for (size_t i = 0; i < modes.all().size(); ++i) {
    const Mode& mode = *modes.all()[i];
    const bool carries = mode.name() == carrier;
    const Receive receive{receives(view, mode.name()) || carries};
    if (receive == Receive::no && peers[i].empty()) continue;
    ModeState out(state, static_cast<uint16_t>(kFirstMode + i));
    const NetworkConfig config = config_of(view, mode);
    mode.desired(view, config, peers[i], receive, out);
    if (!carries) continue;
    // The mode is also in use by itself, with another device.
    const NetworkConfig as_carrier = carrier_config(view.config.as_mode(kLearningMode), mode);
    if (mode.wire(as_carrier) != mode.wire(config)) mode.desired(view, as_carrier, {}, receive, out);
  }
  add_link_sysctls(state);
  add_node_table(view, {kNode, Origin::kNoPeer}, state);
  add_pod_mtus(view, pod_mtu(view, modes), {kPod, Origin::kNoPeer}, state);

  sort_by_key(state.net);
  for_each_kind(state.net, [&](auto& objects) { settle(objects, view, state); });
  std::sort(state.pumps.begin(), state.pumps.end(),
            [](const TunnelPump& a, const TunnelPump& b) { return a.dev < b.dev; });
  return state;
}

bool takes_part(const ClusterView& view, const Mode& mode) {
  return takes_part(view, mode.name()) || carrier_of(view) == mode.name();
}

std::string carrier_of(const ClusterView& view) {
  if (!takes_part(view, kLearningMode)) return {};
  const std::string encap = view.config.as_mode(kLearningMode).option_text("Encap", "none");
  return encap == "none" ? std::string() : encap;
}

NetworkConfig carrier_config(const NetworkConfig& bgp, const Mode& carrier) {
  NetworkConfig config = bgp;
  config.mode = carrier.name();
  std::erase_if(config.options, [&](const auto& option) {
    return std::none_of(carrier.options().begin(), carrier.options().end(),
                        [&](const OptionSpec& spec) { return spec.name == option.first; });
  });
  return config;
}

NetworkConfig config_of(const ClusterView& view, const Mode& mode) {
  if (!takes_part(view, mode.name()) && carrier_of(view) == mode.name())
    return carrier_config(view.config.as_mode(kLearningMode), mode);
  return view.config.as_mode(mode.name());
}

namespace {

// What BGP may bring besides the cluster's own: said for all of it, or for single peers. A rule for any prefix claims
// nothing by itself.
void add_learnable(const ClusterView& view, std::vector<Prefix>& networks) {
  const auto add = [&](const Prefix& prefix) {
    if (std::find(networks.begin(), networks.end(), prefix) == networks.end()) networks.push_back(prefix);
  };
  if (!takes_part(view, kLearningMode)) return;
  for (const Prefix& prefix : view.bgp.config.import) add(prefix);
  for (const BgpPeerSpec& peer : view.bgp.peers)
    for (const BgpRule& rule : peer.import)
      if (rule.accept && rule.prefix) add(*rule.prefix);
}

}  // namespace

Ownership ownership_of(const ClusterView& view) {
  Ownership own;
  own.networks = view.config.networks();
  add_learnable(view, own.learnable);
  for (const Lease& lease : view.leases) {
    if (lease.public_ip) own.peer_addresses.push_back(lease.public_ip);
    if (lease.public_ip6) own.peer_addresses.push_back(lease.public_ip6);
  }
  std::sort(own.peer_addresses.begin(), own.peer_addresses.end());
  return own;
}

ModeMtu pod_mtu(const ClusterView& view, const ModeRegistry& modes) {
  ModeMtu least;
  const auto lower = [](uint32_t& mtu, uint32_t by_mode) {
    if (by_mode != 0 && (mtu == 0 || by_mode < mtu)) mtu = by_mode;
  };
  for (const Mode* mode : modes.all()) {
    if (!takes_part(view, *mode)) continue;
    const ModeMtu mtu = mode->mtu(config_of(view, *mode), view.self);
    lower(least.v4, mtu.v4);
    lower(least.v6, mtu.v6);
  }
  return least;
}

}  // namespace knet
