#include "core/route_rows.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/compose.h"

namespace knet {

namespace {

constexpr std::pair<uint8_t, std::string_view> kProtocols[] = {
    {0, "unspec"}, {1, "redirect"}, {2, "kernel"},   {3, "boot"},        {4, "static"},    {8, "gated"},
    {9, "ra"},     {10, "mrt"},     {11, "zebra"},   {12, "bird"},       {13, "dnrouted"}, {14, "xorp"},
    {15, "ntk"},   {16, "dhcp"},    {17, "mrouted"}, {18, "keepalived"}, {42, "babel"},    {99, "openr"},
    {107, "knet"}, {186, "bgp"},    {187, "isis"},   {188, "ospf"},      {189, "rip"},     {192, "eigrp"}};

enum class Part : uint8_t { none, ok, missing, differs, unknown };

std::string_view to_string(Part part) {
  switch (part) {
    case Part::none:
      return "-";
    case Part::ok:
      return "ok";
    case Part::missing:
      return "missing";
    case Part::differs:
      return "differs";
    case Part::unknown:
      return "unknown";
  }
  return "-";
}

template <typename T>
const T* find(const std::vector<T>& objects, const std::decay_t<typename T::Key>& key) {
  const auto it = std::lower_bound(objects.begin(), objects.end(), key,
                                   [](const T& object, const auto& k) { return object.key() < k; });
  return it != objects.end() && it->key() == key ? &*it : nullptr;
}

// Whether a wanted object is fulfilled by what was seen at its key.
bool same(const Nexthop& want, const Nexthop& seen) { return want.onlink == seen.onlink; }
bool same(const Neighbor& want, const Neighbor& seen) { return want.mac == seen.mac; }
bool same(const FdbEntry& want, const FdbEntry& seen) { return want.dst == seen.dst; }
bool same(const Filter& want, const Filter& seen) { return want.digest == seen.digest; }
bool same(const TunnelPeer& want, const TunnelPeer& seen) {
  return want.outer == seen.outer && want.port == seen.port && want.by_user == seen.by_user;
}
bool same(const WireguardPeer& want, const WireguardPeer& seen) {
  return want.allowed == seen.allowed && want.keepalive == seen.keepalive &&
         want.preshared_key == seen.preshared_key &&
         (!want.endpoint || seen.roamed || (want.endpoint == seen.endpoint && want.port == seen.port));
}
bool same(const PodMtu& want, const PodMtu& seen) { return seen.mtu <= want.mtu; }

class Rows {
 public:
  Rows(const ClusterView& view, const DesiredState& desired, const Observed& observed, const Plan& plan,
       const Failures& failures)
      : view_(view),
        desired_(desired),
        want_(desired.net),
        observed_(observed),
        seen_(observed.net),
        failures_(failures),
        own_(ownership_of(view)) {
    for (const Foreign& foreign : plan.foreign) {
      if (foreign.wanted.kind == Kind::route) foreign_.emplace(foreign.wanted.index, &foreign.text);
      if (foreign.wanted.kind == Kind::link)
        foreign_links_.emplace(want_.links.at(foreign.wanted.index).name, &foreign.text);
    }
    for (const WireguardPeer& peer : want_.wireguard_peers)
      for (const Prefix& prefix : peer.allowed) wireguard_.emplace(std::pair(peer.dev, prefix), &peer);
  }

  std::vector<RouteRow> make() {
    rows_.reserve(want_.routes.size() + 16);
    size_t j = 0;
    for (uint32_t i = 0; i < want_.routes.size(); ++i) {
      const auto key = want_.routes[i].key();
      for (; j < seen_.routes.size() && seen_.routes[j].key() < key; ++j) found(seen_.routes[j]);
      const size_t first = j;
      while (j < seen_.routes.size() && seen_.routes[j].key() == key) ++j;
      wanted(i, first, j);
    }
    for (; j < seen_.routes.size(); ++j) found(seen_.routes[j]);
    std::stable_sort(rows_.begin(), rows_.end(), [](const RouteRow& a, const RouteRow& b) { return a.dst < b.dst; });
    return std::move(rows_);
  }

 private:
  template <typename T>
  bool whole() const {
    return observed_.complete.test(static_cast<size_t>(T::kKind));
  }

  // Where an object was not found: whether that means that it is missing.
  template <typename T>
  Part absent() const {
    return whole<T>() ? Part::missing : Part::unknown;
  }

  const std::string* failure(const std::string& object) const {
    const auto it = failures_.find(object);
    return it != failures_.end() ? &it->second : nullptr;
  }

