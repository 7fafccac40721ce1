// bgp: the nodes tell each other and the network's routers of their pods' subnets by BGP, and what is learned becomes
// routes: plain ones, or (Encap) by the device of ipip or vxlan to nodes that are not on link, which that mode makes.
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "core/compose.h"
#include "modes/common/bgp_service.h"
#include "modes/common/encap.h"
#include "modes/common/next_hops.h"
#include "modes/common/plain.h"
#include "modes/common/shortcut.h"
#include "modes/common/tun.h"
#include "modes/common/vtep.h"

namespace knet {

namespace {

constexpr std::string_view kEncaps[] = {"ipip", "none", "vxlan"};

constexpr OptionSpec kOptions[] = {
    kShortcutOption,
    {"DirectRouting", OptionType::boolean, "true", 0, 0,
     "with Encap: plain routes to nodes on the same link; false: the tunnel to every node", true},
    {"Encap", OptionType::text, "none", 0, 0,
     "how packets reach nodes that are not on link. none: plainly, the network knows the pods' subnets; ipip or vxlan: as "
     "these modes do",
     false, kEncaps},
    {"MTU", OptionType::integer, "0", 0, 65535,
     "of the underlay; 0: the interface's own. With Encap pods get less, as in that mode"},
    {"Port", OptionType::integer, "8472", 0, 65535, "Encap vxlan: UDP port; 0: 8472"},
    {"VNI", OptionType::integer, "1", 1, 16777215, "Encap vxlan: network identifier"},
};

constexpr Family kFamilies[] = {Family::v4, Family::v6};
constexpr size_t kMostNotices = 20;

// One view's learned routes, on their way to be the kernel's.
class Routes {
 public:
  Routes(const ClusterView& view, const NetworkConfig& config, ModeState& out)
      : view_(view),
        out_(out),
        own_(ownership_of(view)),
        hops_(view, encap_of(config) != nullptr, config.option_bool("DirectRouting", true)),
        encap_(view, config, out) {
    // A node that announces another mode says by its lease how it is reached.
    for (const Lease& lease : view.leases) {
      if (lease.mode == "bgp" || lease.mode == "alloc") continue;
      for (const Prefix& subnet : {lease.subnet, lease.subnet6})
        if (subnet) spoken_for_.insert(subnet);
    }
    for (const Family family : kFamilies) on_[family == Family::v6] = enabled(config, family);
  }

  void add_all() {
    for (const LearnedRoute& route : *view_.learned)
      if (is_for_kernel(route)) add(route);
    size_t told = 0;
    for (const auto& [why, count] : unreachable_) {
      if (++told > kMostNotices) {
        out_.notice(fmt::format("bgp: {} more next hops can't be reached", unreachable_.size() - kMostNotices));
        break;
      }
      out_.notice(fmt::format("bgp: {} of the learned routes {} left out: {}", count, count == 1 ? "is" : "are", why));
    }
  }

 private:
  bool is_for_kernel(const LearnedRoute& route) const {
    const Prefix& dst = route.dst;
    if (!route.next_hop || !on_[dst.is_v6()] || !own_.inside(dst) || spoken_for_.contains(dst)) return false;
    const Prefix& ours = subnet_of(view_.self.lease, dst.family());
    // A single pod of our subnet may live elsewhere; a part of the subnet may not.
    return !(ours && ours.contains(dst) && !dst.is_host());
  }

  void add(const LearnedRoute& learned) {
    const ResolvedHop& best = hops_.resolve(learned.next_hop);
    if (best.how == ResolvedHop::How::none) return leave_out(best.why);
    if (best.how == ResolvedHop::How::tunnel) {
      if (!encap_.add_route(learned.dst, best.peer))
        leave_out(fmt::format("{} announces nothing by which a tunnel could reach it", name_of(view_, best.peer)));
      return;
    }
    Route route;
    route.dst = learned.dst;
    route.dev = best.hop.dev;
    route.via = best.hop.via;
    std::set<RouteHop> seen{best.hop};
    for (const IpAddr& other : learned.others) {
      const ResolvedHop& further = hops_.resolve(other);
      if (further.how == ResolvedHop::How::plain && seen.insert(further.hop).second)
        route.others.push_back(further.hop);
    }
    out_.add(std::move(route), best.peer);
  }

  void leave_out(const std::string& why) { ++unreachable_[why]; }

