// What only the real kernel can show of LinuxPlane: foreign kinds of objects, answers to lookups, thousands of peers.
#include "kernel/linux_plane.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "own_netns.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

namespace {

void add_eth0() {
  run("ip link add eth0 type veth peer name eth1; ip link set eth0 up; ip link set eth1 up");
  run("ip address add 192.168.77.1/24 dev eth0");
}

const Route* find_route(const Observed& seen, const std::string& dst) {
  auto at = std::find_if(seen.net.routes.begin(), seen.net.routes.end(),
                         [&](const Route& route) { return route.dst == prefix(dst); });
  return at == seen.net.routes.end() ? nullptr : &*at;
}

}  // namespace

TEST_CASE("foreign routes are seen as they are") {
  OwnNetns netns;
  if (!netns.ready()) return;
  add_eth0();
  run("ip link add eth2 type veth peer name eth3; ip link set eth2 up; ip address add 192.168.78.1/24 dev eth2");
  run("ip route add default via 192.168.77.254 metric 100");
  run("ip route add 10.1.0.0/16 nexthop via 192.168.77.2 nexthop via 192.168.77.3");
  run("ip route add 10.9.0.0/16 nexthop via 192.168.77.2 weight 1 nexthop via 192.168.77.3 weight 2");
  run("ip route add 10.10.0.0/16 via inet6 fe80::2 dev eth0");
  run("ip route add unreachable 10.2.0.0/16; ip route add prohibit 10.3.0.0/16; ip route add throw 10.4.0.0/16");
  run("ip route add 10.5.0.0/16 via 192.168.77.2 src 192.168.77.1 mtu 1400 proto static");
  run("ip route add 10.6.0.0/16 via 192.168.77.2 table 99");
  run("ip nexthop add id 7 via 192.168.77.4 dev eth0; ip route add 10.7.0.0/16 nhid 7");
  run("ip nexthop add id 8 group 7; ip route add 10.8.0.0/16 nhid 8");
  LinuxPlane plane;
  Observed seen = plane.observe(only(Kind::route) | only(Kind::nexthop) | only(Kind::link));
  REQUIRE(find_route(seen, "0.0.0.0/0"));
  CHECK(find_route(seen, "0.0.0.0/0")->metric == 100);
  CHECK(find_route(seen, "0.0.0.0/0")->via == ip("192.168.77.254"));
  CHECK(find_route(seen, "192.168.77.0/24")->src == ip("192.168.77.1"));
  CHECK(find_route(seen, "192.168.78.0/24")->dead);  // no carrier: the peer is down
  CHECK_FALSE(find_route(seen, "192.168.77.0/24")->dead);
  CHECK_FALSE(find_route(seen, "10.1.0.0/16")->multipath);
  CHECK(find_route(seen, "10.1.0.0/16")->via == ip("192.168.77.2"));
  CHECK(find_route(seen, "10.1.0.0/16")->others == std::vector<RouteHop>{{dev("eth0"), ip("192.168.77.3"), false}});
  CHECK(find_route(seen, "10.2.0.0/16")->type == RouteType::unreachable);
  CHECK(find_route(seen, "10.3.0.0/16")->type == RouteType::prohibit);
  CHECK(find_route(seen, "10.4.0.0/16")->type == RouteType::throw_);
  CHECK(find_route(seen, "10.5.0.0/16")->mtu == 1400);
  CHECK(find_route(seen, "10.5.0.0/16")->protocol == 4);
  CHECK(find_route(seen, "10.6.0.0/16") == nullptr);
  CHECK(find_route(seen, "10.7.0.0/16")->by_nexthop);
  CHECK(find_route(seen, "10.7.0.0/16")->via == ip("192.168.77.4"));
  CHECK(find_route(seen, "10.7.0.0/16")->dev == dev("eth0"));
  CHECK(find_route(seen, "10.8.0.0/16")->multipath);
  CHECK(find_route(seen, "10.9.0.0/16")->multipath);
  CHECK(find_route(seen, "10.10.0.0/16")->via == ip("fe80::2"));
  CHECK(seen.net.nexthops.empty());  // not ours
  CHECK_FALSE(seen.net.find_link(dev("eth0"))->ours);
  CHECK(seen.net.find_link(dev("eth2"))->running == false);

  SECTION("nexthops are told where the kernel is asked not to repeat them") {
    run("sysctl -qw net.ipv4.nexthop_compat_mode=0");
    seen = plane.observe(only(Kind::route));
    CHECK(find_route(seen, "10.7.0.0/16")->via == ip("192.168.77.4"));
    CHECK(find_route(seen, "10.7.0.0/16")->dev == dev("eth0"));
  }
}

