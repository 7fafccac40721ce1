#include "core/route_rows.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "core/ownership.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

namespace {

// Node n1 with one vxlan peer n2 and one pod, standing on a fake kernel.
struct Scene {
  Scene() {
    view = view_of("vxlan");
    add_peer(view, 2, "vxlan");
    want.producers = {"node", "pod", "vxlan"};
    want.peers = {"n2"};
    NetState& net = want.net;
    net.links = {vxlan("knet.1", 1, "192.168.77.1", "eth0")};
    net.neighbors = {neighbor("knet.1", "10.244.2.0", "02:00:00:00:00:02")};
    net.fdb = {fdb("knet.1", "02:00:00:00:00:02", "192.168.77.2")};
    net.nexthops = {nexthop("knet.1", "10.244.2.0", true)};
    Route to_peer = route("10.244.2.0/24", "knet.1", "10.244.2.0");
    to_peer.onlink = to_peer.by_nexthop = true;
    to_peer.origin = {2, 0};
    net.links[0].origin = {2, Origin::kNoPeer};
    Route pod = route("10.244.1.2/32", "knet5e1c0a9b7d2");
    pod.origin = {1, Origin::kNoPeer};
    net.routes = {blackhole("10.244.1.0/24", 65535), pod, to_peer};
    sort_by_key(net);
    kernel.add_nic("eth0", "192.168.77.1/24");
    kernel.add_pod_link(dev("knet5e1c0a9b7d2"));
    own.networks = {view.config.network};
    const Observed seen = kernel.observe(all_kinds());
    CHECK(kernel.apply(diff(want, seen, own)).empty());
  }

  std::vector<RouteRow> rows(Kinds read = all_kinds()) {
    const Observed seen = kernel.observe(read);
    return route_rows(view, want, seen, diff(want, seen, own), failures);
  }
  RouteRow row(const std::string& dst, Kinds read = all_kinds()) {
    for (const RouteRow& r : rows(read))
      if (r.dst == prefix(dst)) return r;
    FAIL("no row for " << dst);
    return {};
  }

  ClusterView view;
  DesiredState want;
  Ownership own;
  FakeKernel kernel;
  Failures failures;
};

}  // namespace

TEST_CASE("a healthy node: every row ok, told as in the picture") {
  Scene scene;
  const auto rows = scene.rows();
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].dst == prefix("10.244.1.0/24"));
  CHECK(rows[0].dev == "blackhole");
  CHECK((rows[0].mode == "vxlan" && rows[0].node == "n1" && rows[0].source == "lease"));
  CHECK(rows[1].dst == prefix("10.244.1.2/32"));
  CHECK((rows[1].mode == "pod" && rows[1].node == "n1" && rows[1].source == "cni" && !rows[1].via));
  CHECK(rows[2].via == ip("10.244.2.0"));
  CHECK((rows[2].dev == "knet.1" && rows[2].mode == "vxlan" && rows[2].node == "n2" && rows[2].mtu == 1450));
  CHECK((rows[2].part_nexthop == "ok" && rows[2].part_neighbor == "ok" && rows[2].part_fdb == "ok"));
  CHECK(rows[1].part_fdb == "-");
  CHECK((rows[0].path == "-" && rows[1].path == "kernel" && rows[2].path == "kernel"));
  CHECK((rows[2].part_filter == "-" && rows[2].part_peer == "-"));
  for (const RouteRow& r : rows) CHECK((r.state == RowState::ok && r.why.empty()));
  CHECK(verdict(rows) == "3 wanted: 3 ok");
  CHECK_FALSE(has_drift(rows));
}

