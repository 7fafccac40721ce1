// LinuxPlane::apply: a plan's stages in order, each in as few sendmsg as fit; messages are built straight from the two
// states that the plan refers to.
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "kernel/bpf_tunnel.h"
#include "kernel/linux_plane_links.h"
#include "kernel/plane_state.h"
#include "kernel/pod_mtu.h"
#include "kernel/rtnl.h"
#include "kernel/rtnl_read.h"
#include "kernel/shortcut.h"
#include "kernel/sysctl.h"

namespace knet {

namespace {

constexpr int kCreate = NLM_F_CREATE | NLM_F_EXCL;
constexpr int kReplace = NLM_F_CREATE | NLM_F_REPLACE;
// Our nexthop ids: 'k' and three bytes, away from what people and daemons count up from 1.
constexpr uint32_t kFirstNexthopId = 0x6b000001;
constexpr uint32_t kLastNexthopId = 0x6bffffff;

/// Ids of our nexthop objects by (device, gateway), read once for an apply that needs them.
class NexthopIds {
 public:
  void read(NlSocket& socket) {
    if (read_) return;
    read_ = true;
    std::vector<NexthopEntry> found;
    read_nexthops(socket, found);
    for (const NexthopEntry& entry : found) {
      taken_.push_back(entry.id);
      if (entry.protocol == Nexthop::kProtocol && !entry.group) ids_.push_back({entry.index, entry.via, entry.id});
    }
    sorted_ = false;
  }
  uint32_t find(int index, const IpAddr& via) {
    if (!sorted_) std::stable_sort(ids_.begin(), ids_.end(), before);
    sorted_ = true;
    auto at = std::lower_bound(ids_.begin(), ids_.end(), Entry{index, via, 0}, before);
    return at != ids_.end() && at->index == index && at->via == via ? at->id : 0;
  }
  uint32_t add(int index, const IpAddr& via) {
    while (next_taken_ < taken_.size() && taken_[next_taken_] < next_) ++next_taken_;
    while (next_taken_ < taken_.size() && taken_[next_taken_] == next_) ++next_taken_, ++next_;
    if (next_ > kLastNexthopId) return 0;
    ids_.push_back({index, via, next_});
    sorted_ = false;
    return next_++;
  }
  /// For one whose making failed: later routes must not refer to it.
  void forget(uint32_t id) {
    std::erase_if(ids_, [&](const Entry& entry) { return entry.id == id; });
  }

 private:
  struct Entry {
    int index;
    IpAddr via;
    uint32_t id;
  };
  static bool before(const Entry& a, const Entry& b) { return a.index != b.index ? a.index < b.index : a.via < b.via; }
  std::vector<Entry> ids_;
  std::vector<uint32_t> taken_;  // ascending: the kernel dumps by id
  size_t next_taken_ = 0;
  uint32_t next_ = kFirstNexthopId;
  bool read_ = false;
  bool sorted_ = true;
};

/// Gone already is what a removal wants.
bool means_gone(int error) { return error == ENOENT || error == ESRCH || error == ENODEV || error == EADDRNOTAVAIL; }

class Applying {
 public:
  Applying(const Plan& plan, NlSocket& socket, NftTables& nft, Wireguard& wireguard)
      : plan_(plan), socket_(socket), nft_(nft), wireguard_(wireguard), links_(socket, wireguard), batch_(socket) {}

  std::vector<OpResult> run() {
    for (stage_ = 0; stage_ < plan_.stages.size(); ++stage_) {
      const Stage& stage = plan_.stages[stage_];
      for (op_ = 0; op_ < stage.ops.size(); ++op_) dispatch(stage.ops[op_]);
      send_wireguard_peers();
      for (NlFailure& failure : batch_.finish()) note(stage.ops[failure.cookie], failure);
      keep_ways(stage);
    }
    std::sort(failed_.begin(), failed_.end(), [](const OpResult& a, const OpResult& b) {
      return a.stage != b.stage ? a.stage < b.stage : a.op < b.op;
    });
    return std::move(failed_);
  }

