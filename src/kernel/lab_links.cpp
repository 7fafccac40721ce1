#include "kernel/lab_links.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include "base/error.h"
#include "kernel/netlink.h"
#include "kernel/netns.h"
#include "kernel/rtnl.h"
#include "kernel/sysctl.h"

namespace knet {

namespace {

constexpr int kCreate = NLM_F_CREATE | NLM_F_EXCL;
constexpr int kLoopbackIndex = 1;
// Above the fallback tunnels (tunl0, sit0, ...) that a new namespace may hold at once.
constexpr int kFirstIndex = 100;
constexpr int kNicIndex = kFirstIndex;

class Messages {
 public:
  Messages() : socket_(NETLINK_ROUTE), batch_(socket_) {}
  NlMessage message;
  void add(std::string what) {
    batch_.add(message, static_cast<uint32_t>(steps_.size()));
    steps_.push_back(std::move(what));
  }
  void run() {
    const auto failures = batch_.finish();
    if (!failures.empty())
      fail(ErrorKind::kernel, "{}: {}", steps_.at(failures.front().cookie), failures.front().reason);
  }

 private:
  NlSocket socket_;
  NlBatch batch_;
  std::vector<std::string> steps_;
};

ifinfomsg up_link(int index) {
  ifinfomsg head{};
  head.ifi_index = index;
  head.ifi_flags = head.ifi_change = IFF_UP;
  return head;
}

void add_loopback(Messages& messages) {
  messages.message.begin(RTM_SETLINK, 0, up_link(kLoopbackIndex));
  messages.add("set up lo");
}

int segment_index(size_t segment) { return kFirstIndex + static_cast<int>(segment); }

void add_bridge(Messages& messages, const LabSegment& segment, int index) {
  NlMessage& message = messages.message;
  message.begin(RTM_NEWLINK, kCreate, up_link(index)).put_text(IFLA_IFNAME, segment.bridge.view());
  {
    auto info = message.nest(IFLA_LINKINFO);
    message.put_text(IFLA_INFO_KIND, "bridge");
    // No learning of groups: the first neighbour solicitations would wait for the querier's election.
    auto data = message.nest(IFLA_INFO_DATA);
    message.put_u8(IFLA_BR_MCAST_SNOOPING, 0);
  }
  messages.add("make bridge " + segment.bridge.str());
  for (const Prefix& address : segment.addresses) {
    build_new_address(message, kCreate, index, address);
    messages.add(fmt::format("give {} to {}", address.str(), segment.bridge.view()));
  }
}

void put_veth_peer(NlMessage& message, const LabNic& nic, uint32_t mtu) {
  auto info = message.nest(IFLA_LINKINFO);
  message.put_text(IFLA_INFO_KIND, "veth");
  auto data = message.nest(IFLA_INFO_DATA);
  auto peer = message.nest(VETH_INFO_PEER);
  ifinfomsg head{};  // not up: veth_open() refuses while its other end is not there yet
  head.ifi_index = kNicIndex;
  message.put_raw(&head, sizeof head);
  message.put_text(IFLA_IFNAME, nic.name.view()).put_u32(IFLA_MTU, mtu);
  message.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(nic.netns_fd));
}

void add_pair(Messages& messages, const LabNic& nic, size_t number, size_t segments, uint32_t mtu) {
  NlMessage& message = messages.message;
  message.begin(RTM_NEWLINK, kCreate, up_link(kFirstIndex + static_cast<int>(segments + number)));
  message.put_text(IFLA_IFNAME, nic.port.view()).put_u32(IFLA_MTU, mtu);
  message.put_u32(IFLA_MASTER, static_cast<uint32_t>(segment_index(nic.segment)));
  put_veth_peer(message, nic, mtu);
  messages.add(fmt::format("plug {} into the switch", nic.port.view()));
}

/// Else a link-local address is no source for a neighbour solicitation in its first second or two. Where there is no IPv6 there
/// is no such path.
void skip_duplicate_detection(std::string_view dev) {
  const std::string path = fmt::format("net/ipv6/conf/{}/accept_dad", dev);
  if (int error = write_sysctl(path, "0"); error && error != ENOENT) throw_errno(error, "set {}", path);
}

void set_up_nic(const LabNic& nic) {
  skip_duplicate_detection(nic.name.view());
  Messages messages;
  NlMessage& message = messages.message;
  add_loopback(messages);
  message.begin(RTM_SETLINK, 0, up_link(kNicIndex));
  messages.add(fmt::format("set up {} of {}", nic.name.view(), nic.port.view()));
  for (const Prefix& address : nic.addresses) {
    build_new_address(message, kCreate, kNicIndex, address);
    messages.add(fmt::format("give {} to {} of {}", address.str(), nic.name.view(), nic.port.view()));
  }
  for (const IpAddr& gateway : nic.gateways) {
    RouteMessage route;
    route.dst = Prefix(gateway.is_v4() ? IpAddr::v4(0) : *IpAddr::parse("::"), 0);
    route.index = kNicIndex;
    route.via = gateway;
    route.protocol = RTPROT_STATIC;
    build_new_route(message, kCreate, route);
    messages.add(fmt::format("default route via {} of {}", gateway.str(), nic.port.view()));
  }
  messages.run();
}

}  // namespace

void wire_lab(int switch_fd, const std::vector<LabSegment>& segments, const std::vector<LabNic>& nics, uint32_t mtu) {
  in_netns(switch_fd, [&] {
    skip_duplicate_detection("default");
    Messages messages;
    add_loopback(messages);
    for (size_t i = 0; i < segments.size(); ++i) add_bridge(messages, segments[i], segment_index(i));
    for (size_t i = 0; i < nics.size(); ++i) add_pair(messages, nics[i], i, segments.size(), mtu);
    messages.run();
    for (const char* path : {"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"})
      if (int error = write_sysctl(path, "1"); error && error != ENOENT)
        throw_errno(error, "set {} in the switch", path);
  });
  for (const LabNic& nic : nics) in_netns(nic.netns_fd, [&] { set_up_nic(nic); });
}

void join_namespaces(const LabNic& one, const LabNic& other, uint32_t mtu) {
  in_netns(one.netns_fd, [&] {
    Messages messages;
    NlMessage& message = messages.message;
    ifinfomsg head{};
    head.ifi_index = kNicIndex;
    message.begin(RTM_NEWLINK, kCreate, head).put_text(IFLA_IFNAME, one.name.view()).put_u32(IFLA_MTU, mtu);
    put_veth_peer(message, other, mtu);
    messages.add(fmt::format("join {} and {}", one.port.view(), other.port.view()));
    messages.run();
  });
  for (const LabNic* nic : {&one, &other}) in_netns(nic->netns_fd, [&] { set_up_nic(*nic); });
}

}  // namespace knet
