#include "view/trace.h"

#include <algorithm>

#include "base/error.h"
#include "core/compose.h"
#include "view/tunnel_way.h"

namespace knet {
namespace {

bool whole(const Observed& observed, Kind kind) { return observed.complete.test(static_cast<size_t>(kind)); }

template <typename T>
const T* find(const std::vector<T>& objects, const std::decay_t<typename T::Key>& key) {
  const auto it = std::lower_bound(objects.begin(), objects.end(), key,
                                   [](const T& object, const auto& wanted) { return object.key() < wanted; });
  return it != objects.end() && it->key() == key ? &*it : nullptr;
}

class Walk {
 public:
  Walk(const TraceWorld& world, const TraceEnd& from, const TraceEnd& to)
      : world_(world), view_(world.view), from_(from), to_(to), peer_(peer_of(world.view, to.ip)) {
    out_.from = from.ip;
    out_.to = to.ip;
    out_.mode = peer_ ? view_.leases[*peer_].mode : from.node == to.node && !to.node.empty() ? "local" : "outside";
  }

  Trace run() {
    walk();
    return std::move(out_);
  }

 private:
  const std::string& here() const { return view_.self.name; }
  const Link* link(const DevName& name) const { return world_.observed.net.find_link(name); }
  uint32_t mtu_of(const DevName& name) const { return link(name) ? link(name)->mtu : 0; }

  void hop(std::string where, std::string device, uint32_t mtu, std::string text, TraceHop::How how = TraceHop::How::seen) {
    out_.hops.push_back({std::move(where), std::move(device), mtu, std::move(text), how});
  }
  void limit(uint32_t mtu) {
    if (mtu != 0) out_.path_mtu = out_.path_mtu == 0 ? mtu : std::min(out_.path_mtu, mtu);
  }
  bool broken(std::string where, std::string device, std::string text, std::string fix = {}) {
    hop(std::move(where), std::move(device), 0, std::move(text), TraceHop::How::broken);
    out_.broken = true;
    out_.fix = fix.empty() ? usual_fix() : std::move(fix);
    return false;
  }
  /// What the agent would mend by itself.
  std::string usual_fix() const {
    if (world_.agent_runs) return "the agent is at it: knet status shows why it can't; knet route show --check";
    return fmt::format("knet agent is not running on {} (systemctl start knet), or: knet agent --once", here());
  }

  bool walk() {
    if (from_.pod && !leave_pod()) return false;
    const Endpoint* local = endpoint_of(view_, to_.ip);
    const std::optional<KernelRoute> route = world_.route(to_.ip);
    const std::string device = from_.pod ? from_.host_dev : "";
    if (!check_forwarding(device)) return false;
    if (!check_route(route, device)) return false;
    if (from_.pod || local || peer_)
      hop(here(), device.empty() ? "-" : device, from_.pod ? mtu_of(DevName(device)) : 0, route_text(*route));
    if (route->type == RouteType::local) return true;
    if (local) return enter_pod(*local, *route);
    const Link* out = link(route->dev);
    if (!out && whole(world_.observed, Kind::link)) return broken(here(), route->dev.str(), "the device is not there");
    if (out && !out->up) return broken(here(), route->dev.str(), "the device is down");
    const bool tunnel = out && world_.desired.net.find_link(route->dev) != nullptr;
    if (tunnel ? !tunnel_hop(*route, *out) : !plain_hop(*route, route->via ? route->via : to_.ip)) return false;
    arrive(tunnel ? route->dev.str() : "");
    return true;
  }

