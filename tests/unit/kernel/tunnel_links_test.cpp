// Tunnel devices, wireguard's peers and pods' MTUs on the real kernel. The witness is iproute2 and wg. What needs a driver
// that this kernel lacks says so: the guest with a full kernel runs it (tests/netns/62-ipip-kernel.sh, 63-wireguard.sh).
#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "core/wireguard_key.h"
#include "kernel/lab_links.h"
#include "kernel/linux_plane.h"
#include "kernel/netns.h"
#include "kernel/pod_link.h"
#include "own_netns.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string text(const Plan& plan, const std::vector<OpResult>& failures) {
  std::string all;
  for (const OpResult& failure : failures)
    all += describe(plan, plan.stages[failure.stage].ops[failure.op]) + ": " + failure.reason + "\n";
  return all;
}

std::string text(const Plan& plan) {
  std::string all;
  for (const std::string& line : describe(plan)) all += line + "\n";
  for (const Foreign& foreign : plan.foreign) all += "foreign " + foreign.text + "\n";
  return all;
}

Ownership own() {
  Ownership own;
  own.networks = {prefix("10.244.0.0/16"), prefix("fd10::/48")};
  return own;
}

/// What is planned, done, and then nothing more to do.
std::string converge(LinuxPlane& plane, DesiredState& desired) {
  sort_by_key(desired.net);
  plane.expect(desired.net);
  Observed before = plane.observe(all_kinds());
  Plan plan = diff(desired, before, own());
  std::string done = text(plan);
  REQUIRE(text(plan, plane.apply(plan)) == "");
  Observed after = plane.observe(all_kinds());
  REQUIRE(text(diff(desired, after, own())) == "");
  return done;
}

void add_eth0() {
  run("ip link add eth0 type veth peer name eth1; ip link set eth0 up; ip link set eth1 up");
  run("ip address add 192.168.77.1/24 dev eth0");
}

// /sys is that of the namespace in which it was mounted: asked by netlink.
std::string index_of(const std::string& name) { return run("ip -o link show " + name + " | cut -d: -f1"); }
std::string mtu_of(const std::string& name) { return run("ip -o link show " + name + " | grep -o 'mtu [0-9]*'"); }

bool has_driver(const std::string& kind) {
  OwnNetns scratch;
  if (scratch.ready() && succeeds("ip link add probe0 type " + kind + (kind == "ipip" ? " local 127.0.0.1" : ""))) return true;
  WARN("skip: this kernel has no " << kind << " driver");
  return false;
}

// Made by `wg genkey` and `wg pubkey`.
constexpr const char* kPrivate = "OJgZSxzgU8fMpGORFwLMf/bIHxKmAeX/QEcyfzHVyms=";
constexpr const char* kPublic = "ZdBxpq2yfbIz0v4sydW1AXFK7fT8KGt7DkKknHg7uHo=";
constexpr const char* kOtherPrivate = "GFawXjMPbFyIPFpZB1JyXfTIXVtQkRrE1nai9HcxgWI=";
constexpr const char* kOtherPublic = "HNDHNebNuoFlV7j93Gnv3uCkX1uCPrhke9L/uRamMEY=";

struct KeyFile {
  std::string path;
  explicit KeyFile(const char* key) {
    char name[] = "/tmp/knet-wg-XXXXXX";
    close(mkstemp(name));
    path = name;
    write(key);
  }
  ~KeyFile() { unlink(path.c_str()); }
  void write(const std::string& key) const { std::ofstream(path) << key << "\n"; }
};

Link wireguard_with(const KeyFile& file, const char* public_key, uint16_t port = 51820) {
  Link link = wireguard("knet.wg", port);
  link.wireguard->public_key = *parse_wireguard_key(public_key);
  link.wireguard->key_file = file.path;
  return link;
}

WireguardPeer numbered_peer(uint32_t number) {
  WireguardPeer peer;
  peer.dev = dev("knet.wg");
  peer.public_key[0] = static_cast<uint8_t>(number);
  peer.public_key[1] = static_cast<uint8_t>(number >> 8);
  peer.public_key[5] = 9;
  peer.endpoint = IpAddr::v4(0xc0a80000 + number);
  peer.port = 51820;
  peer.allowed = {Prefix(IpAddr::v4(0x0a000000 + number * 256), 24)};
  return peer;
}

}  // namespace