TEST_CASE("a row is not ok while one of its parts is not") {
  Scene scene;
  std::string why;
  SECTION("fdb") {
    scene.kernel.remove(fdb("knet.1", "02:00:00:00:00:02", "192.168.77.2"));
    why = "fdb missing";
    CHECK(scene.row("10.244.2.0/24").part_fdb == "missing");
    CHECK(scene.row("10.244.2.0/24").part_neighbor == "ok");
  }
  SECTION("neighbour") {
    scene.kernel.remove(neighbor("knet.1", "10.244.2.0", "02:00:00:00:00:02"));
    why = "neighbor missing";
  }
  SECTION("neighbour with another MAC") {
    scene.kernel.remove(neighbor("knet.1", "10.244.2.0", "02:00:00:00:00:02"));
    scene.kernel.add(neighbor("knet.1", "10.244.2.0", "02:00:00:00:00:99"));
    why = "neighbor differs";
    CHECK(scene.row("10.244.2.0/24").part_neighbor == "differs");
  }
  SECTION("nexthop, and with it the route") {
    scene.kernel.remove(nexthop("knet.1", "10.244.2.0"));
    why = "route missing";
    CHECK(scene.row("10.244.2.0/24").part_nexthop == "missing");
  }
  SECTION("device down") {
    scene.kernel.set_up(dev("knet.1"), false);
    why = "knet.1 is down";
  }
  SECTION("device gone") {
    scene.kernel.remove_link(dev("knet.1"));
    why = "knet.1 is not there";
  }
  SECTION("device with another port") {
    scene.want.net.links[0].vxlan->port = 4789;
    why =
        "knet.1 is not as wanted: link knet.1 type vxlan id 1 local 192.168.77.1 dev eth0 dstport 8472 mtu 1450 "
        "address 02:00:00:00:00:03";
  }
  const RouteRow row = scene.row("10.244.2.0/24");
  CHECK(row.state == RowState::broken);
  CHECK(row.why == why);
  CHECK(has_drift(scene.rows()));
  CHECK(verdict(scene.rows()) == "3 wanted: 2 ok, 1 broken");
}

TEST_CASE("what failed and is tried again is pending, with the reason") {
  Scene scene;
  scene.kernel.remove(fdb("knet.1", "02:00:00:00:00:02", "192.168.77.2"));
  scene.failures[describe(scene.want.net.fdb[0])] = "no buffer space; retry in 1s";
  const RouteRow row = scene.row("10.244.2.0/24");
  CHECK(row.state == RowState::pending);
  CHECK(row.why == "fdb: no buffer space; retry in 1s");
  CHECK(verdict(scene.rows()) == "3 wanted: 2 ok, 1 pending");
}

TEST_CASE("a foreign route at a wanted key is named") {
  Scene scene;
  scene.kernel.remove(scene.want.net.routes[2]);
  Route bird = route("10.244.2.0/24", "eth0", "192.168.77.9");
  bird.protocol = 12;
  CHECK(scene.kernel.add(bird) == 0);
  const RouteRow row = scene.row("10.244.2.0/24");
  CHECK(row.state == RowState::foreign);
  CHECK(row.why == "held by route 10.244.2.0/24 via 192.168.77.9 dev eth0 proto bird");
  CHECK(has_drift(scene.rows()));
  CHECK(verdict(scene.rows()) == "3 wanted: 2 ok, 1 foreign");
}

TEST_CASE("a foreign device in the way is named in each row that needs it") {
  Scene scene;
  scene.kernel.remove_link(dev("knet.1"));
  CHECK(scene.kernel.add(vxlan("vx", 1, "192.168.77.1", "eth0")) == 0);
  const RouteRow row = scene.row("10.244.2.0/24");
  CHECK(row.state == RowState::foreign);
  CHECK(row.why.starts_with("knet.1 can't be made: link vx type vxlan id 1"));
  CHECK(has_drift(scene.rows()));
}