  bool leave_pod() {
    const std::string& pod = from_.name;
    const Endpoint* endpoint = endpoint_of(view_, from_.ip);
    const std::string remake = fmt::format("delete the pod {}: its runtime makes the interface anew", pod);
    if (!endpoint) return broken(pod, from_.pod_dev, fmt::format("no record of a pod with {} on {}", from_.ip.str(), here()), remake);
    if (const auto& side = world_.source_pod) {
      if (!side->there) return broken(pod, from_.pod_dev, "the interface is not there", remake);
      if (!side->up) return broken(pod, from_.pod_dev, "the interface is down", "ip link set " + from_.pod_dev + " up, in the pod");
      if (!side->has_address) return broken(pod, from_.pod_dev, "has not the address " + from_.ip.str(), remake);
      if (!side->gateway) return broken(pod, from_.pod_dev, "no route to " + to_.ip.str(), remake);
      hop(pod, from_.pod_dev, side->mtu, "default via " + side->gateway.str());
      limit(side->mtu);
    } else {
      hop(pod, from_.pod_dev, 0, "default via " + pod_gateway(from_.ip.family()).str(), TraceHop::How::assumed);
    }
    const Link* host = link(DevName(from_.host_dev));
    if (!host && whole(world_.observed, Kind::link)) return broken(here(), from_.host_dev, "the pod's device is not there", remake);
    if (host && !host->up)
      return broken(here(), from_.host_dev, "the pod's device is down", fmt::format("ip link set {} up", from_.host_dev));
    if (host) limit(host->mtu);
    return check_return(*endpoint);
  }

  /// The answer must find back: the host's route to the source pod.
  bool check_return(const Endpoint& endpoint) {
    const auto back = world_.route(from_.ip);
    if (back && back->dev == endpoint.host_dev) return true;
    return broken(here(), from_.host_dev, fmt::format("no route back to {} over {}", from_.ip.str(), endpoint.host_dev.view()));
  }

  bool check_forwarding(const std::string& device) {
    const std::string path = to_.ip.is_v4() ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
    if (!from_.pod) return true;
    if (const Sysctl* forward = find(world_.observed.net.sysctls, path); forward && forward->value == "0")
      return broken(here(), device, path + " is 0: this node forwards nothing");
    if (!whole(world_.observed, Kind::forward_accept)) return true;
    for (const ForwardAccept& accept : world_.desired.net.forward_accepts) {
      const bool about = accept.network.contains(accept.source ? from_.ip : to_.ip);
      if (about && !find(world_.observed.net.forward_accepts, accept.key()))
        return broken(here(), device, fmt::format("the chain {} drops: {} is missing", accept.chain.chain, describe(accept)));
    }
    return true;
  }

  /// The wanted row that decides about the destination, if any. What leads to nobody (the whole network into a tunnel that
  /// answers) decides nothing.
  const RouteRow* row() const {
    const RouteRow* best = nullptr;
    for (const RouteRow& row : world_.rows)
      if (row.dst.contains(to_.ip) && row.state != RowState::foreign && row.state != RowState::stale && row.state != RowState::kept && row.node != "-" &&
          (!best || row.dst.length() > best->dst.length()))
        best = &row;
    return best;
  }

  static bool leads_over(const RouteRow& row, const DevName& dev) {
    return row.dev == dev.view() || std::any_of(row.others.begin(), row.others.end(), [&](const RouteHop& hop) { return hop.dev == dev; });
  }

  bool check_route(const std::optional<KernelRoute>& route, const std::string& device) {
    const std::string at = device.empty() ? "-" : device;
    const RouteRow* wanted = row();
    const bool own_subnet = view_.self.lease.subnet.contains(to_.ip) || view_.self.lease.subnet6.contains(to_.ip);
    if (own_subnet && !endpoint_of(view_, to_.ip) && (!route || route->type != RouteType::local))
      return broken(here(), at, fmt::format("no pod of {} has {}", here(), to_.ip.str()), "knet route show lists the pods that are here");
    if (wanted && route && wanted->dev != "blackhole" && !leads_over(*wanted, route->dev) && route->type != RouteType::local)
      return broken(here(), at, fmt::format("{} {}, not over {}{}", to_.ip.str(),
                                            route->type == RouteType::unicast
                                                ? fmt::format("goes to {} by {}", route->dev.view(), route_text(*route))
                                                : fmt::format("is {} here", type_text(route->type)),
                                            wanted->dev, wanted->why.empty() ? "" : ": " + wanted->why));
    if (wanted && !route) return broken(here(), at, fmt::format("no route to {}{}", wanted->dst.str(), wanted->why.empty() ? "" : ": " + wanted->why));
    if (!route) return broken(here(), at, "no route to " + to_.ip.str(), nobody_fix());
    if (route->type != RouteType::unicast && route->type != RouteType::local)
      return broken(here(), at, fmt::format("{} is {} here", to_.ip.str(), type_text(route->type)));
    const bool inside = view_.config.network.contains(to_.ip) || view_.config.network6.contains(to_.ip);
    if (!wanted && inside && !own_subnet && route->type != RouteType::local) return broken(here(), at, no_holder(), nobody_fix());
    return true;
  }