TEST_CASE("a TUN device is made persistent, marked and quiet, and told from others") {
  OwnNetns netns;
  if (!netns.ready()) return;
  if (!succeeds("ip tuntap add dev probe0 mode tun")) {
    WARN("skip: there is no TUN driver here");
    return;
  }
  LinuxPlane plane;
  DesiredState desired;
  desired.net.links = {tun("knet.udp")};
  desired.net.links[0].mtu = 1472;
  desired.net.addresses = {address("knet.udp", "10.244.1.0/32")};
  desired.net.routes = {route("10.244.2.0/24", "knet.udp")};
  CHECK(contains(converge(plane, desired), "create"));
  const std::string shown = run("ip -d link show knet.udp");
  INFO(shown);
  for (const char* part : {"mtu 1472", "tun type tun pi off vnet_hdr on multi_queue", "persist on", "addrgenmode none",
                           "alias knet", "UP"})
    CHECK(contains(shown, part));
  CHECK(run("ip -6 address show dev knet.udp") == "");
  CHECK(contains(run("ip route get 10.244.2.9"), "dev knet.udp src 10.244.1.0"));

  SECTION("another MTU is set in place") {
    const std::string index = index_of("knet.udp");
    desired.net.links[0].mtu = 1400;
    CHECK(contains(converge(plane, desired), "replace"));
    CHECK(mtu_of("knet.udp") == "mtu 1400");
    CHECK(index_of("knet.udp") == index);
  }
  SECTION("one of ours with other flags is made anew") {
    run("ip link del knet.udp; ip tuntap add dev knet.udp mode tun; ip link set knet.udp alias knet");
    CHECK(contains(converge(plane, desired), "(recreate)"));
    CHECK(contains(run("ip -d link show knet.udp"), "vnet_hdr on multi_queue"));
    CHECK(contains(run("ip route get 10.244.2.9"), "dev knet.udp"));
  }
  SECTION("one that is not ours is left alone and named") {
    run("ip link del knet.udp; ip tuntap add dev knet.udp mode tun");
    Observed seen = plane.observe(all_kinds());
    Plan plan = diff(desired, seen, own());
    REQUIRE(plan.foreign.size() == 1);
    CHECK(contains(plan.foreign[0].text, "knet.udp"));
    CHECK(plan.empty());
  }
  SECTION("it goes when it is not wanted") {
    DesiredState nothing;
    converge(plane, nothing);
    CHECK_FALSE(succeeds("ip link show knet.udp"));
  }
}

TEST_CASE("a pod's MTU is lowered on both ends, never raised") {
  OwnNetns netns;
  if (!netns.ready()) return;
  // A namespace that lives by its file, as container runtimes make them: here a process keeps it.
  Fd pod = new_netns();
  PodLinkRequest request;
  request.host_dev = dev("knet0123456789a");
  request.ifname = "eth0";
  request.netns_fd = pod.get();
  request.addresses = {ip("10.244.1.5")};
  request.mtu = 1500;
  add_pod_link(request);
  auto mtus = [&] {
    std::string inside;
    in_netns(pod.get(), [&] { inside = mtu_of("eth0"); });
    return mtu_of("knet0123456789a") + ", " + inside;
  };
  LinuxPlane plane;
  DesiredState desired;
  desired.net.pod_mtus = {pod_mtu("knet0123456789a", 1430)};
  desired.net.pod_mtus[0].netns = "/proc/self/fd/" + std::to_string(pod.get());
  Observed seen = plane.observe(only(Kind::pod_mtu));
  CHECK(seen.complete == only(Kind::pod_mtu));
  REQUIRE(seen.net.pod_mtus.size() == 1);
  CHECK(seen.net.pod_mtus[0].mtu == 1500);

  auto plan_and_do = [&] {
    Observed now = plane.observe(all_kinds());
    Plan plan = diff(desired, now, own(), only(Kind::pod_mtu));
    REQUIRE(text(plan, plane.apply(plan)) == "");
    return plan.size();
  };
  SECTION("lowered") {
    CHECK(plan_and_do() == 1);
    CHECK(mtus() == "mtu 1430, mtu 1430");
    CHECK(plan_and_do() == 0);
    desired.net.pod_mtus[0].mtu = 1480;
    CHECK(plan_and_do() == 0);
    CHECK(mtus() == "mtu 1430, mtu 1430");
  }
  SECTION("a pod that has less already keeps it") {
    run_in(pod.get(), "ip link set eth0 mtu 1300");
    CHECK(plan_and_do() == 1);
    CHECK(mtus() == "mtu 1430, mtu 1300");
  }
  SECTION("a namespace that is gone is no failure") {
    desired.net.pod_mtus[0].netns = "/run/netns/no-such-pod";
    CHECK(plan_and_do() == 1);
    CHECK(mtus() == "mtu 1430, mtu 1500");
  }
  SECTION("nor is an interface that is gone from the pod") {
    desired.net.pod_mtus[0].ifname = "eth7";
    CHECK(plan_and_do() == 1);
  }
  SECTION("a device that went meanwhile is none either") {
    Observed now = plane.observe(all_kinds());
    Plan plan = diff(desired, now, own(), only(Kind::pod_mtu));
    run("ip link del knet0123456789a");
    CHECK(text(plan, plane.apply(plan)) == "");
  }
}