TEST_CASE("what is found besides: stale ones are ours, foreign ones are left alone, others are not shown") {
  Scene scene;
  Route stale = route("10.244.9.0/24", "knet.1", "10.244.9.0");
  stale.onlink = true;
  CHECK(scene.kernel.add(stale) == 0);
  Route bird = route("10.244.7.0/24", "eth0", "192.168.77.9");
  bird.protocol = 12;
  CHECK(scene.kernel.add(bird) == 0);
  CHECK(scene.kernel.add(route("10.99.0.0/16", "eth0")) == 0);
  Route of_kernel = route("10.244.1.0/32", "knet.1");
  of_kernel.protocol = 2;
  CHECK(scene.kernel.add(of_kernel) == 0);

  const auto rows = scene.rows();
  CHECK(rows.size() == 5);
  const RouteRow old = scene.row("10.244.9.0/24");
  CHECK((old.state == RowState::stale && old.source == "kernel" && old.mode == "vxlan" && old.node == "-"));
  CHECK(old.why == "lease gone; removing");
  const RouteRow theirs = scene.row("10.244.7.0/24");
  CHECK((theirs.state == RowState::foreign && theirs.source == "bird" && theirs.mode == "-" && theirs.dev == "eth0"));
  CHECK(theirs.why == "not ours, left alone");
  CHECK(verdict(rows) == "3 wanted: 3 ok.  also found: 1 foreign, 1 stale");
  CHECK(has_drift(rows));
  scene.kernel.remove(stale);
  CHECK_FALSE(has_drift(scene.rows()));
  CHECK(std::is_sorted(rows.begin(), rows.end(), [](const RouteRow& a, const RouteRow& b) { return a.dst < b.dst; }));
}

TEST_CASE("what was not read is unknown, never missing") {
  Scene scene;
  scene.kernel.remove(scene.want.net.routes[2]);
  const Kinds without_fdb = all_kinds() & ~only(Kind::fdb) & ~only(Kind::neighbor);
  SECTION("fdb and neighbours, the route missing: that much is known") {
    const RouteRow row = scene.row("10.244.2.0/24", without_fdb);
    CHECK(row.state == RowState::broken);
    CHECK(row.why == "route missing");
    CHECK((row.part_fdb == "unknown" && row.part_neighbor == "unknown"));
  }
  SECTION("fdb and neighbours, the route there") {
    scene.kernel.add(scene.want.net.routes[2]);
    const RouteRow row = scene.row("10.244.2.0/24", without_fdb);
    CHECK(row.state == RowState::unknown);
    CHECK(row.why == "neighbor could not be read");
    CHECK_FALSE(has_drift(scene.rows(without_fdb)));
  }
  SECTION("routes") {
    const RouteRow row = scene.row("10.244.2.0/24", all_kinds() & ~only(Kind::route));
    CHECK(row.state == RowState::unknown);
    CHECK(row.why == "routes could not be read");
  }
}

namespace {

// Node n1 with one peer by a BPF tunnel and one by wireguard, and a pod.
struct Tunnels : Scene {
  Tunnels() {
    want.producers = {"node", "pod", "udp", "wireguard"};
    want.peers = {"n2", "n3"};
    NetState& net = want.net;
    net = {};
    net.links = {tun("knet.udp"), wireguard("knet.wg")};
    net.filters = {filter("knet.udp", TunnelEnd::encap), filter("eth0", TunnelEnd::decap)};
    net.tunnel_peers = {tunnel_peer("knet.udp", "10.244.2.0/24", "192.168.77.2", 8285)};
    net.wireguard_peers = {wireguard_peer("knet.wg", 3, "10.244.3.0/24", "192.168.77.3")};
    TunnelPump pump;
    pump.dev = dev("knet.udp");
    pump.fast_path = true;
    want.pumps = {pump};
    Route to_n2 = route("10.244.2.0/24", "knet.udp"), to_n3 = route("10.244.3.0/24", "knet.wg");
    to_n2.origin = {2, 0};
    to_n3.origin = {3, 1};
    Route rest = route("10.244.0.0/16", "knet.udp");
    rest.origin = {2, Origin::kNoPeer};
    Route pod = route("10.244.1.2/32", "knet5e1c0a9b7d2");
    pod.origin = {1, Origin::kNoPeer};
    net.routes = {to_n2, to_n3, rest, pod};
    net.pod_mtus = {pod_mtu("knet5e1c0a9b7d2", 1472)};
    sort_by_key(net);
    converge();
  }
  void converge() {
    const Observed seen = kernel.observe(all_kinds());
    CHECK(kernel.apply(diff(want, seen, own)).empty());
  }
};

}  // namespace

