// What each event from outside dirties, and that our own changes come to nothing.
#include "kernel/monitor.h"

#include <poll.h>

#include <catch2/catch.hpp>

#include "core/plan.h"
#include "kernel/linux_plane.h"
#include "kernel/pod_link.h"
#include "own_netns.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

namespace {

/// A node with a vxlan device, a nexthop, a route and a table, all made by the plane.
struct Node {
  DesiredState desired;
  LinuxPlane plane;

  Node() {
    // No link-local addresses: their detection ends in the middle of a case.
    run("ip link add eth0 type veth peer name eth1; ip link set eth0 addrgenmode none; ip link set eth1 addrgenmode "
        "none");
    run("ip link set eth0 up; ip link set eth1 up");
    run("ip address add 192.168.77.1/24 dev eth0");
    NetState& net = desired.net;
    net.links.push_back(vxlan("knet.1", 1, "192.168.77.1", "eth0"));
    net.addresses.push_back(address("knet.1", "10.244.1.0/32"));
    net.neighbors.push_back(neighbor("knet.1", "10.244.2.0", "02:00:00:00:01:02"));
    net.fdb.push_back(fdb("knet.1", "02:00:00:00:01:02", "192.168.77.2"));
    net.nexthops.push_back(nexthop("knet.1", "10.244.2.0", true));
    net.routes.push_back(route("10.244.2.0/24", "knet.1", "10.244.2.0"));
    net.routes[0].by_nexthop = net.routes[0].onlink = true;
    NftTable table;
    table.name = "knet";
    NftChain chain;
    chain.name = "postrouting";
    chain.nat = true;
    chain.rules.push_back({"one", {NftMarkIs{}, NftReturn{}}});
    table.rules.chains.push_back(chain);
    table.digest = digest(table.rules);
    net.nft_tables.push_back(table);
    sort_by_key(net);
  }
  void apply(const DesiredState& to) {
    Ownership own;
    own.networks = {prefix("10.244.0.0/16")};
    Observed seen = plane.observe(all_kinds());
    REQUIRE(plane.apply(diff(to, seen, own)).empty());
  }
};

bool waiting(const KernelMonitor& monitor) {
  pollfd entry{monitor.fd(), POLLIN, 0};
  return poll(&entry, 1, 0) == 1;
}

/// What is dirty when nothing more comes: some of the kernel's work (carrier) is done a moment later.
Kinds settled(KernelMonitor& monitor) {
  Kinds dirty;
  pollfd entry{monitor.fd(), POLLIN, 0};
  while (poll(&entry, 1, 150) == 1) dirty |= monitor.drain();
  return dirty;
}

Kinds kinds(std::initializer_list<Kind> list) {
  Kinds all;
  for (Kind kind : list) all |= only(kind);
  return all;
}

}  // namespace

TEST_CASE("each event dirties its kinds") {
  OwnNetns netns;
  if (!netns.ready()) return;
  Node node;
  node.apply(node.desired);
  KernelMonitor monitor(node.plane.own_ports());
  settled(monitor);
  CHECK_FALSE(waiting(monitor));
  auto after = [&](const std::string& command) {
    run(command);
    return settled(monitor);
  };
  const Kinds on_link = kinds({Kind::link, Kind::address, Kind::sysctl, Kind::nexthop, Kind::route});

  CHECK((after("ip link set knet.1 down") & on_link) == on_link);
  CHECK(after("ip link set knet.1 up").test(static_cast<size_t>(Kind::neighbor)));
  CHECK(after("ip link set knet.1 address 02:00:00:00:00:99").test(static_cast<size_t>(Kind::neighbor)));
  CHECK((after("ip link del knet.1") & on_link) == on_link);
  node.apply(node.desired);
  settled(monitor);

  CHECK(after("ip route del 10.244.2.0/24") == only(Kind::route));
  CHECK(after("ip nexthop flush proto 107") == kinds({Kind::nexthop, Kind::route}));
  CHECK(after("ip neigh del 10.244.2.0 dev knet.1") == only(Kind::neighbor));
  CHECK(after("bridge fdb del 02:00:00:00:01:02 dev knet.1") == only(Kind::fdb));
  CHECK((after("ip address del 10.244.1.0/32 dev knet.1") & kinds({Kind::address, Kind::nexthop, Kind::route})) ==
        kinds({Kind::address, Kind::nexthop, Kind::route}));
  CHECK(after("sysctl -qw net.ipv4.conf.knet.1.rp_filter=1 || sysctl -qw net/ipv4/conf/knet.1/rp_filter=1") ==
        only(Kind::sysctl));
  CHECK(after("nft add rule inet knet postrouting accept") == only(Kind::nft_table));
  CHECK(after("nft delete table inet knet") == only(Kind::nft_table));
  CHECK(after("nft add table ip filter") == only(Kind::forward_accept));
  CHECK(after("nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'") ==
        only(Kind::forward_accept));
}

