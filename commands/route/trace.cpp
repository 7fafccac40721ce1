// knet route get and trace: names to addresses, what this node's kernel says, and the pod's side where it can be entered.
#include "view/trace.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "agent/look.h"
#include "agent/status_client.h"
#include "base/text.h"
#include "commands/common/cluster.h"
#include "commands/common/output.h"
#include "commands/common/table.h"
#include "commands/route/route.h"
#include "kernel/netns.h"
#include "lab/lab_dirs.h"

namespace knet {
namespace {

class Names {
 public:
  Names(const RouteFlags& flags, const Look& look)
      : view_(look.view), lab_(lab_of(flags.paths.paths().run_dir)), v4_(flags.ipv4), v6_(flags.ipv6) {
    if (v4_ && v6_) fail(ErrorKind::usage, "-4 and -6 can't be given together");
  }

  /// An address, a pod of this node by its record, a pod of the lab, or a node. Throws Error{usage}.
  TraceEnd end(const std::string& word) const {
    if (const auto ip = IpAddr::parse(word)) return at(*ip, word);
    for (const Endpoint& endpoint : view_.endpoints)
      if (endpoint.pod == word || endpoint.container == word || endpoint.pod.substr(endpoint.pod.find('/') + 1) == word)
        return at(choose(word, endpoint.addresses), word);
    if (lab_)
      if (const auto [node, pod] = lab_->lab.find_pod(word); pod) return at(choose(word, pod->addresses), word);
    if (word == view_.self.name) return at(choose(word, {view_.self.public_ip, view_.self.public_ip6}), word);
    for (size_t i = 0; i < view_.names.size(); ++i)
      if (view_.names[i] == word) return at(choose(word, {view_.leases[i].public_ip, view_.leases[i].public_ip6}), word);
    fail(ErrorKind::usage, "'{}' is no address, pod of this node or node; knet node list and knet route show have what there is",
         printable(word));
  }

 private:
  IpAddr choose(const std::string& word, const std::vector<IpAddr>& addresses) const {
    for (const IpAddr& ip : addresses)
      if (ip && (v6_ ? ip.is_v6() : !v4_ || ip.is_v4())) return ip;
    fail(ErrorKind::usage, "{} has no {} address", word, v6_ ? "IPv6" : "IPv4");
  }

  TraceEnd at(const IpAddr& ip, const std::string& word) const {
    TraceEnd end;
    end.ip = ip;
    end.name = word;
    if (const Endpoint* endpoint = endpoint_of(view_, ip)) {
      end.pod = true;
      end.node = view_.self.name;
      end.pod_dev = endpoint->ifname;
      end.host_dev = endpoint->host_dev.str();
      if (end.name == ip.str() && !endpoint->pod.empty()) end.name = endpoint->pod.substr(endpoint->pod.find('/') + 1);
      return end;
    }
    if (ip == view_.self.public_ip || ip == view_.self.public_ip6) end.node = view_.self.name;
    if (const auto peer = peer_of(view_, ip)) end.node = view_.names[*peer];
    if (!lab_) return end;
    for (const LabNode& node : lab_->lab.nodes)
      for (const LabPod& pod : node.pods)
        if (std::find(pod.addresses.begin(), pod.addresses.end(), ip) != pod.addresses.end()) {
          end.pod = true;
          end.name = pod.name;
          end.node = node.name;
          end.host_dev = pod.host_dev;
        }
    return end;
  }

