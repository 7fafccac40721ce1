#include "kernel/pod_link.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sys/random.h>

#include <cstring>

#include "base/error.h"
#include "core/ownership.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/rtnl.h"
#include "kernel/sysctl.h"

namespace knet {

namespace {

constexpr int kCreate = NLM_F_CREATE | NLM_F_EXCL;
constexpr int kLoopbackIndex = 1;

bool has_family(const PodLinkRequest& request, Family family) {
  for (const IpAddr& ip : request.addresses)
    if (ip.family() == family) return true;
  return false;
}

Mac random_mac() {
  Mac mac;
  if (getrandom(mac.bytes.data(), mac.bytes.size(), 0) != static_cast<ssize_t>(mac.bytes.size()))
    throw_errno(errno, "draw a random MAC");
  mac.bytes[0] = static_cast<uint8_t>((mac.bytes[0] & 0xfe) | 0x02);
  return mac;
}

void build_set_link(NlMessage& message, int index, bool up) {
  ifinfomsg head{};
  head.ifi_index = index;
  if (up) head.ifi_flags = head.ifi_change = IFF_UP;
  message.begin(RTM_SETLINK, 0, head);
}

void build_addr_gen_mode(NlMessage& message, int index, uint8_t mode) {
  build_set_link(message, index, false);
  auto families = message.nest(IFLA_AF_SPEC);
  auto inet6 = message.nest(AF_INET6);
  message.put_u8(IFLA_INET6_ADDR_GEN_MODE, mode);
}

void build_pair(NlMessage& message, const PodLinkRequest& request, const Mac& mac) {
  ifinfomsg head{};
  message.begin(RTM_NEWLINK, kCreate, head);
  message.put_text(IFLA_IFNAME, request.host_dev.view());
  message.put_mac(IFLA_ADDRESS, pod_gateway_mac());
  if (request.mtu) message.put_u32(IFLA_MTU, request.mtu);
  // One queue: the kernel's default is one for each CPU, on both ends, for nothing on a veth without XDP.
  message.put_u32(IFLA_NUM_TX_QUEUES, 1).put_u32(IFLA_NUM_RX_QUEUES, 1);
  auto info = message.nest(IFLA_LINKINFO);
  message.put_text(IFLA_INFO_KIND, "veth");
  auto data = message.nest(IFLA_INFO_DATA);
  auto peer = message.nest(VETH_INFO_PEER);
  message.put_raw(&head, sizeof head);
  message.put_text(IFLA_IFNAME, request.ifname);
  message.put_mac(IFLA_ADDRESS, mac);
  if (request.mtu) message.put_u32(IFLA_MTU, request.mtu);
  message.put_u32(IFLA_NUM_TX_QUEUES, 1).put_u32(IFLA_NUM_RX_QUEUES, 1);
  message.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(request.netns_fd));
}

/// The gateway as an address of the host's end, so that the kernel answers ARP for it at once: proxy ARP would answer
/// after a random delay of up to 0.8 s, and only while the host has a route that leads to 169.254.1.1 elsewhere. Scope
/// host: never chosen as the source of what the host sends to the pod.
void build_gateway_address(NlMessage& message, int index) {
  IpAddr gateway = pod_gateway(Family::v4);
  ifaddrmsg head{};
  head.ifa_family = AF_INET;
  head.ifa_prefixlen = 32;
  head.ifa_index = static_cast<uint32_t>(index);
  head.ifa_scope = RT_SCOPE_HOST;
  message.begin(RTM_NEWADDR, kCreate, head).put_ip(IFA_LOCAL, gateway).put_ip(IFA_ADDRESS, gateway);
}

/// The device that holds the route to this address, or what kind it is; for messages.
std::string holder_of_route(NlSocket& socket, const IpAddr& ip) {
  NlMessage get;
  rtmsg head{};
  head.rtm_family = static_cast<uint8_t>(af_of(ip));
  head.rtm_dst_len = static_cast<uint8_t>(ip.bits());
  get.begin(RTM_GETROUTE, 0, head).put_ip(RTA_DST, ip);
  std::string holder = "another route";
  socket.request(get, [&](const nlmsghdr* answer) {
    Attrs<RTA_MAX> attrs(answer, sizeof(rtmsg));
    NlMessage link;
    ifinfomsg wanted{};
    wanted.ifi_index = static_cast<int>(attrs[RTA_OIF].u32());
    char name[IFNAMSIZ] = {};
    NlSocket names(NETLINK_ROUTE);
    names.request(link.begin(RTM_GETLINK, 0, wanted), [&](const nlmsghdr* found) {
      auto text = Attrs<IFLA_IFNAME>(found, sizeof(ifinfomsg))[IFLA_IFNAME].text();
      memcpy(name, text.data(), std::min(text.size(), sizeof name - 1));
    });
    if (name[0]) holder = fmt::format("a route over {}", name);
  });
  return holder;
}

void throw_first(const std::vector<NlFailure>& failures, const std::vector<std::string>& steps) {
  if (failures.empty()) return;
  const NlFailure& first = failures.front();
  fail(first.error == EEXIST ? ErrorKind::conflict : ErrorKind::kernel, "{}: {}", steps[first.cookie], first.reason);
}

/// A batch whose messages each say what they do, for the error.
class Steps {
 public:
  explicit Steps(NlSocket& socket) : batch_(socket) {}
  NlMessage message;
  void add(std::string what) {
    batch_.add(message, static_cast<uint32_t>(steps_.size()));
    steps_.push_back(std::move(what));
  }
  std::vector<NlFailure> finish() { return batch_.finish(); }
  void run() { throw_first(finish(), steps_); }
  const std::vector<std::string>& steps() const { return steps_; }