TEST_CASE("tunnels: by which way packets go, and every part that they need") {
  Tunnels scene;
  const RouteRow by_udp = scene.row("10.244.2.0/24"), by_wireguard = scene.row("10.244.3.0/24");
  CHECK(by_udp.state == RowState::ok);
  CHECK((by_udp.path == "bpf" && by_udp.part_filter == "ok" && by_udp.part_peer == "ok" && by_udp.node == "n2"));
  CHECK(by_wireguard.state == RowState::ok);
  CHECK((by_wireguard.path == "kernel" && by_wireguard.part_filter == "-" && by_wireguard.part_peer == "ok"));
  const RouteRow rest = scene.row("10.244.0.0/16");
  CHECK((rest.state == RowState::ok && rest.mode == "udp" && rest.node == "-" && rest.source == "config"));
  CHECK(rest.part_peer == "-");
  CHECK(scene.row("10.244.1.2/32").state == RowState::ok);
  CHECK(verdict(scene.rows()) == "4 wanted: 4 ok");
  CHECK_FALSE(has_drift(scene.rows()));
}

TEST_CASE("tunnels: a row is not ok while a filter, a peer or the device is not") {
  Tunnels scene;
  std::string dst = "10.244.2.0/24", why;
  SECTION("the filter that sends") {
    scene.kernel.remove(filter("knet.udp", TunnelEnd::encap));
    why = "encap filter of knet.udp missing";
    CHECK(scene.row(dst).part_filter == "missing");
    CHECK(scene.row(dst).part_peer == "ok");
    CHECK(scene.row("10.244.0.0/16").state == RowState::broken);
    CHECK(scene.row("10.244.3.0/24").state == RowState::ok);
  }
  SECTION("the filter that receives") {
    scene.kernel.remove(filter("eth0", TunnelEnd::decap));
    why = "decap filter of eth0 missing";
  }
  SECTION("another program in its place") {
    scene.kernel.spoil_filter(filter("eth0", TunnelEnd::decap).key());
    why = "decap filter of eth0 differs";
    CHECK(scene.row(dst).part_filter == "differs");
  }
  SECTION("map entry") {
    scene.kernel.remove(tunnel_peer("knet.udp", "10.244.2.0/24", "192.168.77.2", 8285));
    why = "tunnel peer missing";
    CHECK(scene.row(dst).part_peer == "missing");
    CHECK(scene.row("10.244.0.0/16").state == RowState::ok);
  }
  SECTION("map entry with another address") {
    scene.kernel.add(tunnel_peer("knet.udp", "10.244.2.0/24", "192.168.77.99", 8285));
    why = "tunnel peer differs";
  }
  SECTION("wireguard peer") {
    scene.kernel.remove(wireguard_peer("knet.wg", 3, "10.244.3.0/24", "192.168.77.3"));
    dst = "10.244.3.0/24";
    why = "wireguard peer missing";
  }
  SECTION("wireguard peer that may send for another") {
    scene.kernel.add(wireguard_peer("knet.wg", 3, "10.244.9.0/24", "192.168.77.3"));
    dst = "10.244.3.0/24";
    why = "wireguard peer differs";
  }
  SECTION("wireguard on another port") {
    scene.want.net.links[1].wireguard->port = 1;
    dst = "10.244.3.0/24";
    why = "knet.wg is not as wanted: " + describe(*scene.kernel.net().find_link(dev("knet.wg")));
  }
  SECTION("a pod whose MTU was not lowered") {
    scene.want.net.pod_mtus[0].mtu = 1400;
    dst = "10.244.1.2/32";
    why = "its MTU 1472 is more than the 1400 that fit";
  }
  SECTION("userspace carries, and its reader is gone") {
    scene.want.pumps[0].fast_path = false;
    scene.want.net.filters.clear();
    scene.want.net.tunnel_peers.clear();
    scene.converge();
    CHECK(scene.row(dst).path == "user");
    CHECK(scene.row(dst).state == RowState::ok);
    scene.kernel.set_running(dev("knet.udp"), false);
    why = "nobody carries the packets of knet.udp";
  }
  const RouteRow row = scene.row(dst);
  CHECK(row.state == RowState::broken);
  CHECK(row.why == why);
  CHECK(has_drift(scene.rows()));
}