  // One part of a row: its state, and if it failed or is not as it shall be, why.
  template <typename T>
  Part part(const T& want, std::string_view name, RouteRow& row) {
    const T* seen = find(seen_.of<T>(), want.key());
    const Part part = seen == nullptr ? absent<T>() : same(want, *seen) ? Part::ok : Part::differs;
    if (part == Part::ok) return part;
    if (const std::string* reason = failure(describe(want))) {
      worsen(row, RowState::pending, fmt::format("{}: {}", name, *reason));
    } else if (part == Part::unknown) {
      worsen(row, RowState::unknown, fmt::format("{} could not be read", name));
    } else {
      worsen(row, RowState::broken, fmt::format("{} {}", name, to_string(part)));
    }
    return part;
  }

  // The first complaint is told, but missing outweighs unknown.
  static void worsen(RouteRow& row, RowState state, std::string why) {
    if (row.state == RowState::ok || (row.state == RowState::unknown && state != RowState::unknown)) {
      row.state = state;
      row.why = std::move(why);
    }
  }

  void judge_link(const DevName& dev, RouteRow& row) {
    if (!dev) return;
    const Link* seen = seen_.find_link(dev);
    const Link* link = want_.find_link(dev);
    if (row.mtu == 0) row.mtu = seen != nullptr ? seen->mtu : link != nullptr ? link->mtu : 0;
    if (link != nullptr)
      if (const std::string* reason = failure(describe(*link))) worsen(row, RowState::pending, "link: " + *reason);
    if (const auto it = foreign_links_.find(dev); it != foreign_links_.end()) {
      worsen(row, RowState::foreign, fmt::format("{} can't be made: {} is not ours", dev.view(), *it->second));
    } else if (seen == nullptr) {
      if (whole<Link>())
        worsen(row, RowState::broken, fmt::format("{} is not there", dev.view()));
      else
        worsen(row, RowState::unknown, "links could not be read");
    } else if (!seen->up) {
      worsen(row, RowState::broken, fmt::format("{} is down", dev.view()));
    } else if (link != nullptr && (!link->same_make(*seen) || link->wireguard != seen->wireguard)) {
      worsen(row, RowState::broken, fmt::format("{} is not as wanted: {}", dev.view(), describe(*seen)));
    } else if (const TunnelPump* userspace = pump(dev);
               userspace != nullptr && !userspace->fast_path && !seen->running) {
      // tun_detach() in drivers/net/tun.c: no carrier once its last reader is gone.
      worsen(row, RowState::broken, fmt::format("nobody carries the packets of {}", dev.view()));
    }
  }

  static bool same_route(const Route& a, const Route& b) {
    return a.type == b.type && a.dev == b.dev && a.via == b.via && a.others == b.others && a.protocol == b.protocol && a.src == b.src &&
           a.mtu == b.mtu && !b.multipath;
  }

  void judge_route(uint32_t index, size_t first, size_t end, RouteRow& row) {
    const Route& want = want_.routes[index];
    if (const auto it = foreign_.find(index); it != foreign_.end()) {
      worsen(row, RowState::foreign, "held by " + *it->second);
      return;
    }
    const auto begin = seen_.routes.begin();
    const auto from = begin + static_cast<std::ptrdiff_t>(first), to = begin + static_cast<std::ptrdiff_t>(end);
    if (std::any_of(from, to, [&](const Route& seen) { return same_route(want, seen); })) return;
    if (const std::string* reason = failure(describe(want))) {
      worsen(row, RowState::pending, "route: " + *reason);
    } else if (from != to) {
      worsen(row, RowState::broken, "found instead: " + describe(*from));
    } else if (whole<Route>()) {
      worsen(row, RowState::broken, "route missing");
    } else {
      worsen(row, RowState::unknown, "routes could not be read");
    }
  }

  void judge_parts(const Route& want, RouteRow& row) {
    Part nexthop = Part::none, neighbor = Part::none, fdb = Part::none;
    if (want.via) {
      if (const Nexthop* object = want.by_nexthop ? find(want_.nexthops, {want.dev, want.via}) : nullptr)
        nexthop = part(*object, "nexthop", row);
      if (const Neighbor* object = find(want_.neighbors, {want.dev, want.via})) {
        neighbor = part(*object, "neighbor", row);
        if (const FdbEntry* entry = find(want_.fdb, {want.dev, object->mac})) fdb = part(*entry, "fdb", row);
      }
    }
    row.part_nexthop = to_string(nexthop);
    row.part_neighbor = to_string(neighbor);
    row.part_fdb = to_string(fdb);
    row.part_filter = to_string(judge_filters(want, row));
    row.part_peer = to_string(judge_peer(want, row));
    if (const PodMtu* pod = find(want_.pod_mtus, want.dev)) judge_pod_mtu(*pod, row);
  }