TEST_CASE("a next hop that somebody took out of several comes back") {
  OwnNetns netns;
  if (!netns.ready()) return;
  add_eth0();
  run("ip -6 address add fd00:77::1/64 dev eth0 nodad");
  Ownership own;
  own.networks = {prefix("10.244.0.0/16"), prefix("fd10::/48")};
  DesiredState want;
  want.net.routes = {
      with_hop(with_hop(route("10.244.9.0/24", "eth0", "192.168.77.2"), "eth0", "192.168.77.3"), "eth0", "10.9.9.9", true),
      with_hop(with_hop(route("fd10:0:0:9::/64", "eth0", "fd00:77::2"), "eth0", "fe80::3"), "eth0", "fd00:77::4"),
      with_hop(route("10.244.8.0/24", "eth0", "fe80::2"), "eth0", "192.168.77.2")};
  sort_by_key(want.net);
  LinuxPlane plane;
  const auto drift = [&] {
    const Observed seen = plane.observe(all_kinds());
    return describe(diff(want, seen, own));
  };
  const auto mend = [&] {
    const Observed seen = plane.observe(all_kinds());
    const Plan plan = diff(want, seen, own);
    for (const OpResult& failed : plane.apply(plan)) FAIL_CHECK(failed.reason);
    CHECK(drift().empty());
  };
  mend();
  const std::string shown = run("ip route show 10.244.9.0/24"), shown6 = run("ip -6 route show fd10:0:0:9::/64");
  CHECK(shown.find("nexthop via 10.9.9.9 dev eth0 weight 1 onlink") != std::string::npos);
  CHECK(shown6.find("nexthop via fe80::3 dev eth0 weight 1") != std::string::npos);
  CHECK(run("ip route show 10.244.8.0/24").find("nexthop via inet6 fe80::2 dev eth0") != std::string::npos);
  SECTION("IPv6, by its gateway") { run("ip -6 route del fd10:0:0:9::/64 via fd00:77::2"); }
  SECTION("IPv6, one too many") { run("ip -6 route append fd10:0:0:9::/64 via fd00:77::7 proto 107"); }
  SECTION("IPv4, by replacing the route") {
    run("ip route replace 10.244.9.0/24 proto 107 nexthop via 192.168.77.2 nexthop via 192.168.77.3");
  }
  SECTION("IPv4, other weights") {
    run("ip route replace 10.244.9.0/24 proto 107 nexthop via 192.168.77.2 weight 9 nexthop via 192.168.77.3 "
        "nexthop via 10.9.9.9 dev eth0 onlink");
  }
  SECTION("all of them") { run("ip route del 10.244.9.0/24; ip -6 route del fd10:0:0:9::/64"); }
  CHECK_FALSE(drift().empty());
  mend();
  CHECK(run("ip route show 10.244.9.0/24") == shown);
  CHECK(run("ip -6 route show fd10:0:0:9::/64 | tr ' ' '\\n' | grep -c nexthop") == "3");
}