 private:
  template <typename T>
  const T& object(const Op& op) const {
    return (op.object.observed ? plan_.observed : plan_.desired)->of<T>()[op.object.index];
  }

  /// Where a route could not be put in another's place, what the old one goes over has to stay: a failed op leaves what was.
  void keep_ways(const Stage& stage) {
    for (const OpResult& result : failed_) {
      if (result.stage != stage_) continue;
      const Op& op = stage.ops[result.op];
      if (op.object.kind != Kind::route || op.verb == Verb::remove) continue;
      const Route* old = seen_at(object<Route>(op));
      if (old == nullptr) continue;
      old->any_dev([&](const DevName& dev) {
        if (dev) kept_.push_back(dev);
        return false;
      });
    }
  }
  bool kept(const Op& op) const {
    bool is = false;
    for_each_kind(*plan_.observed, [&](const auto& objects) {
      using T = typename std::decay_t<decltype(objects)>::value_type;
      if (T::kKind != op.object.kind || std::is_same_v<T, Route>) return;
      const auto on = [&](const DevName& dev) { return std::find(kept_.begin(), kept_.end(), dev) != kept_.end(); };
      const T& object = objects[op.object.index];
      if constexpr (std::is_same_v<T, Link>) is = on(object.name);
      if constexpr (requires { object.dev; }) is = on(object.dev);
      if constexpr (std::is_same_v<T, Filter>) is = is || on(object.tunnel);
    });
    return is;
  }

  void dispatch(const Op& op) {
    if (op.verb == Verb::remove && !kept_.empty() && kept(op))
      return fail_op(ECANCELED, "skipped: a route that could not be replaced still goes this way");
    switch (op.object.kind) {
      case Kind::link:
        return link(op, object<Link>(op));
      case Kind::address:
        return address(op, object<Address>(op));
      case Kind::sysctl:
        return sysctl(object<Sysctl>(op));
      case Kind::neighbor:
        return neighbor(op, object<Neighbor>(op));
      case Kind::fdb:
        return fdb(op, object<FdbEntry>(op));
      case Kind::wireguard_peer:
        return wireguard_peer(op, object<WireguardPeer>(op));
      case Kind::pod_mtu:
        return now(op, lower_pod_mtu(socket_, object<PodMtu>(op)));
      case Kind::filter:
        return filter(op, object<Filter>(op));
      case Kind::tunnel_peer:
        return tunnel_peer(op, object<TunnelPeer>(op));
      case Kind::shortcut:
        return shortcut(op, object<Shortcut>(op));
      case Kind::nexthop:
        return nexthop(op, object<Nexthop>(op));
      case Kind::route:
        return route(op, object<Route>(op));
      case Kind::forward_accept: {
        const auto& accept = object<ForwardAccept>(op);
        return now(op, op.verb == Verb::remove ? nft_.remove_accept(accept) : nft_.add_accept(accept));
      }
      case Kind::nft_table: {
        const auto& table = object<NftTable>(op);
        return now(op, op.verb == Verb::remove ? nft_.remove_table(table.name) : nft_.write_table(table));
      }
    }
  }

  // --- tunnels through BPF, each done at once

  /// Found when the first of these is done: its devices and addresses are made by then.
  BpfTunnels& tunnels() {
    if (!tunnels_) {
      std::vector<Link> links;
      read_links(socket_, links);
      tunnels_.emplace(socket_, LinkIndex(links));
    }
    return *tunnels_;
  }
  void filter(const Op& op, const Filter& filter) {
    if (op.verb == Verb::remove) return now(op, tunnels().remove(filter));
    if (device_for(op, filter.dev) && device_for(op, filter.tunnel)) now(op, tunnels().put(filter));
  }
  void tunnel_peer(const Op& op, const TunnelPeer& peer) {
    if (op.verb == Verb::remove) return now(op, tunnels().remove(peer));
    if (device_for(op, peer.dev)) now(op, tunnels().put(peer));
  }