TEST_CASE("an ipip device is made by the kernel's driver") {
  if (!has_driver("ipip")) return;
  OwnNetns netns;
  add_eth0();
  LinuxPlane plane;
  DesiredState desired;
  desired.net.links = {ipip("knet.ipip", "192.168.77.1", "eth0")};
  desired.net.addresses = {address("knet.ipip", "10.244.1.0/32")};
  Nexthop via = nexthop("knet.ipip", "192.168.77.2", true);
  Route to_peer = route("10.244.2.0/24", "knet.ipip", "192.168.77.2");
  to_peer.onlink = to_peer.by_nexthop = true;
  desired.net.nexthops = {via};
  desired.net.routes = {to_peer};
  converge(plane, desired);
  const std::string shown = run("ip -d link show knet.ipip");
  INFO(shown);
  for (const char* part : {"mtu 1480", "ipip ipip remote any local 192.168.77.1 dev eth0 ttl inherit tos inherit nopmtudisc",
                           "addrgenmode none", "alias knet", "UP"})
    CHECK(contains(shown, part));
  SECTION("another local address makes it anew") {
    run("ip address add 192.168.77.7/24 dev eth0");
    desired.net.links[0].ipip->local = ip("192.168.77.7");
    CHECK(contains(converge(plane, desired), "(recreate)"));
    CHECK(contains(run("ip -d link show knet.ipip"), "local 192.168.77.7"));
  }
  SECTION("one with a remote end is not what was wanted") {
    run("ip link del knet.ipip; ip link add knet.ipip type ipip local 192.168.77.1 remote 192.168.77.2 dev eth0; "
        "ip link set knet.ipip alias knet");
    CHECK(contains(converge(plane, desired), "(recreate)"));
  }
  SECTION("a foreign one in its place is named, the driver's own fallback is not") {
    run("ip link del knet.ipip; ip link add other type ipip local 192.168.77.1 remote any dev eth0");
    Observed seen = plane.observe(all_kinds());
    Plan plan = diff(desired, seen, own());
    REQUIRE(plan.foreign.size() == 1);
    CHECK(contains(plan.foreign[0].text, "other"));
    run("ip link del other; ip link set tunl0 up");
    converge(plane, desired);
    CHECK(succeeds("ip link show tunl0"));
  }
  SECTION("its underlay takes it along") {
    run("ip link del eth0");
    add_eth0();
    converge(plane, desired);
  }
}

