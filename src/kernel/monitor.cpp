#include "kernel/monitor.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netconf.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <unordered_map>

#include "base/digest.h"
#include "base/error.h"
#include "base/fd.h"
#include "core/names.h"
#include "core/ownership.h"
#include "kernel/netlink.h"

namespace knet {

namespace {

enum class Whose : uint8_t { agent, pod, other };

Whose whose(std::string_view name) {
  if (Ownership::is_pod_link(name)) return Whose::pod;
  return is_agent_link(name) ? Whose::agent : Whose::other;
}

const Kinds kTunnels = only(Kind::filter) | only(Kind::tunnel_peer) | only(Kind::shortcut);
const Kinds kOnAnyLink =
    only(Kind::link) | only(Kind::address) | only(Kind::sysctl) | only(Kind::nexthop) | only(Kind::route) | kTunnels;
const Kinds kOnAgentLink = kOnAnyLink | only(Kind::neighbor) | only(Kind::fdb) | only(Kind::wireguard_peer);
// A pod's veth: only its host routes hang on it, and they vanish silently when it goes down.
const Kinds kOnPodLink = only(Kind::link) | only(Kind::route) | only(Kind::pod_mtu) | only(Kind::shortcut);
// An address that goes takes IPv4 routes along without a word.
const Kinds kOnAddress = only(Kind::address) | only(Kind::nexthop) | only(Kind::route) | only(Kind::filter);

}  // namespace

namespace {

/// Of IPsec policies; null where there can be none, or they may not be watched.
std::unique_ptr<NlSocket> watch_ipsec() {
  try {
    auto socket = std::make_unique<NlSocket>(NETLINK_XFRM);
    socket->join(XFRMNLGRP_POLICY);
    return socket;
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace

struct KernelMonitor::State {
  struct Known {
    Whose whose = Whose::other;
    uint64_t looks = 0;  // fingerprint of what matters of it
  };

  explicit State(std::vector<uint32_t> ports) : own_ports(std::move(ports)) {}

  NlSocket route{NETLINK_ROUTE};
  std::unique_ptr<NlSocket> nft = open_netfilter_socket();
  std::unique_ptr<NlSocket> ipsec = watch_ipsec();
  Fd epoll{epoll_create1(EPOLL_CLOEXEC)};
  std::vector<uint32_t> own_ports;
  std::unordered_map<int, Known> links;

  bool own(const nlmsghdr* message) const {
    return message->nlmsg_pid && std::find(own_ports.begin(), own_ports.end(), message->nlmsg_pid) != own_ports.end();
  }

  Whose whose_link(int index) const {
    auto at = links.find(index);
    return at == links.end() ? Whose::other : at->second.whose;
  }

  /// The kinds that a link's message dirties; nothing where all that matters is as it was (statistics, promiscuity,
  /// a bridge port's state).
  Kinds link_event(const nlmsghdr* message) {
    auto* head = static_cast<const ifinfomsg*>(NLMSG_DATA(message));
    if (head->ifi_family == AF_BRIDGE) return {};
    Attrs<IFLA_CARRIER> attrs(message, sizeof *head);
    std::string_view name = attrs[IFLA_IFNAME].text();
    Known now{whose(name), 0};
    uint32_t flags = head->ifi_flags & (IFF_UP | IFF_LOWER_UP | IFF_RUNNING);
    now.looks = fingerprint(fmt::format("{} {} {} {} {}", name, flags, attrs[IFLA_MTU].u32(),
                                        attrs[IFLA_ADDRESS].mac().str(), attrs[IFLA_IFALIAS].text()));
    Kinds all = now.whose == Whose::agent ? kOnAgentLink : now.whose == Whose::pod ? kOnPodLink : kOnAnyLink;
    if (message->nlmsg_type == RTM_DELLINK) {
      links.erase(head->ifi_index);
      return all;
    }
    auto [at, fresh] = links.try_emplace(head->ifi_index, now);
    if (!fresh && at->second.looks == now.looks) return {};
    // A name that changed took everything along from the old one's owner.
    if (!fresh && at->second.whose != now.whose) all = kOnAgentLink;
    at->second = now;
    return all;
  }

  Kinds route_socket_event(const nlmsghdr* message) {
    switch (message->nlmsg_type) {
      case RTM_NEWLINK:
      case RTM_DELLINK: {
        Kinds kinds = link_event(message);  // also keeps the names
        return own(message) ? Kinds{} : kinds;
      }
      case RTM_NEWADDR:
      case RTM_DELADDR: {
        auto* head = static_cast<const ifaddrmsg*>(NLMSG_DATA(message));
        if (own(message) || whose_link(static_cast<int>(head->ifa_index)) == Whose::pod) return {};
        return kOnAddress;
      }
      case RTM_NEWROUTE:
      case RTM_DELROUTE: {
        auto* head = static_cast<const rtmsg*>(NLMSG_DATA(message));
        if (own(message) || head->rtm_table != RT_TABLE_MAIN || (head->rtm_flags & RTM_F_CLONED)) return {};
        return only(Kind::route);
      }
      case RTM_NEWNEXTHOP:
      case RTM_DELNEXTHOP:
        return own(message) ? Kinds{} : only(Kind::nexthop) | only(Kind::route);
      case RTM_NEWNEIGH:
      case RTM_DELNEIGH: {
        auto* head = static_cast<const ndmsg*>(NLMSG_DATA(message));
        if (own(message) || whose_link(head->ndm_ifindex) != Whose::agent) return {};
        return only(head->ndm_family == AF_BRIDGE ? Kind::fdb : Kind::neighbor);
      }
      case RTM_NEWTFILTER:
      case RTM_DELTFILTER:
      case RTM_NEWQDISC:    // a shortcut would pass its filters by
      case RTM_DELQDISC: {  // a clsact takes its filters along without a word of them
        auto* head = static_cast<const tcmsg*>(NLMSG_DATA(message));
        if (own(message)) return {};
        return whose_link(head->tcm_ifindex) == Whose::pod ? only(Kind::shortcut) : kTunnels;
      }
      case RTM_NEWNETCONF: {
        // Comes with each new device too, before its link event, which is the one that counts.
        Attrs<NETCONFA_IFINDEX> attrs(message, sizeof(netconfmsg));
        int index = static_cast<int>(attrs[NETCONFA_IFINDEX].u32());
        bool news = index < 0 || (links.contains(index) && whose_link(index) != Whose::pod);
        return news ? only(Kind::sysctl) : Kinds{};
      }
      default:
        return {};
    }
  }

  Kinds nft_event(const nlmsghdr* message) {
    if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_NFTABLES || own(message)) return {};
    int type = NFNL_MSG_TYPE(message->nlmsg_type);
    if (type == NFT_MSG_NEWGEN) return {};
    uint8_t family = static_cast<const nfgenmsg*>(NLMSG_DATA(message))->nfgen_family;
    // The table's name is attribute 1 of every kind of nf_tables message.
    auto table = Attrs<NFTA_TABLE_NAME>(message, sizeof(nfgenmsg))[NFTA_TABLE_NAME].text();
    if (family == NFPROTO_INET && (table == "knet" || table.starts_with("knet-"))) return only(Kind::nft_table);
    // Somebody else's chains at devices' ingress, which a shortcut would pass by.
    if (family == NFPROTO_NETDEV) return only(Kind::shortcut);
    if (family != NFPROTO_INET && family != NFPROTO_IPV4 && family != NFPROTO_IPV6) return {};
    // Somebody else's: a chain that begins to drop, or a rule of ours that was taken out.
    bool matters = type == NFT_MSG_NEWTABLE || type == NFT_MSG_DELTABLE || type == NFT_MSG_NEWCHAIN ||
                   type == NFT_MSG_DELCHAIN || type == NFT_MSG_DELRULE;
    if (family == NFPROTO_INET && (type == NFT_MSG_NEWCHAIN || type == NFT_MSG_DELCHAIN)) {
      const Attr nest = Attrs<NFTA_CHAIN_HOOK>(message, sizeof(nfgenmsg))[NFTA_CHAIN_HOOK];
      if (nest && Attrs<NFTA_HOOK_HOOKNUM>(nest)[NFTA_HOOK_HOOKNUM].be32() == NF_INET_INGRESS)
        return only(Kind::forward_accept) | only(Kind::shortcut);
    }
    return matters ? only(Kind::forward_accept) : Kinds{};
  }

  /// What there is before the first event.
  void learn_links() {
    NlMessage message;
    ifinfomsg head{};
    NlSocket socket(NETLINK_ROUTE);
    socket.dump(
        message.begin(RTM_GETLINK, 0, head), [&] { links.clear(); },
        [&](const nlmsghdr* answer) { link_event(answer); });
  }
};

KernelMonitor::KernelMonitor(std::vector<uint32_t> own_ports) : state_(std::make_unique<State>(std::move(own_ports))) {
  for (unsigned group : {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
                         RTNLGRP_NEIGH, RTNLGRP_TC, RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF})
    state_->route.join(group);
  // These two are not everywhere (before 5.3; without privilege or nf_tables): the periodic scan is all there is then.
  for (auto [socket, group] : {std::pair<NlSocket*, unsigned>{&state_->route, RTNLGRP_NEXTHOP},
                               std::pair<NlSocket*, unsigned>{state_->nft.get(), NFNLGRP_NFTABLES}}) {
    if (!socket) continue;
    try {
      socket->join(group);
    } catch (const Error&) {
    }
  }
  for (const NlSocket* socket : {&state_->route, state_->nft.get(), state_->ipsec.get()}) {
    if (!socket) continue;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = socket->fd();
    if (epoll_ctl(state_->epoll.get(), EPOLL_CTL_ADD, socket->fd(), &event) < 0)
      throw_errno(errno, "watch the kernel's notifications");
  }
  state_->learn_links();
}

KernelMonitor::~KernelMonitor() = default;
int KernelMonitor::fd() const { return state_->epoll.get(); }

Kinds KernelMonitor::drain() {
  Kinds dirty;
  State& state = *state_;
  bool whole =
      state.route.receive_waiting([&](const nlmsghdr* message) { dirty |= state.route_socket_event(message); });
  if (state.nft)
    whole = state.nft->receive_waiting([&](const nlmsghdr* message) { dirty |= state.nft_event(message); }) && whole;
  if (state.ipsec)
    whole = state.ipsec->receive_waiting([&](const nlmsghdr*) { dirty |= only(Kind::shortcut); }) && whole;
  if (whole) return dirty;
  state.learn_links();
  return all_kinds();
}

}  // namespace knet