  std::string no_holder() const {
    if (!peer_) return fmt::format("no node holds a subnet with {}", to_.ip.str());
    const Lease& lease = view_.leases[*peer_];
    for (const std::string& notice : world_.desired.notices)
      if (notice.find(view_.names[*peer_] + " ") == 0) return notice;
    return fmt::format("mode {} makes no route to {} of {}", lease.mode, subnets_text(lease), view_.names[*peer_]);
  }
  std::string nobody_fix() const {
    return peer_ ? "routes to it must come from elsewhere in this mode; knet config set Backend.Type=vxlan has the steps to another" : "knet node list shows who holds what";
  }

  static std::string_view type_text(RouteType type) {
    switch (type) {
      case RouteType::blackhole: return "a blackhole";
      case RouteType::unreachable: return "unreachable";
      case RouteType::prohibit: return "prohibited";
      default: return "not routed";
    }
  }

  std::string route_text(const KernelRoute& route) const {
    const std::string dst = route.dst ? route.dst.length() == 0 ? "default" : route.dst.is_host() ? route.dst.addr().str() : route.dst.str()
                                      : to_.ip.str();
    if (route.type == RouteType::local) return dst + " is here";
    return (route.via ? fmt::format("{} via {}", dst, route.via.str()) : fmt::format("{} dev {}", dst, route.dev.view())) + others_text(route);
  }

  /// Of several next hops the kernel has chosen one for these two addresses.
  std::string others_text(const KernelRoute& route) const {
    const RouteRow* wanted = row();
    if (!wanted || wanted->others.empty() || (route.dst && route.dst != wanted->dst)) return "";
    return fmt::format(", one of {} next hops", wanted->others.size() + 1);
  }

  std::string peer_name() const { return peer_ ? view_.names[*peer_] : to_.node.empty() ? "-" : to_.node; }

  bool tunnel_hop(const KernelRoute& route, const Link& device) {
    const std::string name = device.name.str();
    const TunnelWay way = tunnel_way({world_.desired, world_.observed, device, route.via, to_.ip,
                                      peer_ ? &view_.leases[*peer_] : nullptr, peer_name()});
    if (!way.missing.empty()) return broken(here(), way.at, way.missing + row_why());
    hop(here(), name, device.mtu, way.text);
    limit(device.mtu);
    const std::optional<KernelRoute> under = world_.route(way.outer);
    const std::string below = device.underlay() ? device.underlay().str() : nic_name();
    if (!under || under->type != RouteType::unicast)
      return broken(here(), below, fmt::format("no route to {} ({})", way.outer.str(), peer_name()),
                    fmt::format("ip route get {}: the network between the nodes must route it", way.outer.str()));
    if (under->dev == device.name)
      return broken(here(), name, fmt::format("{} itself is routed into the tunnel", way.outer.str()),
                    fmt::format("ip route get {}: a route of its own must lead to it over the network between the nodes", way.outer.str()));
    return plain_hop(*under, way.outer, overhead(device, way.outer.family()));
  }

  /// What the mode that made the device adds to a packet.
  uint32_t overhead(const Link& device, Family family) const {
    const Link* wanted = world_.desired.net.find_link(device.name);
    if (!wanted || wanted->origin.producer >= world_.desired.producers.size()) return 0;
    const Mode* mode = world_.modes.find(world_.desired.producers[wanted->origin.producer]);
    return mode ? mode->overhead(view_.config.as_mode(mode->name()), family) : 0;
  }

  std::string nic_name() const {
    return (to_.ip.is_v6() && view_.self.uplink6.dev ? view_.self.uplink6.dev : view_.self.uplink.dev).str();
  }

  std::string row_why() const { return row() && !row()->why.empty() ? "; " + row()->why : ""; }

