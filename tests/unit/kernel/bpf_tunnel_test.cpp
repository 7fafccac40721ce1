// The tunnels' BPF path on the kernel at hand; witnesses are tc and ip.
#include "kernel/bpf_tunnel.h"

#include <errno.h>
#include <linux/netlink.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <random>

#include "kernel/bpf_program.h"
#include "kernel/bpf_syscall.h"
#include "kernel/linux_plane.h"
#include "kernel/rtnl.h"
#include "kernel/rtnl_read.h"
#include "own_netns.h"

using namespace knet;
using namespace knet::test;

namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// A TUN device knet.udp and an uplink with addresses, in a namespace of its own.
struct Ground {
  OwnNetns netns;
  NlSocket socket{NETLINK_ROUTE};
  bool ready = false;

  Ground() {
    if (!netns.ready() || !has_program("tc")) return;
    if (const std::string trouble = try_bpf_tunnel(); !trouble.empty()) {
      WARN("skip: no BPF tunnels here: " << trouble);
      return;
    }
    run("ip link set lo up");
    run("ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up");
    run("ip addr add 192.0.2.1/24 dev up0 && ip addr add 2001:db8::1/64 dev up0 nodad");
    make_tunnel();
    ready = true;
  }
  void make_tunnel() { run("ip tuntap add knet.udp mode tun && ip link set knet.udp alias knet up"); }
  LinkIndex links() {
    std::vector<Link> all;
    CHECK(read_links(socket, all));
    return LinkIndex(all);
  }
};

Filter filter_of(std::string_view dev, TunnelEnd end) {
  Filter filter;
  filter.dev = DevName(dev);
  filter.end = end;
  filter.tunnel = DevName("knet.udp");
  filter.port = 8285;
  filter.local = *IpAddr::parse("192.0.2.1");
  filter.local6 = *IpAddr::parse("2001:db8::1");
  filter.digest = digest(filter);
  return filter;
}
const Filter kEncap = filter_of("knet.udp", TunnelEnd::encap);
const Filter kDecap = filter_of("up0", TunnelEnd::decap);

TunnelPeer peer_of(const char* inner, const char* outer) {
  return {DevName("knet.udp"), *Prefix::parse(inner), *IpAddr::parse(outer), 8285, {}};
}

const Filter* seen(const std::vector<Filter>& filters, const Filter& wanted) {
  for (const Filter& one : filters)
    if (one.key() == wanted.key()) return &one;
  return nullptr;
}

}  // namespace

TEST_CASE("the programs load and pass the packet trial, or it is said what refused") {
  const auto start = Clock::now();
  const std::string trouble = try_bpf_tunnel();
  INFO("in " << ms_since(start) << " ms");
  if (!trouble.empty()) WARN("no BPF tunnels here: " << trouble);
  CHECK((trouble.empty() || trouble.starts_with("BPF_")));
  if (trouble.empty()) CHECK(ms_since(start) < 100);
}