TEST_CASE("a wireguard device keeps its index over every change") {
  if (!has_driver("wireguard")) return;
  OwnNetns netns;
  add_eth0();
  KeyFile file(kPrivate);
  LinuxPlane plane;
  DesiredState desired;
  desired.net.links = {wireguard_with(file, kPublic)};
  WireguardPeer peer = wireguard_peer("knet.wg", 7, "10.244.2.0/24", "192.168.77.2", 51820);
  peer.allowed.push_back(prefix("fd10:0:0:2::/64"));
  peer.keepalive = 25;
  peer.preshared_key.emplace();
  peer.preshared_key->fill(3);
  desired.net.wireguard_peers = {peer, wireguard_peer("knet.wg", 8, "10.244.3.0/24", "fd00:77::3", 4000)};
  converge(plane, desired);
  const std::string index = index_of("knet.wg");
  CHECK(run("wg show knet.wg public-key; wg show knet.wg listen-port") == std::string(kPublic) + "\n51820");
  std::string shown = run("wg show knet.wg dump");
  INFO(shown);
  CHECK(contains(shown, "192.168.77.2:51820\t10.244.2.0/24,fd10:0:0:2::/64"));
  CHECK(contains(shown, "[fd00:77::3]:4000\t10.244.3.0/24"));

  SECTION("key and port") {
    file.write(kOtherPrivate);
    desired.net.links = {wireguard_with(file, kOtherPublic, 4500)};
    converge(plane, desired);
    CHECK(run("wg show knet.wg public-key; wg show knet.wg listen-port") == std::string(kOtherPublic) + "\n4500");
  }
  SECTION("a peer's everything") {
    WireguardPeer& changed = desired.net.wireguard_peers[0];
    changed.allowed = {prefix("10.244.9.0/24")};
    changed.endpoint = ip("192.168.77.9");
    changed.port = 1;
    changed.keepalive = 0;
    changed.preshared_key.reset();
    converge(plane, desired);
    shown = run("wg show knet.wg dump");
    CHECK(contains(shown, "(none)\t192.168.77.9:1\t10.244.9.0/24\t"));
  }
  SECTION("two peers exchange their prefixes") {
    std::swap(desired.net.wireguard_peers[0].allowed, desired.net.wireguard_peers[1].allowed);
    converge(plane, desired);
  }
  SECTION("one peer goes, and one that somebody added too") {
    run("wg set knet.wg peer " + std::string(kOtherPublic) + " allowed-ips 10.1.0.0/16");
    desired.net.wireguard_peers.pop_back();
    converge(plane, desired);
    CHECK(run("wg show knet.wg peers | wc -l") == "1");
  }
  SECTION("what somebody changed is mended") {
    KeyFile another(kOtherPrivate);
    run("wg set knet.wg listen-port 999 private-key " + another.path);
    converge(plane, desired);
    CHECK(run("wg show knet.wg listen-port") == "51820");
  }
  SECTION("5,000 peers, one of them with 2,000 prefixes") {
    for (uint32_t i = 1; i <= 5000; ++i) desired.net.wireguard_peers.push_back(numbered_peer(i));
    for (uint32_t i = 0; i < 2000; ++i)
      desired.net.wireguard_peers.back().allowed.push_back(Prefix(IpAddr::v4(0x14000000 + i * 512), 24));
    converge(plane, desired);
    CHECK(run("wg show knet.wg peers | wc -l") == "5002");
    CHECK(run("wg show knet.wg allowed-ips | tr ' ' '\\n' | grep -c /") == "7003");
  }
  SECTION("a private key of another node is refused in words") {
    file.write(kOtherPrivate);
    desired.net.links[0].wireguard->port = 4501;
    Observed seen = plane.observe(all_kinds());
    Plan plan = diff(desired, seen, own());
    CHECK(contains(text(plan, plane.apply(plan)), "does not belong to the public key"));
    return;
  }
  SECTION("nothing is shown of the private key") {
    file.write("nonsense");
    desired.net.links[0].wireguard->port = 4502;
    Observed seen = plane.observe(all_kinds());
    Plan plan = diff(desired, seen, own());
    const std::string told = text(plan, plane.apply(plan));
    CHECK(contains(told, "holds no wireguard key"));
    CHECK_FALSE(contains(told, "nonsense"));
  }
  CHECK(index_of("knet.wg") == index);
}

TEST_CASE("a wireguard peer behind NAT is left where it told that it is") {
  if (!has_driver("wireguard")) return;
  OwnNetns netns;
  Fd other = new_netns();
  Fd here = current_netns();
  LabNic one, two;
  one.netns_fd = here.get();
  two.netns_fd = other.get();
  one.name = two.name = dev("eth0");
  one.addresses = {prefix("192.168.77.1/24")};
  two.addresses = {prefix("192.168.77.2/24")};
  join_namespaces(one, two, 1500);
  run_in(other.get(), "ip link add wg0 type wireguard; ip address add 10.244.2.1/32 dev wg0");
  KeyFile file(kPrivate), other_file(kOtherPrivate);
  run_in(other.get(), "wg set wg0 listen-port 3000 private-key " + other_file.path + " peer " + kPublic +
                          " endpoint 192.168.77.1:51820 allowed-ips 10.244.1.0/24; ip link set wg0 up; "
                          "ip route add 10.244.1.0/24 dev wg0");
  LinuxPlane plane;
  DesiredState desired;
  desired.net.links = {wireguard_with(file, kPublic)};
  desired.net.addresses = {address("knet.wg", "10.244.1.0/32")};
  WireguardPeer peer = wireguard_peer("knet.wg", 0, "10.244.2.0/24", "192.168.77.2", 51820);
  peer.public_key = *parse_wireguard_key(kOtherPublic);
  desired.net.wireguard_peers = {peer};
  desired.net.routes = {route("10.244.2.0/24", "knet.wg")};
  converge(plane, desired);
  run_in(other.get(), "ping -c1 -W5 10.244.1.0");
  REQUIRE(contains(run("wg show knet.wg endpoints"), "192.168.77.2:3000"));  // announced: 51820
  Observed seen = plane.observe(all_kinds());
  CHECK(text(diff(desired, seen, own())) == "");
  // So says another process, which never set an endpoint.
  LinuxPlane looking;
  looking.expect(desired.net);
  seen = looking.observe(all_kinds());
  CHECK(text(diff(desired, seen, own())) == "");
  // What is newly announced is done at once, by the other process too.
  desired.net.wireguard_peers[0].port = 3001;
  converge(looking, desired);
  CHECK(contains(run("wg show knet.wg endpoints"), "192.168.77.2:3001"));
}
