// What each mode wants of the kernel for given leases, and that it stands on a (fake) host after one plan.
#include <catch2/catch.hpp>

#include <algorithm>

#include "base/error.h"
#include "core/compose.h"
#include "modes/common/vtep_data.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

namespace {

using Lines = std::vector<std::string>;

std::string vtep(int n) {
  return R"({"VNI":1,"VtepMAC":"02:00:00:00:00:)" + std::string(n < 10 ? "0" : "") + std::to_string(n) + "\"}";
}

template <typename T>
Lines texts(const std::vector<T>& objects) {
  Lines lines;
  for (const T& object : objects) lines.push_back(describe(object));
  return lines;
}

bool has(const Lines& lines, const std::string& part) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& l) { return l.find(part) != std::string::npos; });
}

void set(ClusterView& view, const std::string& name, OptionValue value) {
  view.config.options.emplace_back(name, std::move(value));
  std::sort(view.config.options.begin(), view.config.options.end());
}

// One plan makes it so, and a second one finds nothing.
void stands(const ClusterView& view, FakeKernel& kernel) {
  const DesiredState want = compose(view, mode_registry());
  const Observed before = kernel.observe(all_kinds());
  const Plan plan = diff(want, before, ownership_of(view));
  for (const OpResult& result : kernel.apply(plan)) {
    UNSCOPED_INFO(describe(plan, plan.stages[result.stage].ops[result.op]) + ": " + result.reason);
    CHECK(result.error == 0);
  }
  const Observed after = kernel.observe(all_kinds());
  const Plan rest = diff(want, after, ownership_of(view));
  for (const std::string& line : describe(rest)) UNSCOPED_INFO("left: " + line);
  CHECK(rest.empty());
  CHECK(rest.foreign.empty());
  CHECK(rest.waiting.empty());
}

FakeKernel host() {
  FakeKernel kernel;
  kernel.add_nic("eth0", "192.168.77.1/24");
  kernel.add_nic("eth0", "fd00:77::1/64");
  kernel.set_sysctl("net/ipv4/ip_forward", "0");
  kernel.set_sysctl("net/ipv6/conf/all/forwarding", "0");
  return kernel;
}

std::string message(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::config);
    return error.text;
  }
  return "no error";
}

}  // namespace

TEST_CASE("the registry has each mode by the name of its file") {
  Lines names;
  for (const Mode* mode : mode_registry().all()) names.emplace_back(mode->name());
  for (const char* name : {"alloc", "host-gw", "vxlan"})
    CHECK(std::find(names.begin(), names.end(), name) != names.end());
  CHECK(std::is_sorted(names.begin(), names.end()));
  for (const Mode* mode : mode_registry().all()) {
    CHECK_FALSE(mode->summary().empty());
    CHECK(mode->summary().back() != '.');
    CHECK(std::is_sorted(mode->options().begin(), mode->options().end(),
                         [](const OptionSpec& a, const OptionSpec& b) { return a.name < b.name; }));
  }
}

TEST_CASE("vxlan: device, address, and for each peer neighbour, fdb entry, nexthop and route") {
  ClusterView view = view_of("vxlan");
  add_peer(view, 2, "vxlan", vtep(2));
  const DesiredState state = compose(view, mode_registry());
  REQUIRE(state.net.links.size() == 1);
  const Link& device = state.net.links[0];
  CHECK(describe(device).starts_with("link knet.1 type vxlan id 1 local 192.168.77.1 dev eth0 dstport 8472 mtu 1450"));
  CHECK_FALSE(device.vxlan->learning);
  CHECK(texts(state.net.addresses) == Lines{"address 10.244.1.0/32 dev knet.1"});
  CHECK(texts(state.net.neighbors) == Lines{"neigh 10.244.2.0 dev knet.1 lladdr 02:00:00:00:00:02"});
  CHECK(texts(state.net.fdb) == Lines{"fdb 02:00:00:00:00:02 dev knet.1 dst 192.168.77.2"});
  CHECK(texts(state.net.nexthops) == Lines{"nexthop via 10.244.2.0 dev knet.1 onlink"});
  CHECK(has(texts(state.net.routes), "route 10.244.2.0/24 via 10.244.2.0 dev knet.1 onlink"));
  CHECK(state.notices.empty());
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("vxlan: what it announces is the MAC that its device gets") {
  const ClusterView view = dual_view_of("vxlan");
  const Mode& mode = mode_registry().get("vxlan");
  const LeaseData data = mode.announce(view.config, view.self);
  const DesiredState state = compose(view, mode_registry());
  REQUIRE(state.net.links.size() == 2);
  CHECK(data.mode == "vxlan");
  CHECK(data.data.v4 == R"({"VNI":1,"VtepMAC":")" + state.net.links[0].mac.str() + "\"}");
  CHECK(data.data.v6 == R"({"VNI":1,"VtepMAC":")" + state.net.links[1].mac.str() + "\"}");
  CHECK(data.data.v4 != data.data.v6);
  CHECK(mode.announce(view_of("vxlan").config, view.self).data.v6.empty());
}