TEST_CASE("filters and peers are found again as they were put") {
  Ground ground;
  if (!ground.ready) return;
  const bool tcx = GENERATE(true, false);
  {
    BpfTunnels tunnels(ground.socket, ground.links(), tcx);
    CHECK(tunnels.filters().empty());
    CHECK(tunnels.put(peer_of("10.1.0.0/16", "192.0.2.2")).error == ENOENT);
    CHECK(tunnels.put(kEncap).error == 0);
    CHECK(tunnels.put(kDecap).error == 0);
    CHECK(tunnels.put(peer_of("10.1.0.0/16", "192.0.2.2")).error == 0);
    CHECK(tunnels.put(peer_of("fd00:1::/64", "2001:db8::2")).error == 0);
    CHECK(tunnels.put(peer_of("10.2.0.0/16", "2001:db8::2")).error == EAFNOSUPPORT);
    CHECK(tunnels.remove(peer_of("10.9.0.0/16", "192.0.2.2")).error == ENOENT);
  }
  BpfTunnels tunnels(ground.socket, ground.links(), tcx);
  REQUIRE(tunnels.whole());
  const auto filters = tunnels.filters();
  REQUIRE(filters.size() == 2);
  for (const Filter& wanted : {kEncap, kDecap}) {
    const Filter* one = seen(filters, wanted);
    REQUIRE(one != nullptr);
    CHECK(one->digest == wanted.digest);
    CHECK(describe(*one) == describe(wanted));
  }
  std::vector<TunnelPeer> peers;
  REQUIRE(tunnels.peers(peers));
  REQUIRE(peers.size() == 2);
  CHECK(describe(peers[0]) == describe(peer_of("10.1.0.0/16", "192.0.2.2")));
  CHECK(describe(peers[1]) == describe(peer_of("fd00:1::/64", "2001:db8::2")));
  std::vector<uint32_t> programs;
  const bool by_tcx = bpf::ingress_programs(link_index("up0"), programs) && tcx;
  CHECK(programs.size() == (by_tcx ? 1u : 0u));
  CHECK((run("tc filter show dev up0 ingress").find("knet/decap/knet.udp") == std::string::npos) == by_tcx);
  CHECK((run("tc qdisc show dev up0").find("clsact") == std::string::npos) == by_tcx);

  SECTION("both go, and the devices' clsact with them") {
    CHECK(tunnels.remove(kDecap).error == 0);
    CHECK(run("tc qdisc show dev up0").find("clsact") == std::string::npos);
    CHECK(tunnels.remove(kEncap).error == 0);
    CHECK(run("tc qdisc show dev knet.udp").find("clsact") == std::string::npos);
    CHECK(BpfTunnels(ground.socket, ground.links()).filters().empty());
  }
  SECTION("another program takes a filter's place; the peers stay") {
    Filter changed = kDecap;
    changed.port = 8286;
    changed.digest = digest(changed);
    CHECK(tunnels.put(changed).error == 0);
    BpfTunnels again(ground.socket, ground.links(), tcx);
    REQUIRE(again.filters().size() == 2);
    CHECK(seen(again.filters(), kDecap)->digest == changed.digest);
    peers.clear();
    CHECK(again.peers(peers));
    CHECK(peers.size() == 2);
  }
  SECTION("one end is lost: the other has the peers") {
    run("tc qdisc del dev knet.udp clsact");
    BpfTunnels again(ground.socket, ground.links(), tcx);
    CHECK(again.filters().size() == 1);
    CHECK(again.put(kEncap).error == 0);
    peers.clear();
    CHECK(BpfTunnels(ground.socket, ground.links()).peers(peers));
    CHECK(peers.size() == 2);
  }
  SECTION("a tunnel of another index makes what stands on the uplink void, and keeps the peers") {
    run("ip link del knet.udp");
    ground.make_tunnel();
    BpfTunnels again(ground.socket, ground.links(), tcx);
    REQUIRE(again.filters().size() == 1);
    CHECK(again.filters()[0].digest == 0);
    CHECK(again.put(kEncap).error == 0);
    CHECK(again.put(kDecap).error == 0);
    BpfTunnels now(ground.socket, ground.links());
    for (const Filter& one : now.filters()) CHECK(one.digest != 0);
    peers.clear();
    CHECK(now.peers(peers));
    CHECK(peers.size() == 2);
  }
  SECTION("an address that has moved makes both void; one that nobody has is refused") {
    run("ip link add other0 type veth peer name other1 && ip addr del 192.0.2.1/24 dev up0");
    CHECK(BpfTunnels(ground.socket, ground.links()).put(kEncap).error == EADDRNOTAVAIL);
    run("ip addr add 192.0.2.1/24 dev other0");
    for (const Filter& one : BpfTunnels(ground.socket, ground.links()).filters()) CHECK(one.digest == 0);
  }
}

TEST_CASE("five thousand peers are put and read fast") {
  Ground ground;
  if (!ground.ready) return;
  BpfTunnels tunnels(ground.socket, ground.links());
  REQUIRE(tunnels.put(kEncap).error == 0);
  auto start = Clock::now();
  for (uint32_t i = 0; i < 5000; ++i) {
    TunnelPeer peer = peer_of("10.0.0.0/24", "192.0.2.2");
    peer.inner = Prefix(IpAddr::v4(0x0a000000 + i * 256), 24);
    peer.outer = IpAddr::v4(0xc0000000 + i);
    REQUIRE(tunnels.put(peer).error == 0);
  }
  const double put_ms = ms_since(start);
  start = Clock::now();
  std::vector<TunnelPeer> peers;
  REQUIRE(BpfTunnels(ground.socket, ground.links()).peers(peers));
  const double read_ms = ms_since(start);
  CHECK(peers.size() == 5000);
  WARN("5,000 peers: put in " << put_ms << " ms, found in " << read_ms << " ms");
  CHECK(put_ms < 500);
  CHECK(read_ms < 500);
}