  /// Out of a NIC, towards `next` or the outer destination.
  bool plain_hop(const KernelRoute& route, const IpAddr& target, uint32_t overhead = 0) {
    const Link* nic = link(route.dev);
    if (nic && !nic->up) return broken(here(), route.dev.str(), "the device is down", fmt::format("ip link set {} up", route.dev.view()));
    if (nic && !nic->running) return broken(here(), route.dev.str(), "no carrier", "look at the cable, the switch port or the other end");
    const uint32_t mtu = nic ? nic->mtu : 0;
    std::string text = route.via && route.via != target ? fmt::format("{} via {}", target.str(), route.via.str()) : target.str() + " on link";
    const bool inside = view_.config.network.contains(to_.ip) || view_.config.network6.contains(to_.ip);
    if (overhead == 0 && !inside && from_.pod && view_.config.masquerade) text += ", masqueraded";
    hop(here(), route.dev.str(), mtu, text);
    if (mtu > overhead) limit(mtu - overhead);
    return true;
  }

  /// On the other node: nothing of it can be seen from here.
  void arrive(const std::string& tunnel) {
    if (out_.mode == "outside") return;
    const std::string nic = nic_name();
    const std::string where = peer_name();
    if (!tunnel.empty()) hop(where, nic + " -> " + tunnel, out_.path_mtu, "decapsulated", TraceHop::How::assumed);
    else hop(where, nic.empty() ? "-" : nic, out_.path_mtu, to_.pod ? "forwarded" : "received", TraceHop::How::assumed);
    if (to_.pod || !is_node_address())
      hop(where, to_.host_dev.empty() ? "-" : to_.host_dev, out_.path_mtu,
          to_.pod ? fmt::format("{} -> {} {}", to_.ip.str(), to_.name, to_.pod_dev) : to_.ip.str() + " -> the pod", TraceHop::How::assumed);
  }

  bool is_node_address() const {
    if (!peer_) return false;
    const Lease& lease = view_.leases[*peer_];
    return lease.public_ip == to_.ip || lease.public_ip6 == to_.ip || lease.subnet.addr() == to_.ip || lease.subnet6.addr() == to_.ip;
  }

  bool enter_pod(const Endpoint& endpoint, const KernelRoute& route) {
    const Link* host = link(endpoint.host_dev);
    const std::string dev = endpoint.host_dev.str();
    if (route.dev != endpoint.host_dev)
      return broken(here(), dev, fmt::format("{} leads to {} instead of {}", to_.ip.str(), route.dev.view(), dev));
    if (!host && whole(world_.observed, Kind::link)) return broken(here(), dev, "the pod's device is not there", "delete the pod: its runtime makes it anew");
    if (host && !host->up) return broken(here(), dev, "the pod's device is down", fmt::format("ip link set {} up", dev));
    hop(here(), dev, host ? host->mtu : 0, fmt::format("{} -> {} {}", to_.ip.str(), to_.name, endpoint.ifname));
    if (host) limit(host->mtu);
    return true;
  }

  const TraceWorld& world_;
  const ClusterView& view_;
  const TraceEnd& from_;
  const TraceEnd& to_;
  std::optional<size_t> peer_;
  Trace out_;
};

}  // namespace

Trace trace(const TraceWorld& world, const TraceEnd& from, const TraceEnd& to) { return Walk(world, from, to).run(); }

std::string_view to_string(TraceHop::How how) {
  switch (how) {
    case TraceHop::How::seen: return "seen";
    case TraceHop::How::assumed: return "assumed";
    case TraceHop::How::broken: return "BROKEN";
  }
  return "-";
}

std::string headline(const Trace& trace) {
  const std::string way = fmt::format("{} -> {}  {}", trace.from.str(), trace.to.str(), trace.mode);
  if (trace.broken) return fmt::format("BROKEN at {} {}  {}", trace.hops.back().where, trace.hops.back().device, way);
  return fmt::format("ok  {}{}", way, trace.path_mtu != 0 ? fmt::format("  path MTU {}", trace.path_mtu) : "");
}

std::optional<size_t> peer_of(const ClusterView& view, const IpAddr& ip) {
  for (size_t i = 0; i < view.leases.size(); ++i) {
    const Lease& lease = view.leases[i];
    if (lease.subnet.contains(ip) || lease.subnet6.contains(ip) || lease.public_ip == ip || lease.public_ip6 == ip) return i;
  }
  return std::nullopt;
}

const Endpoint* endpoint_of(const ClusterView& view, const IpAddr& ip) {
  for (const Endpoint& endpoint : view.endpoints)
    if (std::find(endpoint.addresses.begin(), endpoint.addresses.end(), ip) != endpoint.addresses.end()) return &endpoint;
  return nullptr;
}

}  // namespace knet