  void shortcut(const Op& op, const Shortcut& shortcut) {
    if (!shortcuts_) {
      std::vector<Link> links;
      read_links(socket_, links);
      shortcuts_.emplace(socket_, LinkIndex(links));
    }
    now(op, op.verb == Verb::remove ? shortcuts_->remove(shortcut) : shortcuts_->put(shortcut));
  }

  void send() { batch_.add(message_, static_cast<uint32_t>(op_)); }
  void fail_op(int error, std::string reason) {
    failed_.push_back({static_cast<uint32_t>(stage_), static_cast<uint32_t>(op_), error, std::move(reason)});
  }

  /// A refusal out of the batch.
  void note(const Op& op, NlFailure& failure) {
    if (op.verb == Verb::remove && means_gone(failure.error)) return;
    if (op.object.kind == Kind::nexthop && op.verb != Verb::remove) {
      const auto& lost = object<Nexthop>(op);
      if (uint32_t id = nexthops_.find(index_of(lost.dev), lost.via)) nexthops_.forget(id);
    }
    failed_.push_back({static_cast<uint32_t>(stage_), failure.cookie, failure.error, std::move(failure.reason)});
  }
  /// The answer to something done at once.
  void now(const Op& op, NlFailure result) {
    result.cookie = static_cast<uint32_t>(op_);
    if (result.error) note(op, result);
  }

  int index_of(const DevName& dev) {
    for (const auto& [name, index] : indexes_)
      if (name == dev) return index;
    int index = link_index(dev.c_str());
    if (index) indexes_.emplace_back(dev, index);
    return index;
  }
  /// The device's index, or 0 after having told why the op can't be.
  int device_for(const Op& op, const DevName& dev) {
    if (std::find(failed_links_.begin(), failed_links_.end(), dev) != failed_links_.end()) {
      fail_op(ECANCELED, fmt::format("skipped: {} could not be made or set", dev.view()));
      return 0;
    }
    int index = index_of(dev);
    if (!index && op.verb != Verb::remove) fail_op(ENODEV, fmt::format("there is no device {}", dev.view()));
    return index;
  }

  void link(const Op& op, const Link& link) {
    std::erase_if(indexes_, [&](const auto& entry) { return entry.first == link.name; });
    const Link* seen = plan_.observed ? plan_.observed->find_link(link.name) : nullptr;
    NlFailure result = op.verb == Verb::remove   ? links_.remove(link)
                       : op.verb == Verb::create ? links_.make(link)
                                                 : links_.change(link, seen);
    if (result.error && op.verb != Verb::remove) failed_links_.push_back(link.name);
    now(op, std::move(result));
  }

  void address(const Op& op, const Address& address) {
    int index = device_for(op, address.dev);
    if (!index) return;
    if (op.verb == Verb::remove)
      build_delete_address(message_, index, address.prefix);
    else
      build_new_address(message_, op.verb == Verb::create ? kCreate : kReplace, index, address.prefix);
    send();
  }

  void sysctl(const Sysctl& sysctl) {
    if (sysctl.dev && std::find(failed_links_.begin(), failed_links_.end(), sysctl.dev) != failed_links_.end())
      return fail_op(ECANCELED, fmt::format("skipped: {} could not be made or set", sysctl.dev.view()));
    int error = write_sysctl(sysctl.path, sysctl.value);
    if (!error) return;
    if (sysctl.optional && (error == ENOENT || error == EROFS || error == EACCES || error == EPERM)) {
      log::warning("/proc/sys/{} can't be set to {}: {}", sysctl.path, sysctl.value, errno_text(error));
      return;
    }
    fail_op(error, errno_text(error));
  }