namespace {

std::string bytes_of(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out += static_cast<char>(value);
  return out;
}

void put16(std::string& at, size_t offset, size_t value) {
  at[offset] = static_cast<char>(value >> 8);
  at[offset + 1] = static_cast<char>(value);
}

void fill_checksum(std::string& frame, size_t at) {
  put16(frame, at + 10, 0);
  uint32_t sum = 0;
  for (size_t i = 0; i < 20; i += 2)
    sum += static_cast<uint32_t>(static_cast<uint8_t>(frame[at + i]) << 8 | static_cast<uint8_t>(frame[at + i + 1]));
  sum = (sum & 0xffff) + (sum >> 16);
  put16(frame, at + 10, ~((sum & 0xffff) + (sum >> 16)) & 0xffff);
}

/// [MAC][IP][UDP][inner IP][payload] of a member, to this node.
std::string frame_of(Family family) {
  constexpr size_t kPayload = 24;
  const bool v4 = family == Family::v4;
  const size_t ip = v4 ? 20 : 40;
  const auto header = [&](const char* from, const char* to, size_t payload, int protocol) {
    std::string out = v4 ? bytes_of({0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0})
                         : bytes_of({0x60, 0, 0, 0, 0, 0, protocol, 64});
    for (const char* address : {from, to}) {
      const IpAddr one = *IpAddr::parse(address);
      out.append(reinterpret_cast<const char*>(one.data()), one.size());
    }
    put16(out, v4 ? 2 : 4, v4 ? payload + 20 : payload);
    if (v4) fill_checksum(out, 0);
    return out;
  };
  std::string frame(12, '\0');  // the loopback device's address: to this host
  frame += v4 ? bytes_of({8, 0}) : bytes_of({0x86, 0xdd});
  frame += header(v4 ? "192.0.2.2" : "2001:db8::2", v4 ? "192.0.2.1" : "2001:db8::1", 8 + ip + kPayload, 17);
  std::string udp(8, '\0');
  put16(udp, 0, 8285), put16(udp, 2, 8285), put16(udp, 4, 8 + ip + kPayload);
  frame += udp + header(v4 ? "10.1.2.3" : "fd00:1::3", v4 ? "10.9.0.2" : "fd00:9::2", kPayload, 59);
  return frame.append(kPayload, '\5');
}

}  // namespace

TEST_CASE("whatever comes to the uplink, only a member's packets with its own sources go on to the tunnel") {
  Ground ground;
  if (!ground.ready) return;
  const bpf::TunnelMaps maps = bpf::make_tunnel_maps();
  REQUIRE(bpf::put_peer(maps, peer_of("10.1.0.0/16", "192.0.2.2")));
  REQUIRE(bpf::put_peer(maps, peer_of("fd00:1::/64", "2001:db8::2")));
  const Fd decap = bpf::load_tunnel_program(kDecap, bpf::Place{1, 1, 1, false, true}, maps);
  constexpr uint32_t kOk = 0, kShot = 2, kRedirect = 7, kUnspec = 0xffffffff;
  std::mt19937 random(4);
  const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  size_t passed = 0;
  for (const Family family : {Family::v4, Family::v6}) {
    const std::string whole = frame_of(family);
    const size_t outer = family == Family::v4 ? 28 : 48;
    bpf::Trial trial;
    REQUIRE(bpf::try_program(decap, whole, trial));
    CHECK(trial.verdict == kRedirect);
    CHECK(trial.frame == whole.substr(0, 14) + whole.substr(14 + outer));
    for (int i = 0; i < 3000; ++i) {
      std::string frame = whole;
      for (size_t n = below(4); n > 0; --n) frame[12 + below(frame.size() - 12)] = static_cast<char>(below(256));
      if (below(3) == 0) frame.resize(14 + below(frame.size() - 13));
      if (below(4) == 0) frame.append(below(200), '\7');
      if (family == Family::v4 && frame.size() >= 34 && below(2) == 0) fill_checksum(frame, 14);
      if (!bpf::try_program(decap, frame, trial)) continue;  // the kernel itself takes no such frame
      const bool known = trial.verdict == kOk || trial.verdict == kShot || trial.verdict == kRedirect || trial.verdict == kUnspec;
      CHECK(known);
      if (trial.verdict != kRedirect) continue;
      ++passed;
      const bool v4 = frame[12] == 8;
      const auto address = [&](const std::string& of, size_t at) {
        return IpAddr::from_bytes(v4 ? Family::v4 : Family::v6, of.data() + at);
      };
      CHECK(address(frame, v4 ? 26 : 22) == *IpAddr::parse(v4 ? "192.0.2.2" : "2001:db8::2"));
      REQUIRE(trial.frame.size() >= (v4 ? 34u : 54u));
      CHECK(Prefix::parse(v4 ? "10.1.0.0/16" : "fd00:1::/64")->contains(address(trial.frame, v4 ? 26 : 22)));
    }
  }
  CHECK(passed > 100);
}