TEST_CASE("addresses tell what a lease may not use") {
  OwnNetns netns;
  if (!netns.ready()) return;
  add_eth0();
  run("ip address add 192.168.77.8/24 dev eth0 valid_lft 3600 preferred_lft 3600");
  run("ip -6 address add fd00:77::1/64 dev eth0 nodad; ip -6 address add fd00:77::2/64 dev eth0 nodad preferred_lft 0");
  run("ip -6 address add fd00:77::3/64 dev eth0");
  LinuxPlane plane;
  Observed seen = plane.observe(only(Kind::address));
  auto find = [&](const std::string& text) {
    auto at = std::find_if(seen.net.addresses.begin(), seen.net.addresses.end(),
                           [&](const Address& address) { return address.prefix == prefix(text); });
    REQUIRE(at != seen.net.addresses.end());
    return *at;
  };
  CHECK(find("192.168.77.1/24").permanent);
  CHECK_FALSE(find("192.168.77.8/24").permanent);
  CHECK(find("192.168.77.8/24").usable);
  CHECK(find("fd00:77::1/64").usable);
  CHECK_FALSE(find("fd00:77::2/64").usable);  // deprecated
  CHECK_FALSE(find("fd00:77::3/64").usable);  // tentative
}

TEST_CASE("route_to answers as the kernel would forward") {
  OwnNetns netns;
  if (!netns.ready()) return;
  add_eth0();
  run("ip route add 10.244.2.0/24 via 192.168.77.2 proto 107 mtu 1400; ip route add blackhole 10.244.1.0/24 proto 107");
  run("ip route add unreachable 10.244.3.0/24");
  run("ip -6 address add fd00:77::1/64 dev eth0 nodad; ip -6 route add fd10:0:0:2::/64 via fd00:77::2 proto 107");
  run("ip -6 route add blackhole fd10:0:0:1::/64");
  LinuxPlane plane;
  auto answer = plane.route_to(ip("10.244.2.9"));
  REQUIRE(answer);
  CHECK(answer->dev == dev("eth0"));
  CHECK(answer->via == ip("192.168.77.2"));
  CHECK(answer->src == ip("192.168.77.1"));
  CHECK(answer->mtu == 1400);
  CHECK(answer->protocol == 107);
  CHECK(answer->dst == prefix("10.244.2.0/24"));
  CHECK(answer->type == RouteType::unicast);
  answer = plane.route_to(ip("fd10:0:0:2::9"));
  REQUIRE(answer);
  CHECK(answer->via == ip("fd00:77::2"));
  CHECK(answer->dst == prefix("fd10:0:0:2::/64"));
  REQUIRE(plane.route_to(ip("10.244.1.9")));
  CHECK(plane.route_to(ip("10.244.1.9"))->type == RouteType::blackhole);
  REQUIRE(plane.route_to(ip("fd10:0:0:1::9")));
  CHECK(plane.route_to(ip("fd10:0:0:1::9"))->type == RouteType::blackhole);
  REQUIRE(plane.route_to(ip("10.244.3.9")));
  CHECK(plane.route_to(ip("10.244.3.9"))->type == RouteType::unreachable);
  REQUIRE(plane.route_to(ip("192.168.77.1")));
  CHECK(plane.route_to(ip("192.168.77.1"))->type == RouteType::local);
  CHECK_FALSE(plane.route_to(ip("10.9.9.9")));
  CHECK_FALSE(plane.route_to(ip("fd99::1")));
  // As forwarded from a device.
  run("sysctl -qw net.ipv4.ip_forward=1");
  answer = plane.route_to(ip("10.244.2.9"), ip("192.168.77.5"), dev("eth0"));
  REQUIRE(answer);
  CHECK(answer->via == ip("192.168.77.2"));
}

