// vxlan: what it wants of the kernel for given leases, and that it stands on a (fake) host after one plan.
#include "tests/unit/modes/mode_cases.h"

using namespace knet;
using namespace knet::test;

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
  CHECK(mode.unsupported(kernel, {}));
  kernel.vxlan = true;
  CHECK_FALSE(mode.unsupported(kernel, {}));
  kernel.vxlan = false;
  kernel.known = false;
  CHECK_FALSE(mode.unsupported(kernel, {}));
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

TEST_CASE("vxlan reads no other mode's options") {
  ClusterView view = view_of("host-gw");
  add_peer(view, 2, "vxlan", vtep(2));
  set(view, "Port", int64_t{9000});
  set(view, "DirectRouting", true);
  const DesiredState want = compose(view, mode_registry());
  CHECK(has(texts(want.net.links), "link knet.1 type vxlan id 1 local 192.168.77.1 dev eth0 dstport 8472"));
  CHECK(has(texts(want.net.fdb), "dst 192.168.77.2"));
}