 private:
  NlBatch batch_;
  std::vector<std::string> steps_;
};

void make_pair(NlSocket& host, const PodLinkRequest& request, const Mac& mac) {
  NlMessage message;
  build_pair(message, request, mac);
  NlFailure failure = host.request(message);
  if (failure.error == 0) return;
  if (failure.error == EEXIST) {
    if (link_index(request.host_dev.c_str()))
      fail(ErrorKind::conflict, "the host's device {} exists already", request.host_dev.view());
    fail(ErrorKind::conflict, "the pod has an interface {} already", request.ifname);
  }
  fail(ErrorKind::kernel, "make the veth pair {} and {}: {}", request.host_dev.view(), request.ifname, failure.reason);
}

void set_up_host_end(NlSocket& host, const PodLinkRequest& request, int index, const Mac& pod_mac) {
  std::string dev = request.host_dev.str();
  bool v6 = has_family(request, Family::v6);
  if (v6) {
    // Best effort: /proc may be read-only. The address below is made without detection anyway; this serves a later
    // down/up.
    write_sysctl("net/ipv6/conf/" + dev + "/accept_dad", "0");
    write_sysctl("net/ipv6/conf/" + dev + "/accept_ra", "0");
    if (auto off = read_sysctl("net/ipv6/conf/" + dev + "/disable_ipv6"); off && *off == "1")
      write_sysctl("net/ipv6/conf/" + dev + "/disable_ipv6", "0");
  } else {
    write_sysctl("net/ipv6/conf/" + dev + "/disable_ipv6", "1");
  }

  Steps steps(host);
  NlMessage& message = steps.message;
  if (v6) {
    build_addr_gen_mode(message, index, IN6_ADDR_GEN_MODE_NONE);
    steps.add("prepare IPv6 on " + dev);
  }
  {
    build_set_link(message, index, true);
    message.put(IFLA_IFALIAS, kLinkAlias.data(), kLinkAlias.size());
    auto families = message.nest(IFLA_AF_SPEC);
    auto inet = message.nest(AF_INET);
    auto conf = message.nest(IFLA_INET_CONF);
    // Attribute types are the IPV4_DEVCONF_* numbers (inet_set_link_af): no walk through /proc/sys.
    message.put_u32(IPV4_DEVCONF_RP_FILTER, 1).put_u32(IPV4_DEVCONF_FORWARDING, 1);
  }
  steps.add("set up " + dev);
  if (has_family(request, Family::v4)) {
    build_gateway_address(message, index);
    steps.add("give " + dev + " the pods' gateway address");
  }
  if (v6) {
    build_new_address(message, kCreate, index, Prefix(pod_gateway(Family::v6), 64));
    steps.add("give " + dev + " its link-local address");
    build_addr_gen_mode(message, index, IN6_ADDR_GEN_MODE_EUI64);
    steps.add("set IPv6 on " + dev);
  }
  size_t first_route = steps.steps().size();
  std::vector<IpAddr> route_of_step;
  for (const IpAddr& ip : request.addresses) {
    RouteMessage route;
    route.dst = Prefix::host(ip);
    route.index = index;
    build_new_route(message, kCreate, route);
    steps.add(fmt::format("route to the pod's address {} over {}", ip.str(), dev));
  }
  // Stale, not permanent: used at once, yet checked by the kernel and relearnt should the pod change its MAC.
  for (const IpAddr& ip : request.addresses) {
    build_new_neighbor(message, NLM_F_CREATE | NLM_F_REPLACE, index, ip, pod_mac, NUD_STALE);
    steps.add(fmt::format("neighbour {} on {}", ip.str(), dev));
  }
  auto failures = steps.finish();
  for (const NlFailure& failure : failures)
    if (failure.error == EEXIST && failure.cookie >= first_route) {
      const IpAddr& ip = request.addresses.at(failure.cookie - first_route);
      fail(ErrorKind::conflict, "the pod's address {} is taken: {} leads there", ip.str(), holder_of_route(host, ip));
    }
  throw_first(failures, steps.steps());
}

void set_up_pod_end(const PodLinkRequest& request) {
  bool v6 = has_family(request, Family::v6);
  NlSocket pod(NETLINK_ROUTE);
  int index = link_index(request.ifname.c_str());
  if (!index) fail(ErrorKind::kernel, "the pod's interface {} is gone", request.ifname);
  if (v6) {
    // Container runtimes switch IPv6 off in namespaces that they think have none.
    for (const std::string& dev : {std::string("lo"), request.ifname})
      if (auto off = read_sysctl("net/ipv6/conf/" + dev + "/disable_ipv6"); off && *off == "1")
        if (int error = write_sysctl("net/ipv6/conf/" + dev + "/disable_ipv6", "0"))
          throw_errno(error, "switch IPv6 on for {} in the pod", dev);
    write_sysctl("net/ipv6/conf/" + request.ifname + "/accept_dad", "0");
  }
  Steps steps(pod);
  NlMessage& message = steps.message;
  build_set_link(message, kLoopbackIndex, true);
  steps.add("set up lo in the pod");
  if (!v6) {
    build_addr_gen_mode(message, index, IN6_ADDR_GEN_MODE_NONE);
    steps.add("leave IPv6 alone in the pod");
  }
  build_set_link(message, index, true);
  steps.add("set up " + request.ifname + " in the pod");
  for (Family family : {Family::v4, Family::v6}) {
    if (!has_family(request, family)) continue;
    IpAddr gateway = pod_gateway(family);
    build_new_neighbor(message, NLM_F_CREATE | NLM_F_REPLACE, index, gateway, pod_gateway_mac(), NUD_PERMANENT);
    steps.add("neighbour " + gateway.str() + " in the pod");
    RouteMessage route;
    route.index = index;
    route.protocol = RTPROT_BOOT;
    if (family == Family::v4) {  // an IPv6 link-local gateway is on link by nature
      route.dst = Prefix::host(gateway);
      build_new_route(message, kCreate, route);
      steps.add("route to " + gateway.str() + " in the pod");
    }
    if (!request.default_route) continue;
    route.dst = Prefix(family == Family::v4 ? IpAddr::v4(0) : *IpAddr::parse("::"), 0);
    route.via = gateway;
    uint32_t mtu = family == Family::v4 ? request.mtu_v4 : request.mtu_v6;
    if (mtu && (!request.mtu || mtu < request.mtu)) route.mtu = mtu;
    build_new_route(message, kCreate, route);
    steps.add("default route via " + gateway.str() + " in the pod");
  }
  for (const IpAddr& ip : request.addresses) {
    build_new_address(message, kCreate, index, Prefix::host(ip));
    steps.add("address " + ip.str() + " in the pod");
  }
  steps.run();
}

}  // namespace

