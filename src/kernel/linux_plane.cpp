#include "kernel/linux_plane.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "base/error.h"
#include "core/names.h"
#include "core/ownership.h"
#include "kernel/bpf_tunnel.h"
#include "kernel/plane_state.h"
#include "kernel/rtnl.h"
#include "kernel/rtnl_read.h"
#include "kernel/shortcut.h"
#include "kernel/sysctl.h"

namespace knet {

namespace {

bool wants(Kinds kinds, Kind kind) { return kinds.test(static_cast<size_t>(kind)); }

/// Devices whose neighbours and fdb entries are read: ours, but not the pods' (there may be hundreds, and all is
/// CNI's).
bool carries_peers(const LinkIndex::Entry& link) { return link.ours && is_agent_link(link.name.view()); }

}  // namespace

LinuxPlane::LinuxPlane() : state_(std::make_unique<State>()) {}
LinuxPlane::~LinuxPlane() = default;

Observed LinuxPlane::observe(Kinds kinds) { return state_->observe(kinds); }
std::vector<OpResult> LinuxPlane::apply(const Plan& plan) { return state_->apply(plan); }
std::vector<uint32_t> LinuxPlane::own_ports() const { return {state_->route.port(), state_->nft.port()}; }

void LinuxPlane::expect(const NetState& desired) {
  for (const Sysctl& sysctl : desired.sysctls) state_->sysctls[sysctl.path] = sysctl.dev;
  DevName dev;
  int index = 0;
  for (const WireguardPeer& peer : desired.wireguard_peers) {
    if (peer.dev != dev) index = link_index((dev = peer.dev).c_str());
    if (index) state_->wireguard.assume(index, peer);
  }
}

Observed LinuxPlane::State::observe(Kinds kinds) {
  Observed seen;
  NetState& net = seen.net;
  auto done = [&](Kind kind, bool whole) {
    if (whole && wants(kinds, kind)) seen.complete.set(static_cast<size_t>(kind));
  };
  Kinds by_device = only(Kind::link) | only(Kind::address) | only(Kind::neighbor) | only(Kind::fdb) |
                    only(Kind::wireguard_peer) | only(Kind::filter) | only(Kind::tunnel_peer) | only(Kind::shortcut) |
                    only(Kind::pod_mtu) | only(Kind::nexthop) | only(Kind::route);
  if ((kinds & by_device).any()) {
    std::vector<Link> links;
    // Without all names, nothing that hangs on a device can be said to be read whole.
    bool named = read_links(route, links);
    LinkIndex index(links);
    if (wants(kinds, Kind::link) || wants(kinds, Kind::wireguard_peer)) {
      std::vector<WireguardPeer> peers;
      done(Kind::wireguard_peer, read_wireguard(links, peers) && named);
      if (wants(kinds, Kind::wireguard_peer)) net.wireguard_peers = std::move(peers);
    }
    if (wants(kinds, Kind::filter) || wants(kinds, Kind::tunnel_peer)) {
      BpfTunnels tunnels(route, index);
      const bool whole = tunnels.whole() && named;
      if (wants(kinds, Kind::filter)) net.filters = tunnels.filters();
      done(Kind::filter, whole);
      if (wants(kinds, Kind::tunnel_peer)) done(Kind::tunnel_peer, tunnels.peers(net.tunnel_peers) && whole);
    }
    if (wants(kinds, Kind::shortcut)) {
      const Shortcuts shortcuts(route, index);
      net.shortcuts = shortcuts.found();
      done(Kind::shortcut, shortcuts.whole() && named);
    }
    done(Kind::pod_mtu, named);
    if (wants(kinds, Kind::pod_mtu))
      for (const Link& link : links)
        if (link.type == LinkType::veth && Ownership::is_pod_link(link.name.view())) {
          PodMtu& pod = net.pod_mtus.emplace_back();
          pod.dev = link.name;
          pod.mtu = link.mtu;
        }
    done(Kind::link, named);
    if (wants(kinds, Kind::link)) net.links = std::move(links);
    if (wants(kinds, Kind::address)) done(Kind::address, read_addresses(route, index, net.addresses) && named);
    for (Kind kind : {Kind::neighbor, Kind::fdb}) {
      bool whole = named;
      if (!wants(kinds, kind)) continue;
      for (const LinkIndex::Entry& link : index.all())
        if (carries_peers(link))
          whole = (kind == Kind::neighbor ? read_neighbors(route, link, net.neighbors)
                                          : link.type != LinkType::vxlan || read_fdb(route, link, net.fdb)) &&
                  whole;
      done(kind, whole);
    }
    if (wants(kinds, Kind::nexthop) || wants(kinds, Kind::route)) {
      std::vector<NexthopEntry> nexthops;
      bool whole = read_nexthops(route, nexthops) && named;
      done(Kind::nexthop, whole);
      if (wants(kinds, Kind::nexthop))
        for (const NexthopEntry& entry : nexthops)
          if (auto* link = index.find(entry.index); link && entry.protocol == Nexthop::kProtocol && !entry.group)
            net.nexthops.push_back({link->name, entry.via, entry.onlink, entry.protocol, entry.id, {}});
      if (wants(kinds, Kind::route)) done(Kind::route, read_routes(route, index, nexthops, net.routes) && whole);
    }
  }
  if (wants(kinds, Kind::sysctl)) {
    for (const auto& [path, dev] : sysctls)
      if (auto value = read_sysctl(path)) {
        Sysctl& sysctl = net.sysctls.emplace_back();
        sysctl.path = path;
        sysctl.value = std::move(*value);
        sysctl.dev = dev;
      }
    done(Kind::sysctl, true);
  }
  if (wants(kinds, Kind::forward_accept))
    done(Kind::forward_accept, nft.read_forward(net.forward_accepts, seen.forward_drops));
  if (wants(kinds, Kind::nft_table)) done(Kind::nft_table, nft.read_tables(net.nft_tables));
  sort_by_key(net);
  return seen;
}

bool LinuxPlane::State::read_wireguard(std::vector<Link>& links, std::vector<WireguardPeer>& peers) {
  bool whole = true;
  for (Link& link : links) {
    if (link.type != LinkType::wireguard) continue;
    // Foreign ones too: two can't listen on one port.
    const bool ours = link.ours && is_agent_link(link.name.view());
    WireguardAttrs attrs;
    std::vector<WireguardPeer> others;
    const bool read = wireguard.read(link.name, link.index, attrs, ours ? peers : others);
    if (read) link.wireguard = attrs;
    whole = whole && (read || !ours);
  }
  return whole;
}

std::optional<LinuxPlane::RouteAnswer> LinuxPlane::route_to(const IpAddr& dst, const IpAddr& src, const DevName& in) {
  NlSocket& socket = state_->route;
  RouteAnswer answer;
  int device = 0;
  auto ask = [&](uint32_t flags) {
    NlMessage message;
    rtmsg head{};
    head.rtm_family = static_cast<uint8_t>(af_of(dst));
    head.rtm_dst_len = static_cast<uint8_t>(dst.bits());
    head.rtm_src_len = static_cast<uint8_t>(src ? src.bits() : 0);
    head.rtm_flags = flags;
    message.begin(RTM_GETROUTE, 0, head).put_ip(RTA_DST, dst);
    if (src) message.put_ip(RTA_SRC, src);
    if (in) message.put_u32(RTA_IIF, static_cast<uint32_t>(link_index(in.c_str())));
    return socket.request(message, [&](const nlmsghdr* reply) {
      if (reply->nlmsg_type != RTM_NEWROUTE) return;
      auto* found = static_cast<const rtmsg*>(NLMSG_DATA(reply));
      Attrs<RTA_MAX> attrs(reply, sizeof *found);
      bool match = flags & RTM_F_FIB_MATCH;
      if (!match || !attrs[RTA_MULTIPATH]) {
        answer.type = route_type_of(found->rtm_type);
        answer.protocol = match ? found->rtm_protocol : answer.protocol;
      }
      if (match) {
        IpAddr any = dst.is_v4() ? IpAddr::v4(0) : *IpAddr::parse("::");
        answer.dst = Prefix(attrs[RTA_DST] ? attrs[RTA_DST].ip() : any, found->rtm_dst_len);
        return;
      }
      device = static_cast<int>(attrs[RTA_OIF].u32());
      answer.via = attrs[RTA_GATEWAY].ip();
      answer.src = attrs[RTA_PREFSRC].ip();
      if (attrs[RTA_METRICS]) answer.mtu = Attrs<RTAX_MTU>(attrs[RTA_METRICS])[RTAX_MTU].u32();
    });
  };
  // Two questions: the lookup tells device, gateway and source; the match tells which route it was (IPv4 from 4.13,
  // IPv6 from 4.16).
  NlFailure lookup = ask(0);
  NlFailure match = ask(RTM_F_FIB_MATCH);
  if (lookup.error) {
    // The kernel's errno for each kind of refusal: fib_props (net/ipv4/fib_semantics.c), ip6_rt_init_dst_reject.
    if (lookup.error == EINVAL)
      answer.type = RouteType::blackhole;
    else if (lookup.error == EHOSTUNREACH)
      answer.type = RouteType::unreachable;
    else if (lookup.error == EACCES)
      answer.type = RouteType::prohibit;
    else
      return std::nullopt;
    return answer;
  }
  if (match.error) answer.dst = {};
  std::vector<Link> links;
  read_links(socket, links);
  LinkIndex index(links);
  if (auto* link = index.find(device)) answer.dev = link->name;
  return answer;
}

}  // namespace knet