  const ClusterView& view_;
  ModeState& out_;
  const Ownership own_;
  NextHops hops_;
  Encap encap_;
  std::set<Prefix> spoken_for_;
  bool on_[2] = {false, false};
  std::map<std::string, size_t> unreachable_;
};

class Bgp : public Mode {
 public:
  std::string_view name() const override { return "bgp"; }
  std::string_view summary() const override { return "plain routes learnt by BGP; no tunnel unless asked for"; }
  std::string_view description() const override {
    return "Each node speaks BGP with the others (a mesh, or route reflectors) and, if told, with the network's routers: it "
           "announces its pods' subnet, and a route stands as long as somebody announces it. The network between may "
           "then carry pods' packets plainly, without tunnel, over any number of hops. Where it can't, Encap ipip or "
           "vxlan wraps what goes to nodes that are not on the same link. Settings: knet bgp config; peers outside: knet "
           "bgp peer; reflectors, AS numbers and labels: knet node set.";
  }
  std::span<const OptionSpec> options() const override { return kOptions; }
  bool carries(Family) const override { return true; }
  bool asks_kernel() const override { return true; }
  bool asks_host_routes() const override { return true; }
  bool takes_shortcuts(const NetworkConfig& config) const override { return encap_of(config) == nullptr; }

  std::optional<std::string> unsupported(const KernelFeatures& kernel, const NetworkConfig& config) const override {
    const Mode* by = encap_of(config);
    if (by == nullptr) return shortcut_unsupported(kernel, config);
    const auto why = by->unsupported(kernel, carrier_config(config, *by));
    return why ? std::optional(fmt::format("Encap {}: {}", by->name(), *why)) : std::nullopt;
  }
  Datapath datapath(const KernelFeatures& kernel, const NetworkConfig& config) const override {
    const Mode* by = encap_of(config);
    return by != nullptr ? by->datapath(kernel, carrier_config(config, *by)) : shortcut_datapath(kernel, config);
  }
  std::string wire(const NetworkConfig& config) const override {
    const Mode* by = encap_of(config);
    return by != nullptr ? by->wire(carrier_config(config, *by)) : std::string();
  }
  uint32_t overhead(const NetworkConfig& config, Family family) const override {
    const Mode* by = encap_of(config);
    return by != nullptr ? by->overhead(carrier_config(config, *by), family) : 0;
  }
  void validate(const NetworkConfig& config) const override {
    check_tunnel_mtu(*this, config);
    if (encap_of(config) != nullptr && encap_of(config)->name() == "vxlan") return;
    for (const char* option : {"Port", "VNI"})
      if (std::any_of(config.options.begin(), config.options.end(), [&](const auto& set) { return set.first == option; }))
        fail(ErrorKind::config, "bgp: {} is for Encap vxlan only; leave it out, or give Encap vxlan", option);
  }
  ModeMtu mtu(const NetworkConfig& config, const LocalNode& self) const override { return tunnel_mtu(*this, config, self); }

  LeaseData announce(const NetworkConfig& config, const LocalNode& self) const override {
    const Mode* by = encap_of(config);
    return {"bgp", by != nullptr ? by->announce(carrier_config(config, *by), self).data : BackendData{}};
  }
  void check_peer(const Lease& lease) const override {
    check_peer_addresses(lease);
    if (lease.subnet && !lease.data.v4.empty()) vtep_mac(lease, Family::v4);
    if (lease.subnet6 && !lease.data.v6.empty()) vtep_mac(lease, Family::v6);
  }

  void desired(const ClusterView& view, const NetworkConfig& config, PeerSpan, Receive receive,
               ModeState& out) const override {
    if (receive == Receive::yes && config.enable_v4) loosen_uplink(view.self, out);
    if (takes_shortcuts(config)) add_shortcuts(view, config, out);
    for (const Family family : kFamilies)
      if (enabled(config, family) && !uplink_of(view.self, family).dev)
        out.blocker(fmt::format("bgp: this node has no IPv{} uplink", static_cast<int>(family)));
    if (!view.learned_whole)
      for (const Kind kind : {Kind::neighbor, Kind::fdb, Kind::tunnel_peer, Kind::nexthop, Kind::route}) out.hold(kind);
    if (view.learned) Routes(view, config, out).add_all();
  }

  std::unique_ptr<Service> service(const ServiceHost& host) const override { return make_bgp_service(host); }
};

}  // namespace

const Mode& bgp_mode() {
  static const Bgp mode;
  return mode;
}

}  // namespace knet