  void neighbor(const Op& op, const Neighbor& neighbor) {
    int index = device_for(op, neighbor.dev);
    if (!index) return;
    // Replace for a create too: on a device of ours a dynamic entry (a failed resolution) may sit at the key.
    if (op.verb != Verb::remove) {
      build_new_neighbor(message_, kReplace, index, neighbor.ip, neighbor.mac, NUD_PERMANENT);
    } else {
      ndmsg head{};
      head.ndm_family = static_cast<uint8_t>(af_of(neighbor.ip));
      head.ndm_ifindex = index;
      message_.begin(RTM_DELNEIGH, 0, head).put_ip(NDA_DST, neighbor.ip);
    }
    send();
  }

  void fdb(const Op& op, const FdbEntry& entry) {
    int index = device_for(op, entry.dev);
    if (!index) return;
    ndmsg head{};
    head.ndm_family = AF_BRIDGE;
    head.ndm_ifindex = index;
    head.ndm_state = NUD_PERMANENT | NUD_NOARP;
    head.ndm_flags = NTF_SELF;
    bool remove = op.verb == Verb::remove;
    int flags = remove ? 0 : op.verb == Verb::create ? kCreate : kReplace;
    message_.begin(remove ? RTM_DELNEIGH : RTM_NEWNEIGH, flags, head);
    message_.put_mac(NDA_LLADDR, entry.mac);
    message_.put_ip(NDA_DST, entry.dst);
    send();
  }

  /// Gathered by device, and sent when the stage or the device ends.
  void wireguard_peer(const Op& op, const WireguardPeer& peer) {
    int index = device_for(op, peer.dev);
    if (!index) return;
    if (index != wireguard_index_) send_wireguard_peers();
    wireguard_index_ = index;
    wireguard_peers_.push_back({&peer, op.verb == Verb::remove, static_cast<uint32_t>(op_)});
  }
  void send_wireguard_peers() {
    if (wireguard_peers_.empty()) return;
    const auto& ops = plan_.stages[stage_].ops;
    for (NlFailure& failure : wireguard_.set_peers(wireguard_index_, wireguard_peers_))
      note(ops[failure.cookie], failure);
    wireguard_peers_.clear();
  }

  void nexthop(const Op& op, const Nexthop& nexthop) {
    nhmsg head{};
    if (op.verb == Verb::remove) {
      message_.begin(RTM_DELNEXTHOP, 0, head).put_u32(NHA_ID, nexthop.id);
      return send();
    }
    int index = device_for(op, nexthop.dev);
    if (!index) return;
    nexthops_.read(socket_);
    uint32_t id = op.verb == Verb::replace ? nexthops_.find(index, nexthop.via) : 0;
    int flags = id ? kReplace : kCreate;
    if (!id) id = nexthops_.add(index, nexthop.via);
    if (!id) return fail_op(ENOSPC, "no nexthop id is free");
    head.nh_family = static_cast<uint8_t>(af_of(nexthop.via));
    head.nh_protocol = nexthop.protocol;
    head.nh_flags = nexthop.onlink ? RTNH_F_ONLINK : 0;
    message_.begin(RTM_NEWNEXTHOP, flags, head);
    message_.put_u32(NHA_ID, id).put_u32(NHA_OIF, static_cast<uint32_t>(index)).put_ip(NHA_GATEWAY, nexthop.via);
    send();
  }

  // --- routes

  /// False after having told why not.
  bool resolve(const Op& op, const Route& route, RouteMessage& out) {
    out = {};
    out.dst = route.dst;
    out.table = route.table;
    out.metric = route.metric;
    out.type = route.type;
    out.src = route.src;
    out.onlink = route.onlink;
    out.protocol = route.protocol;
    out.mtu = route.mtu;
    if (route.type != RouteType::unicast || !route.dev) return true;
    if (!route.others.empty()) return resolve_hops(op, route, out);
    out.index = device_for(op, route.dev);
    if (!out.index) return false;
    out.via = route.via;
    if (!route.by_nexthop) return true;
    nexthops_.read(socket_);
    out.nexthop = nexthops_.find(out.index, route.via);
    if (out.nexthop || op.verb == Verb::remove) return true;
    fail_op(ECANCELED,
            fmt::format("skipped: there is no nexthop object for {} on {}", route.via.str(), route.dev.view()));
    return false;
  }