TEST_CASE("vxlan: dual stack is two devices, each over its own family") {
  ClusterView view = dual_view_of("vxlan");
  add_peer(view, 2, "vxlan", vtep(2));
  const DesiredState state = compose(view, mode_registry());
  CHECK(state.net.links[1].name.view() == "knet6.1");
  CHECK(state.net.links[1].vxlan->local == ip("fd00:77::1"));
  CHECK(state.net.links[1].mtu == 1430);
  CHECK(has(texts(state.net.addresses), "address fd10:0:0:1::/128 dev knet6.1"));
  CHECK(has(texts(state.net.routes), "route fd10:0:0:2::/64 via fe80::ff:fe00:2 dev knet6.1"));
  CHECK(has(texts(state.net.neighbors), "neigh fe80::ff:fe00:2 dev knet6.1 lladdr 02:00:00:00:00:02"));
  CHECK(has(texts(state.net.fdb), "fdb 02:00:00:00:00:02 dev knet6.1 dst fd00:77::2"));
  CHECK(has(texts(state.net.sysctls), "sysctl net.ipv6.conf.knet6/1.disable_ipv6=0"));
  CHECK_FALSE(has(texts(state.net.sysctls), "conf.knet/1.disable_ipv6"));
  CHECK(state.net.nexthops.size() == 1);  // IPv6 routes carry their gateway
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("vxlan: IPv6 alone") {
  ClusterView view = dual_view_of("vxlan");
  view.config.enable_v4 = false;
  view.self.lease.subnet = {};
  Lease& peer = add_peer(view, 2, "vxlan", vtep(2));
  peer.subnet = {};
  peer.data.v4.clear();
  peer.public_ip = ip("0.0.0.0");
  const DesiredState state = compose(view, mode_registry());
  CHECK(state.notices.empty());
  CHECK(texts(state.net.links).size() == 1);
  CHECK(has(texts(state.net.routes), "route fd10:0:0:2::/64"));
  CHECK(mode_registry().get("vxlan").mtu(view.config, view.self).v4 == 0);
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("vxlan: VNI, Port and MTU follow the config; Port 0 is the default, MTU counts for the underlay") {
  ClusterView view = view_of("vxlan");
  set(view, "VNI", int64_t{7});
  set(view, "Port", int64_t{4789});
  set(view, "MTU", int64_t{1400});
  const DesiredState state = compose(view, mode_registry());
  CHECK(describe(state.net.links[0])
            .starts_with("link knet.7 type vxlan id 7 local 192.168.77.1 dev eth0 dstport 4789 mtu 1350"));
  CHECK(mode_registry().get("vxlan").mtu(view.config, view.self).v4 == 1350);

  ClusterView other = view_of("vxlan");
  set(other, "Port", int64_t{0});
  set(other, "MTU", int64_t{9000});  // more than eth0 carries
  CHECK(compose(other, mode_registry()).net.links[0].vxlan->port == 8472);
  CHECK(compose(other, mode_registry()).net.links[0].mtu == 1450);
}

TEST_CASE("vxlan: a peer's VNI in its data is for people only") {
  ClusterView view = view_of("vxlan");
  add_peer(view, 2, "vxlan", R"({"VNI":9,"VtepMAC":"02:00:00:00:00:02"})");
  CHECK(has(texts(compose(view, mode_registry()).net.fdb), "02:00:00:00:00:02 dev knet.1"));
}

TEST_CASE("vxlan: DirectRouting goes plainly to peers on the link and through the tunnel to the others") {
  ClusterView view = view_of("vxlan");
  set(view, "DirectRouting", true);
  add_peer(view, 2, "vxlan", vtep(2));
  add_peer(view, 3, "vxlan", vtep(3), "192.168.78.3");
  const DesiredState state = compose(view, mode_registry());
  CHECK(has(texts(state.net.routes), "route 10.244.2.0/24 via 192.168.77.2 dev eth0"));
  CHECK(has(texts(state.net.routes), "route 10.244.3.0/24 via 10.244.3.0 dev knet.1 onlink"));
  CHECK(state.net.fdb.size() == 1);
  CHECK(state.net.links.size() == 1);  // peers may send through it
  CHECK(has(texts(state.net.sysctls), "sysctl net.ipv4.conf.eth0.rp_filter=2"));
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("vxlan: a peer with bad data is named, the others are served") {
  ClusterView view = view_of("vxlan");
  add_peer(view, 2, "vxlan", R"({"VNI":1,"VtepMAC":"nonsense"})");
  add_peer(view, 3, "vxlan", "");
  add_peer(view, 4, "vxlan", vtep(4), "0.0.0.0");
  add_peer(view, 5, "vxlan", vtep(5));
  const DesiredState state = compose(view, mode_registry());
  CHECK(state.net.fdb.size() == 1);
  CHECK(has(state.notices, "n2 10.244.2.0/24 is left out: BackendData: VtepMAC 'nonsense' is not a MAC address"));
  CHECK(has(state.notices, "n3 10.244.3.0/24 is left out: it has no BackendData with a VtepMAC"));
  CHECK(has(state.notices, "n4 10.244.4.0/24 is left out: its PublicIP 0.0.0.0 is not an address of a node"));
}

TEST_CASE("vxlan: two nodes with one MAC, or ours: the older counts, the other is named") {
  ClusterView view = view_of("vxlan");
  add_peer(view, 2, "vxlan", vtep(9)).rev = 90;
  add_peer(view, 3, "vxlan", vtep(9));
  Lease& clone = add_peer(view, 4, "vxlan");
  clone.data.v4 = mode_registry().get("vxlan").announce(view.config, view.self).data.v4;
  const DesiredState state = compose(view, mode_registry());
  CHECK(texts(state.net.fdb) == Lines{"fdb 02:00:00:00:00:09 dev knet.1 dst 192.168.77.3"});
  CHECK(has(state.notices, "n2 10.244.2.0/24 is left out: its VtepMAC 02:00:00:00:00:09 is also that of n3"));
  CHECK(has(state.notices, "is also that of this node"));
  CHECK_FALSE(has(texts(state.net.routes), "10.244.2.0/24"));
}

TEST_CASE("vxlan: no device before there is a lease, and none for a mode that nobody speaks any more") {
  ClusterView view = view_of("vxlan");
  view.self.lease = {};
  CHECK(compose(view, mode_registry()).net.links.empty());

  ClusterView moved = view_of("host-gw");
  CHECK(compose(moved, mode_registry()).net.links.empty());
  add_peer(moved, 2, "vxlan", vtep(2));  // has not followed yet: it is sent to by its own mode
  CHECK(compose(moved, mode_registry()).net.links.size() == 1);
  moved.leases.clear();
  moved.names.clear();
  moved.self.receive = {"vxlan"};
  CHECK(compose(moved, mode_registry()).net.links.size() == 1);
}

TEST_CASE("vxlan: without an uplink the node says so") {
  ClusterView view = view_of("vxlan");
  view.self.uplink = {};
  const DesiredState state = compose(view, mode_registry());
  CHECK(state.net.links.empty());
  CHECK(has(state.blockers, "no IPv4 uplink"));
}

TEST_CASE("vxlan: options that it can't keep are refused with the reason") {
  const Mode& mode = mode_registry().get("vxlan");
  ClusterView view = view_of("vxlan");
  CHECK_NOTHROW(mode.validate(view.config));
  SECTION("Learning") {
    set(view, "Learning", true);
    CHECK(message([&] { mode.validate(view.config); }).find("Learning true is refused") != std::string::npos);
  }
  SECTION("GBP") {
    set(view, "GBP", true);
    CHECK(message([&] { mode.validate(view.config); }).find("GBP true is refused") != std::string::npos);
  }
  SECTION("an MTU that leaves nothing") {
    set(view, "MTU", int64_t{600});
    CHECK(message([&] { mode.validate(view.config); }).find("MTU 600 is too small") != std::string::npos);
  }
  SECTION("false is fine") {
    set(view, "Learning", false);
    set(view, "GBP", false);
    CHECK_NOTHROW(mode.validate(view.config));
  }
}

TEST_CASE("vxlan: the kernel must have the driver, as far as that is known") {
  const Mode& mode = mode_registry().get("vxlan");
  KernelFeatures kernel;
  CHECK(mode.unsupported(kernel));
  kernel.vxlan = true;
  CHECK_FALSE(mode.unsupported(kernel));
  kernel.vxlan = false;
  kernel.known = false;
  CHECK_FALSE(mode.unsupported(kernel));
}

TEST_CASE("a vxlan peer's data: flannel's bytes, any order, any case; nothing else") {
  const VtepData plain = parse_vtep_data(R"({"VNI":1,"VtepMAC":"fe:0b:bb:72:15:3b"})", "BackendData");
  CHECK(plain.vni == 1);
  CHECK(plain.mac == mac("fe:0b:bb:72:15:3b"));
  CHECK(format_vtep_data(plain) == R"({"VNI":1,"VtepMAC":"fe:0b:bb:72:15:3b"})");
  for (const char* text :
       {R"({"VtepMAC":"fe:0b:bb:72:15:3b","VNI":1})", R"({ "vni" : 1, "vtepmac":"FE:0B:BB:72:15:3B" })",
        R"({"VNI":1,"VtepMAC":"fe:0b:bb:72:15:3b","Later":[1]})", R"({"VtepMAC":"fe:0b:bb:72:15:3b"})"})
    CHECK(parse_vtep_data(text, "BackendData").mac == plain.mac);
  for (const char* text :
       {"", "null", "[]", "{}", "{", R"({"VNI":1})", R"({"VNI":1,"VtepMAC":""})", R"({"VNI":1,"VtepMAC":7})",
        R"({"VNI":1,"VtepMAC":"00:00:00:00:00:00"})", R"({"VNI":1,"VtepMAC":"ff:ff:ff:ff:ff:ff"})",
        R"({"VNI":1,"VtepMAC":"01:00:5e:00:00:01"})", R"({"VNI":-1,"VtepMAC":"fe:0b:bb:72:15:3b"})",
        R"({"VNI":16777216,"VtepMAC":"fe:0b:bb:72:15:3b"})", R"({"VNI":1,"VtepMAC":"fe:0b:bb:72:15:3b"}x)"})
    CHECK_THROWS_AS(parse_vtep_data(text, "BackendData"), Error);
}

TEST_CASE("host-gw: a plain route to each peer, the full MTU, nothing else") {
  ClusterView view = dual_view_of("host-gw");
  add_peer(view, 2, "host-gw");
  add_peer(view, 3, "host-gw");
  const DesiredState state = compose(view, mode_registry());
  CHECK(has(texts(state.net.routes), "route 10.244.2.0/24 via 192.168.77.2 dev eth0"));
  CHECK(has(texts(state.net.routes), "route fd10:0:0:3::/64 via fd00:77::3 dev eth0"));
  CHECK(state.net.nexthops.size() == 2);
  CHECK(state.net.links.empty());
  CHECK(state.notices.empty());
  CHECK(state.blockers.empty());
  CHECK(pod_mtu(view, mode_registry()).v4 == 1500);
  CHECK(mode_registry().get("host-gw").announce(view.config, view.self).data == BackendData{});
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("host-gw: a peer that is not on link is named and left out") {
  ClusterView view = view_of("host-gw");
  add_peer(view, 2, "host-gw");
  add_peer(view, 3, "host-gw", "", "192.168.78.3");
  const DesiredState state = compose(view, mode_registry());
  CHECK(state.notices ==
        Lines{"n3 192.168.78.3 is not on link on eth0 (192.168.77.0/24): host-gw can't reach 10.244.3.0/24"});
  CHECK(state.net.routes.size() == 2);
}

TEST_CASE("host-gw: an announced address that is not the interface's stops the node from being ready") {
  ClusterView view = view_of("host-gw");
  view.self.public_ip = ip("203.0.113.9");
  CHECK(has(compose(view, mode_registry()).blockers, "203.0.113.9 is not that of eth0 (192.168.77.1)"));
  CHECK(compose(view_of("vxlan"), mode_registry()).blockers.empty());
}

TEST_CASE("rp_filter must not be strict where plain packets come in, whatever `all` is") {
  ClusterView view = view_of("host-gw");
  const auto of_uplink = [&] {
    const DesiredState state = compose(view, mode_registry());
    const auto it = std::find_if(state.net.sysctls.begin(), state.net.sysctls.end(),
                                 [](const Sysctl& s) { return s.path == "net/ipv4/conf/eth0/rp_filter"; });
    return it == state.net.sysctls.end() ? std::string("-") : it->value + "/" + it->also;
  };
  view.self.rp_filter_all = 0;
  CHECK(of_uplink() == "2/0");
  view.self.rp_filter_all = 2;
  CHECK(of_uplink() == "-");
  view.self.rp_filter_all = 1;
  CHECK(of_uplink() == "2/");
  CHECK(has(compose(view, mode_registry()).notices, "eth0 is set to 2 (loose)"));
  view.self.may_lower_rp_filter = false;
  CHECK(of_uplink() == "-");
  CHECK(has(compose(view, mode_registry()).notices, "is left so"));
}

TEST_CASE("alloc: the lease and the node's own part, no way to anybody") {
  ClusterView view = dual_view_of("alloc");
  add_peer(view, 2, "alloc");
  const DesiredState state = compose(view, mode_registry());
  CHECK(state.net.routes.size() == 2);
  CHECK(state.net.links.empty());
  CHECK(state.notices.empty());
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("a change of mode is one plan either way, and leaves nothing behind") {
  FakeKernel kernel = host();
  ClusterView vx = dual_view_of("vxlan");
  ClusterView gw = dual_view_of("host-gw");
  for (int n = 2; n < 6; ++n) {
    add_peer(vx, n, "vxlan", vtep(n));
    add_peer(gw, n, "host-gw");
  }
  stands(vx, kernel);
  stands(gw, kernel);
  CHECK(kernel.net().links.size() == 1);
  CHECK(kernel.net().neighbors.empty());
  stands(vx, kernel);
  CHECK(kernel.net().links.size() == 3);
  for (const std::string& line : texts(kernel.net().nexthops)) CHECK(line.find("knet.1") != std::string::npos);
}

TEST_CASE("a dual-stack peer that moves to another device is followed in place, whatever routes cover it") {
  FakeKernel kernel = host();
  Route cover = route("fd10::/48", "eth0", "fd00:77::99");
  cover.protocol = 4;
  REQUIRE(kernel.add(cover) == 0);
  ClusterView view = dual_view_of("vxlan");
  add_peer(view, 2, "vxlan", vtep(2));
  stands(view, kernel);
  set(view, "DirectRouting", true);
  stands(view, kernel);
  view.config.options.clear();
  set(view, "VNI", int64_t{2});
  stands(view, kernel);
}

TEST_CASE("peers that come, go and change are followed") {
  FakeKernel kernel = host();
  ClusterView view = view_of("vxlan");
  for (int n = 2; n < 8; ++n) add_peer(view, n, "vxlan", vtep(n));
  stands(view, kernel);
  view.leases[0].public_ip = ip("192.168.77.200");
  view.leases[1].data.v4 = vtep(42);
  view.leases.erase(view.leases.begin() + 2);
  view.names.erase(view.names.begin() + 2);
  stands(view, kernel);
  CHECK(kernel.net().fdb.size() == 5);
  CHECK(has(texts(kernel.net().fdb), "02:00:00:00:00:02 dev knet.1 dst 192.168.77.200"));
  CHECK(has(texts(kernel.net().fdb), "02:00:00:00:00:42"));
}

TEST_CASE("vxlan reads no other mode's options") {
  ClusterView view = view_of("host-gw");
  add_peer(view, 2, "vxlan", vtep(2));
  set(view, "Port", int64_t{9000});
  set(view, "DirectRouting", true);
  const DesiredState want = compose(view, mode_registry());
  CHECK(has(texts(want.net.links), "link knet.1 type vxlan id 1 local 192.168.77.1 dev eth0 dstport 8472"));
  CHECK(has(texts(want.net.fdb), "dst 192.168.77.2"));
}