  // Every filter of the tunnel counts: without the one on an uplink no answer finds back.
  Part judge_filters(const Route& want, RouteRow& row) {
    Part worst = Part::none;
    for (const Filter& filter : want_.filters) {
      if (!want.dev || filter.tunnel != want.dev) continue;
      const std::string name =
          fmt::format("{} filter of {}", filter.end == TunnelEnd::encap ? "encap" : "decap", filter.dev.view());
      worst = std::max(worst, part(filter, name, row));
    }
    return worst;
  }

  Part judge_peer(const Route& want, RouteRow& row) {
    if (!want.dev) return Part::none;
    if (const TunnelPeer* peer = find(want_.tunnel_peers, {want.dev, want.dst})) return part(*peer, "tunnel peer", row);
    const auto it = wireguard_.find({want.dev, want.dst});
    return it != wireguard_.end() ? part(*it->second, "wireguard peer", row) : Part::none;
  }

  void judge_pod_mtu(const PodMtu& want, RouteRow& row) {
    const PodMtu* seen = find(seen_.pod_mtus, want.dev);
    if (seen == nullptr || same(want, *seen)) return;
    const std::string* reason = failure(describe(want));
    worsen(row, reason != nullptr ? RowState::pending : RowState::broken,
           fmt::format("its MTU {} is more than the {} that fit{}", seen->mtu, want.mtu,
                       reason != nullptr ? ": " + *reason : ""));
  }

  // The pump of a device, null for most.
  const TunnelPump* pump(const DevName& dev) const {
    const auto it = std::find_if(desired_.pumps.begin(), desired_.pumps.end(),
                                 [&](const TunnelPump& candidate) { return candidate.dev == dev; });
    return it != desired_.pumps.end() ? &*it : nullptr;
  }

  std::string_view path_of(const Route& want) const {
    if (!want.dev) return "-";
    const TunnelPump* userspace = pump(want.dev);
    if (userspace == nullptr) return "kernel";
    return userspace->fast_path ? "bpf" : "user";
  }

  RouteRow row_of(const Route& route) const {
    RouteRow row;
    row.dst = route.dst;
    row.via = route.via;
    row.others = route.others;
    row.onlink = route.onlink;
    row.table = route.table;
    row.metric = route.metric;
    row.mtu = route.mtu;
    row.mode = row.node = "-";
    row.path = row.part_nexthop = row.part_neighbor = row.part_fdb = row.part_filter = row.part_peer = "-";
    switch (route.type) {
      case RouteType::blackhole:
        row.dev = "blackhole";
        break;
      case RouteType::unreachable:
        row.dev = "unreachable";
        break;
      case RouteType::prohibit:
        row.dev = "prohibit";
        break;
      default:
        row.dev = route.dev ? route.dev.str() : "-";
    }
    return row;
  }

  void wanted(uint32_t index, size_t first, size_t end) {
    const Route& want = want_.routes[index];
    RouteRow row = row_of(want);
    const std::string& producer = desired_.producers.at(want.origin.producer);
    const std::string own_mode = view_.self.lease.mode.empty() ? view_.config.mode : view_.self.lease.mode;
    row.mode = producer == "node" ? own_mode : producer;
    row.source = producer == "pod" ? "cni" : producer == "bgp" ? "bgp" : "lease";
    const bool of_mode = producer != "node" && producer != "pod";
    row.node = want.origin.peer < desired_.peers.size() ? desired_.peers[want.origin.peer]
               : of_mode                                ? "-"
                                                        : view_.self.name;
    // A mode's route to no peer: what leads all of the network to its device, for those whom nobody has.
    if (of_mode && row.node == "-") row.source = "config";
    row.path = path_of(want);
    judge_link(want.dev, row);
    for (const RouteHop& hop : want.others) judge_link(hop.dev, row);
    judge_route(index, first, end, row);
    judge_parts(want, row);
    rows_.push_back(std::move(row));
    // What stands beside it at the same key, and is not ours, is told only where it is in the way (above).
  }

