// A pod's veth: what CNI ADD, CHECK and DEL rest on. The witness is iproute2 and ping.
#include "kernel/pod_link.h"

#include <catch2/catch.hpp>

#include "base/error.h"
#include "core/endpoint.h"
#include "own_netns.h"

using namespace knet;
using namespace knet::test;

namespace {

struct Pod {
  Fd netns = new_netns();
  PodLinkRequest request;

  explicit Pod(const std::string& host_dev = "knet0123456789a") {
    request.host_dev = DevName(host_dev);
    request.ifname = "eth0";
    request.netns_fd = netns.get();
    request.addresses = {*IpAddr::parse("10.244.1.5"), *IpAddr::parse("fd10:0:0:1::5")};
    request.mtu = 1450;
    request.mtu_v4 = 1450;
    request.mtu_v6 = 1430;
  }
  std::string run(const std::string& command) const { return run_in(netns.get(), command); }
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

ErrorKind kind_of(const std::function<void()>& work, std::string& text) {
  try {
    work();
  } catch (const Error& error) {
    text = error.text;
    return error.kind;
  }
  FAIL("no error");
  return ErrorKind::bug;
}

}  // namespace

TEST_CASE("a pod's link carries packets at once in both families") {
  OwnNetns netns;
  if (!netns.ready()) return;
  run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  run("ip address add 10.9.0.1/32 dev lo; ip -6 address add fd09::1/128 dev lo nodad");
  Pod pod;
  PodLinkResult made = add_pod_link(pod.request);
  // 50 ms for the very first IPv6 packet, and no ARP delay for the first IPv4 one.
  pod.run("ping -6 -c1 -W 0.05 fd09::1");
  pod.run("ping -c1 -W 0.05 10.9.0.1");
  run("ping -c1 -W 0.05 10.244.1.5; ping -6 -c1 -W 0.05 fd10:0:0:1::5");

  CHECK(made.host_mac == pod_gateway_mac());
  CHECK(contains(pod.run("ip link show eth0"), made.mac.str()));
  CHECK(contains(pod.run("ip link show eth0"), "mtu 1450"));
  CHECK(contains(pod.run("ip route"), "default via 169.254.1.1 dev eth0"));
  CHECK(contains(pod.run("ip -6 route"), "default via fe80::ecee:eeff:feee:eeee dev eth0 metric 1024 mtu 1430"));
  CHECK(contains(pod.run("ip address show lo"), "127.0.0.1/8"));
  std::string host = run("ip -d link show knet0123456789a");
  CHECK(contains(host, "ee:ee:ee:ee:ee:ee"));
  CHECK(contains(host, "alias knet"));
  CHECK(contains(run("ip route"), "10.244.1.5 dev knet0123456789a proto 107 scope link"));
  CHECK(contains(run("ip -6 route"), "fd10:0:0:1::5 dev knet0123456789a proto 107"));
  CHECK(check_pod_link(pod.request).empty());

  SECTION("also after both ends forgot their neighbours") {
    run("ip neigh flush all");
    pod.run("ip neigh del 169.254.1.1 dev eth0; ip neigh del fe80::ecee:eeff:feee:eeee dev eth0");
    pod.run("ping -c1 -W 0.2 10.9.0.1");
    pod.run("ping -6 -c1 -W 0.2 fd09::1");
  }
  SECTION("also after the host's end went down and up") {
    run("ip link set knet0123456789a down; ip link set knet0123456789a up");
    CHECK(contains(run("ip -6 address show dev knet0123456789a"), "fe80::ecee:eeff:feee:eeee/64"));
    CHECK(check_pod_link(pod.request).size() == 2);  // the host routes: the agent's to repair
  }
  SECTION("it is deleted from the host's side, once") {
    CHECK(remove_pod_link(pod.request.host_dev));
    CHECK_FALSE(remove_pod_link(pod.request.host_dev));
    CHECK_FALSE(contains(run("ip route"), "10.244.1.5"));
    CHECK_FALSE(contains(pod.run("ip link"), "eth0"));
  }
}

TEST_CASE("an IPv4 pod's link leaves IPv6 alone") {
  OwnNetns netns;
  if (!netns.ready()) return;
  Pod pod;
  pod.request.addresses.pop_back();
  pod.request.mac = *Mac::parse("02:00:00:00:00:42");
  CHECK(add_pod_link(pod.request).mac == *pod.request.mac);
  CHECK(run("cat /proc/sys/net/ipv6/conf/knet0123456789a/disable_ipv6") == "1");
  CHECK_FALSE(contains(pod.run("ip address show eth0"), "inet6"));
  CHECK(check_pod_link(pod.request).empty());
}

TEST_CASE("IPv6 that a runtime switched off in the pod is switched on") {
  OwnNetns netns;
  if (!netns.ready()) return;
  Pod pod;
  pod.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
  add_pod_link(pod.request);
  CHECK(contains(pod.run("ip -6 address show eth0"), "fd10:0:0:1::5/128"));
}

TEST_CASE("a pod's link that can't be leaves nothing behind") {
  OwnNetns netns;
  if (!netns.ready()) return;
  Pod pod;
  std::string text;
  SECTION("the pod has that interface already") {
    pod.run("ip link add eth0 type veth peer name other");
    CHECK(kind_of([&] { add_pod_link(pod.request); }, text) == ErrorKind::conflict);
    CHECK(contains(text, "eth0"));
  }
  SECTION("a foreign route holds the address") {
    run("ip link add nic type veth peer name nic2; ip link set nic up; ip link set nic2 up");
    run("ip route add 10.244.1.5/32 dev nic");
    CHECK(kind_of([&] { add_pod_link(pod.request); }, text) == ErrorKind::conflict);
    CHECK(contains(text, "10.244.1.5"));
    CHECK(contains(text, "nic"));
    CHECK(contains(run("ip route"), "10.244.1.5 dev nic"));
  }
  SECTION("the pod's routes are refused") {
    pod.run("ip link add nic type veth peer name nic2; ip link set nic up; ip route add 169.254.1.1/32 dev nic");
    CHECK(kind_of([&] { add_pod_link(pod.request); }, text) == ErrorKind::conflict);
    CHECK(contains(text, "169.254.1.1"));
  }
  CHECK_FALSE(contains(run("ip link"), "knet"));
}

TEST_CASE("the host's device that exists is refused by name and left alone") {
  OwnNetns netns;
  if (!netns.ready()) return;
  Pod pod;
  add_pod_link(pod.request);
  Pod other;
  std::string text;
  CHECK(kind_of([&] { add_pod_link(other.request); }, text) == ErrorKind::conflict);
  CHECK(contains(text, "knet0123456789a exists already"));
  CHECK(check_pod_link(pod.request).empty());
}

TEST_CASE("check says what differs") {
  OwnNetns netns;
  if (!netns.ready()) return;
  Pod pod;
  add_pod_link(pod.request);
  auto only_finding = [&] {
    auto findings = check_pod_link(pod.request);
    REQUIRE(findings.size() == 1);
    return findings[0];
  };
  SECTION("host route") {
    run("ip route del 10.244.1.5");
    CHECK(only_finding() == "the host has no route to 10.244.1.5 over knet0123456789a");
  }
  SECTION("pod address") {
    pod.run("ip address del fd10:0:0:1::5/128 dev eth0");
    CHECK(only_finding() == "the pod has no address fd10:0:0:1::5 on eth0");
  }
  SECTION("pod default route") {
    pod.run("ip route del default");
    CHECK(only_finding() == "the pod has no default route via 169.254.1.1");
  }
  SECTION("mtu") {
    pod.run("ip link set eth0 mtu 1400");
    CHECK(only_finding() == "eth0 in the pod has MTU 1400, not 1450");
  }
  SECTION("the gateway's address") {
    run("ip address del 169.254.1.1/32 dev knet0123456789a; ip route replace 10.244.1.5 dev knet0123456789a proto 107");
    CHECK(only_finding() == "knet0123456789a has lost the pods' gateway address 169.254.1.1/32");
  }
  SECTION("the link") {
    run("ip link del knet0123456789a");
    auto findings = check_pod_link(pod.request);
    REQUIRE(findings.size() == 2);
    CHECK(findings[0] == "the host's device knet0123456789a is gone");
    CHECK(findings[1] == "the pod has no interface eth0");
  }
}

TEST_CASE("loopback is set up in the pod's namespace only") {
  OwnNetns netns;
  if (!netns.ready()) return;
  run("ip link set lo down");
  Pod pod;
  loopback_up(pod.netns.get());
  CHECK(contains(pod.run("ip link show lo"), "LOOPBACK,UP"));
  CHECK_FALSE(contains(run("ip link show lo"), "LOOPBACK,UP"));
}