  /// For a removal, the next hops whose devices still stand.
  bool resolve_hops(const Op& op, const Route& route, RouteMessage& out) {
    out.others.reserve(route.others.size());
    const auto take = [&](const DevName& dev, const IpAddr& via, bool onlink) {
      const int index = device_for(op, dev);
      if (!index) return op.verb == Verb::remove;
      if (out.index) {
        out.others.push_back({index, via, onlink});
        return true;
      }
      out.index = index;
      out.via = via;
      out.onlink = onlink;
      return true;
    };
    if (!take(route.dev, route.via, route.onlink)) return false;
    for (const RouteHop& hop : route.others)
      if (!take(hop.dev, hop.via, hop.onlink)) return false;
    return out.index != 0;
  }

  void remove_route(const Op& op, const Route& route) {
    RouteMessage out;
    // A device that is gone took the route along.
    if (!resolve(op, route, out)) return;
    // IPv4's key names the route, whatever next hops are left of it (fib_nh_match() would have all of them the same).
    if (!route.others.empty() && route.dst.is_v4()) {
      out.index = 0;
      out.via = {};
      out.others.clear();
    }
    if (route.by_nexthop || route.multipath) {
      out.index = 0;
      out.via = {};
      out.others.clear();
    }
    if (route.multipath) out.nexthop = 0;
    build_delete_route(message_, out);
    send();
  }

  void route(const Op& op, const Route& route) {
    if (op.verb == Verb::remove) return remove_route(op, route);
    RouteMessage out;
    if (!resolve(op, route, out)) return;
    if (op.verb == Verb::replace && route.dst.is_v6()) {
      if (const Route* old = seen_at(route); old && !same_shape(*old, route)) {
        // IPv6 replaces only a route of the same shape (both with a gateway or both without, fib6_add_rt2node); with
        // another it would stand beside it. So: the new one first, then the old one goes.
        build_new_route(message_, NLM_F_CREATE | NLM_F_APPEND, out);
        send();
        return remove_route({Verb::remove, op.why, op.object}, *old);
      }
    }
    build_new_route(message_, op.verb == Verb::create ? kCreate : kReplace, out);
    send();
  }

  static bool same_shape(const Route& a, const Route& b) {
    return a.type == b.type && a.by_nexthop == b.by_nexthop && static_cast<bool>(a.via) == static_cast<bool>(b.via);
  }
  const Route* seen_at(const Route& route) const {
    const auto& seen = plan_.observed->routes;
    auto at = std::lower_bound(seen.begin(), seen.end(), route.key(),
                               [](const Route& a, const Route::Key& key) { return a.key() < key; });
    for (; at != seen.end() && at->key() == route.key(); ++at)
      if (at->protocol == Route::kProtocol) return &*at;
    return nullptr;
  }

  const Plan& plan_;
  NlSocket& socket_;
  NftTables& nft_;
  Wireguard& wireguard_;
  LinkMaker links_;
  NlBatch batch_;
  std::optional<BpfTunnels> tunnels_;
  std::optional<Shortcuts> shortcuts_;
  NlMessage message_;
  NexthopIds nexthops_;
  size_t stage_ = 0;
  size_t op_ = 0;
  std::vector<OpResult> failed_;
  std::vector<DevName> failed_links_;
  std::vector<DevName> kept_;  // devices of routes that could not be replaced
  std::vector<std::pair<DevName, int>> indexes_;
  int wireguard_index_ = 0;
  std::vector<WireguardPeerOp> wireguard_peers_;
};

}  // namespace

std::vector<OpResult> LinuxPlane::State::apply(const Plan& plan) {
  for (const Stage& stage : plan.stages)
    for (const Op& op : stage.ops)
      if (op.object.kind == Kind::sysctl && !op.object.observed) {
        const Sysctl& sysctl = plan.desired->sysctls[op.object.index];
        sysctls[sysctl.path] = sysctl.dev;
      }
  return Applying(plan, route, nft, wireguard).run();
}

}  // namespace knet