  void found(const Route& seen) {
    if (!own_.inside(seen.dst) || seen.table != Route::kMainTable || seen.type == RouteType::local) return;
    const Link* link = seen_.find_link(seen.dev);
    // The kernel's own route to the address of a device of ours.
    constexpr uint8_t kKernel = 2;
    if (seen.protocol == kKernel && link != nullptr && own_.owns(*link)) return;
    RouteRow row = row_of(seen);
    if (row.mtu == 0 && link != nullptr) row.mtu = link->mtu;
    if (!own_.owns(seen)) {
      row.source = route_protocol_name(seen.protocol);
      row.state = RowState::foreign;
      row.why = "not ours, left alone";
      rows_.push_back(std::move(row));
      return;
    }
    row.source = "kernel";
    row.state = RowState::stale;
    if (Ownership::is_pod_link(seen.dev.view()) && seen.dst.is_host()) {
      row.mode = "pod";
      row.node = view_.self.name;
      row.why = "no record of this pod; goes with its link";
    } else {
      if (const Link* device = want_.find_link(seen.dev)) row.mode = desired_.producers.at(device->origin.producer);
      const std::string* reason = failure(describe(seen));
      const std::string& mode = view_.self.lease.mode.empty() ? view_.config.mode : view_.self.lease.mode;
      if (desired_.hold.test(static_cast<size_t>(Kind::route))) {
        row.state = RowState::kept;
        row.why = "kept until BGP has told all";
      } else {
        const std::string_view gone = mode == "bgp" ? "not told any more" : "lease gone";
        row.why = fmt::format("{}; {}", gone, reason != nullptr ? *reason : "removing");
      }
    }
    rows_.push_back(std::move(row));
  }

  const ClusterView& view_;
  const DesiredState& desired_;
  const NetState& want_;
  const Observed& observed_;
  const NetState& seen_;
  const Failures& failures_;
  Ownership own_;
  std::map<uint32_t, const std::string*> foreign_;       // by index of the wanted route
  std::map<DevName, const std::string*> foreign_links_;  // by the wanted link's name
  std::map<std::pair<DevName, Prefix>, const WireguardPeer*> wireguard_;  // wanted, by what it may send
  std::vector<RouteRow> rows_;
};

// A row that knet wants has its mode named; what is only found has "-", or is stale.
bool is_wanted(const RouteRow& row) {
  return row.state != RowState::stale && row.state != RowState::kept && row.mode != "-";
}

}  // namespace

std::string_view to_string(RowState state) {
  switch (state) {
    case RowState::ok:
      return "ok";
    case RowState::pending:
      return "pending";
    case RowState::broken:
      return "broken";
    case RowState::foreign:
      return "foreign";
    case RowState::stale:
      return "stale";
    case RowState::kept:
      return "kept";
    case RowState::unknown:
      return "unknown";
  }
  return "unknown";
}

std::vector<RouteRow> route_rows(const ClusterView& view, const DesiredState& desired, const Observed& observed,
                                 const Plan& plan, const Failures& failures) {
  return Rows(view, desired, observed, plan, failures).make();
}

std::string verdict(const std::vector<RouteRow>& rows) {
  constexpr std::array order = {RowState::ok,      RowState::pending, RowState::broken,
                                RowState::foreign, RowState::stale,   RowState::kept,
                                RowState::unknown};
  std::string text;
  size_t total = 0;
  const auto count = [&](bool wanted) {
    std::string counts;
    for (const RowState state : order) {
      const auto n = std::count_if(rows.begin(), rows.end(),
                                   [&](const RouteRow& row) { return row.state == state && is_wanted(row) == wanted; });
      if (n == 0) continue;
      total += static_cast<size_t>(n);
      counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", n, to_string(state));
    }
    return counts;
  };
  const std::string wanted = count(true);
  text = total == 0 ? "0 wanted" : fmt::format("{} wanted: {}", total, wanted);
  if (const std::string also = count(false); !also.empty()) text += ".  also found: " + also;
  return text;
}

bool has_drift(const std::vector<RouteRow>& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const RouteRow& row) {
    switch (row.state) {
      case RowState::ok:
      case RowState::kept:
      case RowState::unknown:
        return false;
      case RowState::foreign:
        return is_wanted(row);
      case RowState::pending:
      case RowState::broken:
      case RowState::stale:
        return true;
    }
    return true;
  });
}

std::string route_protocol_name(uint8_t protocol) {
  for (const auto& [number, name] : kProtocols)
    if (number == protocol) return std::string(name);
  return std::to_string(protocol);
}

}  // namespace knet