  const ClusterView& view_;
  std::optional<LabPlace> lab_;
  bool v4_, v6_;
};

std::optional<KernelRoute> ask(LinuxPlane& plane, const IpAddr& ip) {
  const auto answer = plane.route_to(ip);
  if (!answer) return std::nullopt;
  return KernelRoute{answer->dev, answer->via, answer->type, answer->dst};
}

/// Inside the pod, if its namespace can be entered (root).
std::optional<PodSide> look_into(const Endpoint& endpoint, const IpAddr& from, const IpAddr& to) {
  try {
    const Fd space = open_netns_if_there(endpoint.netns);
    if (!space) return std::nullopt;
    PodSide side;
    in_netns(space.get(), [&] {
      LinuxPlane plane;
      const Observed seen = plane.observe(only(Kind::link) | only(Kind::address));
      const Link* link = seen.net.find_link(DevName(endpoint.ifname));
      side.there = link != nullptr;
      side.up = link && link->up;
      side.mtu = link ? link->mtu : 0;
      side.has_address = std::any_of(seen.net.addresses.begin(), seen.net.addresses.end(),
                                     [&](const Address& address) { return address.prefix.addr() == from; });
      const auto route = plane.route_to(to);
      if (route && route->via) side.gateway = route->via;
      if (route && route->mtu != 0) side.mtu = std::min(side.mtu, route->mtu);
    });
    return side;
  } catch (const Error&) {
    return std::nullopt;  // may not enter it: its hop is assumed
  }
}

nlohmann::ordered_json as_json(const Trace& trace) {
  nlohmann::ordered_json hops = nlohmann::ordered_json::array();
  for (const TraceHop& hop : trace.hops)
    hops.push_back({{"where", hop.where}, {"device", hop.device}, {"mtu", hop.mtu}, {"text", hop.text}, {"how", lower(to_string(hop.how))}});
  return {{"from", trace.from.str()}, {"to", trace.to.str()}, {"mode", trace.mode}, {"path_mtu", trace.path_mtu},
          {"broken", trace.broken},   {"fix", trace.fix},     {"hops", hops}};
}

void print_trace(const Trace& trace) {
  print(headline(trace) + "\n");
  Table table(trace.broken ? std::vector<Column>{{""}, {""}, {""}, {"", Column::Kind::free}}
                           : std::vector<Column>{{""}, {""}, {""}, {""}, {"", Column::Kind::free}});
  for (const TraceHop& hop : trace.hops) {
    const bool bad = hop.how == TraceHop::How::broken;
    if (trace.broken)
      table.add({"  " + hop.where, hop.device, Cell(bad ? "BROKEN" : "ok", bad ? Tone::bad : Tone::plain), hop.text});
    else
      table.add({"  " + hop.where, hop.device, hop.mtu != 0 ? fmt::format("mtu {}", hop.mtu) : "-", hop.text, std::string(to_string(hop.how))});
  }
  print(table);
  if (!trace.fix.empty()) print("  fix: " + trace.fix + "\n");
}

}  // namespace

int route_trace(const RouteFlags& flags) {
  LinuxPlane plane;
  const auto look = look_at_node(flags.paths.paths(), flags.settings(), plane);
  const Names names(flags, *look);
  const TraceEnd from = names.end(flags.from), to = names.end(flags.to);
  const std::string& here = look->view.self.name;
  if (from.ip.family() != to.ip.family())
    fail(ErrorKind::usage, "{} and {} are of two families; give -4 or -6, or two addresses of one", from.ip.str(), to.ip.str());
  if (!from.node.empty() && from.node != here)
    fail(ErrorKind::usage, "{} is on {}, and this is {}: only the node of the source sees the way; run it on {}", from.name, from.node, here, from.node);
  TraceWorld world{look->view, look->desired, look->observed, look->rows, mode_registry(), fetch_status(flags.paths.paths()).has_value(), {},
                   [&](const IpAddr& ip) { return ask(plane, ip); }};
  if (const Endpoint* endpoint = endpoint_of(look->view, from.ip)) world.source_pod = look_into(*endpoint, from.ip, to.ip);
  const Trace result = trace(world, from, to);
  if (flags.output.json()) print_json(as_json(result));
  else print_trace(result);
  return result.broken ? kExitDrift : kExitOk;
}

int route_get(const RouteFlags& flags) {
  LinuxPlane plane;
  const auto look = look_at_node(flags.paths.paths(), flags.settings(), plane);
  const TraceEnd to = Names(flags, *look).end(flags.to);
  const auto route = plane.route_to(to.ip);
  const RouteRow* wanted = nullptr;
  for (const RouteRow& row : look->rows)
    if (row.dst.contains(to.ip) && (!wanted || row.dst.length() > wanted->dst.length())) wanted = &row;
  const bool bad = wanted && (wanted->state == RowState::broken || (route && wanted->dev != "blackhole" && route->dev.view() != wanted->dev));
  const auto peer = peer_of(look->view, to.ip);
  const std::string holder = peer ? fmt::format("{} ({}), {}", look->view.names[*peer], subnets_text(look->view.leases[*peer]), look->view.leases[*peer].mode)
                             : !to.node.empty() ? to.node + ", this node" : "nobody in the cluster";
  const std::string way = !route ? "no route" : route->type == RouteType::local ? "this node itself"
                          : route->type != RouteType::unicast ? fmt::format("blackhole or refused by {}", route->dst.str())
                          : fmt::format("{}dev {}", route->via ? "via " + route->via.str() + " " : "", route->dev.view());
  if (flags.output.json()) {
    print_json({{"to", to.ip.str()}, {"node", to.node}, {"pod", to.pod ? to.name : ""}, {"route", route ? route->dst.str() : ""},
                {"via", route ? text_of(route->via) : ""}, {"dev", route ? route->dev.str() : ""}, {"src", route ? text_of(route->src) : ""},
                {"mtu", route ? route->mtu : 0}, {"protocol", route ? route_protocol_name(route->protocol) : ""},
                {"state", wanted ? std::string(to_string(wanted->state)) : ""}, {"why", wanted ? wanted->why : ""}});
  } else {
    Table table({{""}, {"", Column::Kind::free}});
    table.add({"address", to.ip.str() + (to.pod ? ", pod " + to.name : "")});
    table.add({"held by", holder});
    table.add({"kernel", way});
    if (route && route->dst) table.add({"by route", fmt::format("{} proto {}", route->dst.str(), route_protocol_name(route->protocol))});
    if (route && route->src) table.add({"source", route->src.str()});
    if (wanted)
      table.add({"wanted", fmt::format("{}{} dev {}, {}{}", wanted->dst.str(), wanted->via ? " via " + wanted->via.str() : "", wanted->dev,
                                       shown_state(wanted->state), wanted->why.empty() ? "" : ": " + wanted->why)});
    print(table);
  }
  return bad ? kExitDrift : kExitOk;
}

}  // namespace knet