PodLinkResult add_pod_link(const PodLinkRequest& request) {
  PodLinkResult result;
  result.mac = request.mac ? *request.mac : random_mac();
  result.host_mac = pod_gateway_mac();
  NlSocket host(NETLINK_ROUTE);
  make_pair(host, request, result.mac);
  Undo unmake([&] {
    try {
      remove_pod_link(request.host_dev);
    } catch (const Error&) {
      // The first error is the one that is told; CNI's DEL will find what is left.
    }
  });
  int index = link_index(request.host_dev.c_str());
  if (!index) fail(ErrorKind::kernel, "the device {} is gone", request.host_dev.view());
  set_up_host_end(host, request, index, result.mac);
  // Last, with the host's end up: the pod's end then has its carrier at once, and the first packet is not dropped.
  in_netns(request.netns_fd, [&] { set_up_pod_end(request); });
  // Asking for a link makes newer kernels carry out its carrier change now; else a worker does, up to 1 s later where
  // both ends happen to have the same index (linkwatch_urgent_event).
  NlMessage message;
  ifinfomsg head{};
  head.ifi_index = index;
  host.request(message.begin(RTM_GETLINK, 0, head));
  unmake.dismiss();
  return result;
}

bool remove_pod_link(const DevName& host_dev) {
  NlSocket host(NETLINK_ROUTE);
  NlMessage message;
  ifinfomsg head{};
  message.begin(RTM_DELLINK, 0, head).put_text(IFLA_IFNAME, host_dev.view());
  NlFailure failure = host.request(message);
  if (failure.error == ENODEV) return false;
  if (failure.error) fail(ErrorKind::kernel, "delete {}: {}", host_dev.view(), failure.reason);
  return true;
}

void loopback_up(int netns_fd) {
  in_netns(netns_fd, [] {
    NlSocket socket(NETLINK_ROUTE);
    NlMessage message;
    build_set_link(message, kLoopbackIndex, true);
    NlFailure failure = socket.request(message);
    if (failure.error) fail(ErrorKind::kernel, "set up lo in the pod: {}", failure.reason);
  });
}

}  // namespace knet