TEST_CASE("what does not matter dirties nothing") {
  OwnNetns netns;
  if (!netns.ready()) return;
  Node node;
  node.apply(node.desired);
  KernelMonitor monitor(node.plane.own_ports());
  settled(monitor);
  auto after = [&](const std::string& command) {
    run(command);
    return settled(monitor);
  };
  CHECK(after("ip neigh add 192.168.77.9 lladdr 02:00:00:00:00:09 dev eth0").none());
  CHECK(after("ip link set eth0 promisc on").none());
  CHECK(after("ip route add 10.7.0.0/16 dev eth0 table 99").none());
  CHECK(after("nft add table ip t; nft add set ip t s '{ type ipv4_addr; }'; nft add element ip t s '{ 10.0.0.1 }'") ==
        only(Kind::forward_accept));
  CHECK(after("nft add element ip t s '{ 10.0.0.2 }'").none());
}

TEST_CASE("a pod's veth dirties links, routes, pods' MTUs and shortcuts only") {
  OwnNetns netns;
  if (!netns.ready()) return;
  Node node;
  node.apply(node.desired);
  KernelMonitor monitor(node.plane.own_ports());
  settled(monitor);
  Fd pod = new_netns();
  PodLinkRequest request;
  request.host_dev = DevName("knet0123456789a");
  request.ifname = "eth0";
  request.netns_fd = pod.get();
  request.addresses = {ip("10.244.1.5"), ip("fd10::5")};
  add_pod_link(request);
  CHECK((settled(monitor) & ~kinds({Kind::link, Kind::route, Kind::pod_mtu, Kind::shortcut})).none());
  remove_pod_link(request.host_dev);
  CHECK((settled(monitor) & ~kinds({Kind::link, Kind::route, Kind::pod_mtu, Kind::shortcut})).none());
}

TEST_CASE("what we changed ourselves does not come back") {
  OwnNetns netns;
  if (!netns.ready()) return;
  Node node;
  node.apply(node.desired);
  KernelMonitor monitor(node.plane.own_ports());
  settled(monitor);
  DesiredState less = node.desired;
  less.net.routes.clear();
  less.net.nexthops.clear();
  less.net.neighbors.clear();
  less.net.nft_tables[0].rules.chains[0].rules.clear();
  less.net.nft_tables[0].digest = digest(less.net.nft_tables[0].rules);
  node.apply(less);
  // The kernel sends the end of a neighbour in nobody's name (neigh_cleanup_and_release).
  CHECK((settled(monitor) & ~only(Kind::neighbor)).none());
  node.apply(node.desired);
  CHECK(settled(monitor).none());
}

TEST_CASE("lost events dirty everything") {
  OwnNetns netns;
  if (!netns.ready()) return;
  Node node;
  KernelMonitor monitor(node.plane.own_ports());
  settled(monitor);
  // More than the receive buffer holds while nobody reads.
  std::string batch =
      "for i in $(seq 0 255); do for j in $(seq 0 99); do echo route add 10.$i.$j.0/24 dev eth0; done; done";
  for (int round = 0; round < 3; ++round) run("(" + batch + ") | ip -batch -; ip route flush dev eth0 proto boot");
  CHECK(monitor.drain() == all_kinds());
}