TEST_CASE("tunnels: the kernel's own path needs no reader") {
  Tunnels scene;
  scene.kernel.set_running(dev("knet.udp"), false);
  CHECK(scene.row("10.244.2.0/24").state == RowState::ok);
}

TEST_CASE("tunnels: what could not be read is unknown") {
  Tunnels scene;
  const Kinds read = all_kinds() & ~only(Kind::tunnel_peer) & ~only(Kind::wireguard_peer);
  CHECK(scene.row("10.244.2.0/24", read).state == RowState::unknown);
  CHECK(scene.row("10.244.2.0/24", read).why == "tunnel peer could not be read");
  CHECK(scene.row("10.244.3.0/24", read).part_peer == "unknown");
}

TEST_CASE("tunnels: while the mode changes, peers go by different devices") {
  Tunnels scene;
  // n2 announced wireguard a moment ago: its row is over the new device, and what went over the old one stale.
  NetState& net = scene.want.net;
  net.wireguard_peers.push_back(wireguard_peer("knet.wg", 2, "10.244.2.0/24", "192.168.77.2"));
  net.tunnel_peers.clear();
  for (Route& r : net.routes)
    if (r.dst == prefix("10.244.2.0/24")) std::tie(r.dev, r.origin.producer) = std::tuple(dev("knet.wg"), uint16_t{3});
  sort_by_key(net);
  CHECK(scene.row("10.244.2.0/24").why == "found instead: route 10.244.2.0/24 dev knet.udp");
  CHECK(scene.row("10.244.2.0/24").mode == "wireguard");
  scene.converge();
  CHECK(verdict(scene.rows()) == "4 wanted: 4 ok");
  CHECK(scene.row("10.244.0.0/16").mode == "udp");
}

TEST_CASE("protocols have iproute2's names, or their number") {
  CHECK(route_protocol_name(2) == "kernel");
  CHECK(route_protocol_name(12) == "bird");
  CHECK(route_protocol_name(186) == "bgp");
  CHECK(route_protocol_name(107) == "knet");
  CHECK(route_protocol_name(77) == "77");
}

TEST_CASE("a route that is kept until all is learned again is no drift") {
  Scene scene;
  Route old = route("10.244.9.0/24", "eth0", "192.168.77.9");
  CHECK(scene.kernel.add(old) == 0);
  scene.want.hold = only(Kind::route);
  const RouteRow row = scene.row("10.244.9.0/24");
  CHECK(row.state == RowState::kept);
  CHECK(row.why == "kept until BGP has told all");
  CHECK(verdict(scene.rows()) == "3 wanted: 3 ok.  also found: 1 kept");
  CHECK_FALSE(has_drift(scene.rows()));
  scene.want.hold = {};
  scene.view.config.mode = scene.view.self.lease.mode = "bgp";
  CHECK(scene.row("10.244.9.0/24").why == "not told any more; removing");
}

TEST_CASE("a row with several next hops is ok only with all of them and their devices") {
  Scene scene;
  scene.kernel.add_nic("eth1", "10.9.0.5/24");
  Route wide = with_hop(route("10.244.5.0/24", "eth0", "192.168.77.5"), "eth1", "10.9.0.7");
  wide.origin = {2, 0};
  scene.want.net.routes.push_back(wide);
  sort_by_key(scene.want.net);
  CHECK(scene.row("10.244.5.0/24").why == "route missing");
  REQUIRE(scene.kernel.add(wide) == 0);
  CHECK(scene.row("10.244.5.0/24").state == RowState::ok);
  CHECK(scene.row("10.244.5.0/24").others == wide.others);
  SECTION("one next hop less") {
    REQUIRE(scene.kernel.remove(wide) == 0);
    REQUIRE(scene.kernel.add(route("10.244.5.0/24", "eth0", "192.168.77.5")) == 0);
    CHECK(scene.row("10.244.5.0/24").why == "found instead: route 10.244.5.0/24 via 192.168.77.5 dev eth0");
  }
  SECTION("the device of the further one is down") {
    scene.kernel.set_up(dev("eth1"), false);
    CHECK(scene.row("10.244.5.0/24").why == "eth1 is down");
  }
}