TEST_CASE("a tunnel device is made marked, quiet and with its MAC") {
  OwnNetns netns;
  if (!netns.ready()) return;
  add_eth0();
  DesiredState desired;
  desired.net.links.push_back(vxlan("knet.7", 7, "192.168.77.1", "eth0", 4789));
  desired.net.links[0].mac = mac("02:aa:00:00:00:01");
  LinuxPlane plane;
  Observed nothing = plane.observe(all_kinds());
  REQUIRE(plane.apply(diff(desired, nothing, {})).empty());
  std::string link = run("ip -d link show knet.7");
  for (const char* part : {"vxlan id 7 local 192.168.77.1 dev eth0", "dstport 4789 nolearning", "addrgenmode none",
                           "mtu 1450", "alias knet", "02:aa:00:00:00:01", "UP"}) {
    INFO(link);
    CHECK(link.find(part) != std::string::npos);
  }
  CHECK(run("ip -6 address show dev knet.7") == "");
}

TEST_CASE("five thousand peers go in, are seen and go out") {
  OwnNetns netns;
  if (!netns.ready()) return;
  add_eth0();
  constexpr uint32_t kPeers = 5000;
  DesiredState desired;
  NetState& net = desired.net;
  net.links.push_back(vxlan("knet.1", 1, "192.168.77.1", "eth0"));
  for (uint32_t i = 1; i <= kPeers; ++i) {
    Neighbor neighbor;
    neighbor.dev = dev("knet.1");
    neighbor.ip = IpAddr::v4(0x0a800000 + i * 256);
    neighbor.mac.bytes = {2, 0, 0, 0, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
    net.neighbors.push_back(neighbor);
    net.fdb.push_back({neighbor.dev, neighbor.mac, IpAddr::v4(0xc0a80000 + i), {}});
    Nexthop nexthop;
    nexthop.dev = neighbor.dev;
    nexthop.via = neighbor.ip;
    nexthop.onlink = true;
    net.nexthops.push_back(nexthop);
    Route route;
    route.dst = Prefix(neighbor.ip, 24);
    route.dev = neighbor.dev;
    route.via = neighbor.ip;
    route.onlink = route.by_nexthop = true;
    net.routes.push_back(route);
  }
  sort_by_key(net);
  Ownership own;
  own.networks = {prefix("10.128.0.0/9")};
  LinuxPlane plane;
  Observed before = plane.observe(all_kinds());
  REQUIRE(plane.apply(diff(desired, before, own)).empty());
  Observed after = plane.observe(all_kinds());
  CHECK(after.complete == all_kinds());
  CHECK(diff(desired, after, own).empty());
  CHECK(run("ip route show proto 107 | wc -l") == "5000");
  CHECK(run("bridge fdb show dev knet.1 | wc -l") == "5000");

  // Half of them leave.
  DesiredState less = desired;
  auto odd = [](const auto& object) {
    if constexpr (requires { object.via; })
      return object.via.v4_value() / 256 % 2 == 1;
    else if constexpr (requires { object.ip; })
      return object.ip.v4_value() / 256 % 2 == 1;
    else
      return object.mac.bytes[5] % 2 == 1;
  };
  std::erase_if(less.net.routes, odd);
  std::erase_if(less.net.nexthops, odd);
  std::erase_if(less.net.neighbors, odd);
  std::erase_if(less.net.fdb, odd);
  REQUIRE(plane.apply(diff(less, after, own)).empty());
  Observed last = plane.observe(all_kinds());
  CHECK(diff(less, last, own).empty());
  CHECK(run("ip nexthop show proto 107 | wc -l") == "2500");
}

TEST_CASE("probing tells and leaves nothing") {
  OwnNetns netns;
  if (!netns.ready()) return;
  KernelFeatures features = probe_kernel();
  CHECK(features.known);
  CHECK(features.release == run("uname -r"));
  CHECK(features.vxlan == succeeds("ip link add knetprobe type vxlan id 9 dstport 8472 && ip link del knetprobe"));
  CHECK(features.nf_tables == succeeds("nft list tables"));
  CHECK(features.nexthops == succeeds("ip nexthop show"));
  CHECK(features.shortcut == features.shortcut_why.empty());
  CHECK(probe_kernel(Probe::quick).shortcut_why.empty());
  CHECK(run("ip -o link | wc -l") == "1");
}
