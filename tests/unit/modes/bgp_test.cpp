// The bgp mode: what is learned becomes routes.
#include "tests/unit/modes/bgp_cases.h"

using namespace knet;
using namespace knet::test;

namespace {

DesiredState composed(const ClusterView& view) { return compose(view, mode_registry()); }

// Routes of this node other than its own blackhole and pods'.
Lines routes(const ClusterView& view) {
  Lines lines;
  for (const Route& route : composed(view).net.routes)
    if (route.type == RouteType::unicast && route.dev.view().substr(0, 5) != "kneta") lines.push_back(describe(route));
  return lines;
}

ClusterView encap_view(const std::string& encap, bool direct) {
  ClusterView view = view_of("bgp");
  view.self.uplink.address = prefix("192.168.77.1/26");  // n2 to n62 are on link
  set(view, "Encap", encap);
  if (!direct) set(view, "DirectRouting", false);
  view.self.kernel.ipip = view.self.kernel.tun = view.self.kernel.bpf_tunnel = view.self.kernel.vxlan = true;
  return view;
}

}  // namespace

TEST_CASE("bgp: no route to a pod's subnet until it is learned") {
  ClusterView view = bgp_cluster(3);
  CHECK(routes(view).empty());
  learn(view, {learned("10.244.2.0/24", "192.168.77.2")});
  CHECK(routes(view) == Lines{"route 10.244.2.0/24 via 192.168.77.2 dev eth0"});
  FakeKernel kernel = host();
  stands(view, kernel);
  learn(view, {});
  stands(view, kernel);
  CHECK_FALSE(has(texts(kernel.net().routes), "10.244.2.0/24"));
}

TEST_CASE("bgp: nothing is taken away before all is learned again") {
  FakeKernel kernel = host();
  ClusterView view = bgp_cluster(3);
  learn(view, {learned("10.244.2.0/24", "192.168.77.2"), learned("10.244.3.0/24", "192.168.77.3")});
  stands(view, kernel);
  learn(view, {learned("10.244.3.0/24", "192.168.77.2")}, false);
  const DesiredState want = composed(view);
  CHECK(want.hold.test(static_cast<size_t>(Kind::route)));
  CHECK(want.hold.test(static_cast<size_t>(Kind::nexthop)));
  CHECK(want.hold.test(static_cast<size_t>(Kind::tunnel_peer)));
  stands(view, kernel);
  CHECK(has(texts(kernel.net().routes), "10.244.2.0/24 via 192.168.77.2"));
  CHECK(has(texts(kernel.net().routes), "10.244.3.0/24 via 192.168.77.2"));
  view.learned_whole = true;
  stands(view, kernel);
  CHECK_FALSE(has(texts(kernel.net().routes), "10.244.2.0/24"));
}

TEST_CASE("bgp: only what is the cluster's, or may be imported, becomes a route") {
  ClusterView view = bgp_cluster(2);
  add_peer(view, 5, "vxlan", vtep(5));
  view.config.earlier = {{"vxlan", {}}};
  view.bgp.config.import = {prefix("10.9.0.0/16")};
  learn(view, {learned("10.244.2.0/24", "192.168.77.2"), learned("10.244.1.0/24", "192.168.77.2"),
               learned("10.244.1.128/25", "192.168.77.2"), learned("10.244.1.9/32", "192.168.77.2"),
               learned("10.9.1.0/24", "192.168.77.2"), learned("172.16.0.0/12", "192.168.77.2"),
               learned("10.244.5.0/24", "192.168.77.2"), learned("fd10::/64", "fd00:77::2")});
  const Lines got = routes(view);
  CHECK(got == Lines{"route 10.9.1.0/24 via 192.168.77.2 dev eth0", "route 10.244.1.9 via 192.168.77.2 dev eth0",
                     "route 10.244.2.0/24 via 192.168.77.2 dev eth0",
                     "route 10.244.5.0/24 via 10.244.5.0 dev knet.1 onlink"});
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("bgp: next hops on link, by the host's routes, by learned ones, or none") {
  ClusterView view = bgp_cluster(2);
  view.self.host_routes = {host_route("0.0.0.0/0", "eth0", "192.168.77.254", 100),
                           host_route("0.0.0.0/0", "eth1", "10.1.0.254", 200), host_route("10.1.0.0/16", "eth1"),
                           host_route("10.2.0.0/16", "eth1", "10.1.0.1")};
  view.bgp.config.import = {prefix("192.0.2.0/24")};
  learn(view, {learned("192.0.2.1/32", "10.1.0.7"), learned("192.0.2.2/32", "192.0.2.1"),
               learned("10.244.10.0/24", "192.168.77.2"), learned("10.244.11.0/24", "10.1.0.9"),
               learned("10.244.12.0/24", "10.2.3.4"), learned("10.244.13.0/24", "192.0.2.2"),
               learned("10.244.14.0/24", "203.0.113.9"), learned("10.244.15.0/24", "192.168.77.1")});
  CHECK(routes(view) == Lines{"route 10.244.10.0/24 via 192.168.77.2 dev eth0", "route 10.244.11.0/24 via 10.1.0.9 dev eth1",
                              "route 10.244.12.0/24 via 10.1.0.1 dev eth1", "route 10.244.13.0/24 via 10.1.0.7 dev eth1",
                              "route 10.244.14.0/24 via 192.168.77.254 dev eth0",
                              "route 192.0.2.1 via 10.1.0.7 dev eth1", "route 192.0.2.2 via 10.1.0.7 dev eth1"});
  CHECK(has(composed(view).notices, "the next hop 192.168.77.1 is this node"));
  view.self.host_routes = {host_route("0.0.0.0/0", "ppp0")};  // no gateway: nothing is on link by it
  CHECK(has(composed(view).notices, "nothing leads to 203.0.113.9"));
  CHECK_FALSE(has(routes(view), "10.244.14.0/24"));
}

TEST_CASE("bgp: next hops that lead in circles are named and left out") {
  ClusterView view = bgp_cluster(2);
  view.bgp.config.import = {prefix("192.0.2.0/24"), prefix("198.51.100.0/24")};
  learn(view, {learned("192.0.2.0/24", "192.0.2.9"), learned("198.51.100.1/32", "198.51.100.2"),
               learned("198.51.100.2/32", "198.51.100.1"), learned("10.244.2.0/24", "198.51.100.1"),
               learned("10.244.3.0/24", "192.0.2.1")});
  CHECK(routes(view).empty());
  const Lines notices = composed(view).notices;
  CHECK(has(notices, "leads through itself"));
  CHECK(has(notices, "has no end after 8 routes"));
}

TEST_CASE("bgp: several next hops, each way once") {
  ClusterView view = bgp_cluster(3);
  learn(view, {learned("10.244.9.0/24", "192.168.77.3", {"192.168.77.2", "192.168.77.1", "203.0.113.1"}),
               learned("10.244.8.0/24", "192.168.77.3", {"192.168.77.3"})});
  const DesiredState state = composed(view);
  const auto nine = std::find_if(state.net.routes.begin(), state.net.routes.end(),
                                 [](const Route& route) { return route.dst == prefix("10.244.9.0/24"); });
  REQUIRE(nine != state.net.routes.end());
  CHECK(nine->via == ip("192.168.77.2"));
  REQUIRE(nine->others.size() == 1);
  CHECK(nine->others[0].via == ip("192.168.77.3"));
  CHECK(has(routes(view), "10.244.8.0/24 via 192.168.77.3 dev eth0"));
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("bgp: IPv4 routes over IPv6 next hops, and IPv6 routes") {
  ClusterView view = dual_view_of("bgp");
  add_peer(view, 2, "bgp");
  learn(view, {learned("10.244.2.0/24", "fd00:77::2"), learned("fd10:0:0:2::/64", "fd00:77::2")});
  const Lines got = routes(view);
  CHECK(has(got, "10.244.2.0/24 via"));
  CHECK(has(got, "fd10:0:0:2::/64 via fd00:77::2 dev eth0"));
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("bgp with Encap ipip: the kernel's driver for nodes that are not on link") {
  ClusterView view = encap_view("ipip", true);
  add_peer(view, 2, "bgp");
  add_peer(view, 99, "bgp");
  learn(view, {learned("10.244.2.0/24", "192.168.77.2"), learned("10.244.99.0/24", "192.168.77.99"),
               learned("10.244.50.7/32", "192.168.77.99")});
  CHECK(routes(view) == Lines{"route 10.244.2.0/24 via 192.168.77.2 dev eth0",
                              "route 10.244.50.7 via 192.168.77.99 dev knet.ipip onlink",
                              "route 10.244.99.0/24 via 192.168.77.99 dev knet.ipip onlink"});
  const DesiredState state = composed(view);
  CHECK(texts(state.net.links) == Lines{"link knet.ipip type ipip remote any local 192.168.77.1 dev eth0 mtu 1480"});
  CHECK(takes_part(view, mode_registry().get("ipip")));
  CHECK(pod_mtu(view, mode_registry()).v4 == 1480);
  FakeKernel kernel = host();
  stands(view, kernel);
  set(view, "DirectRouting", false);
  CHECK(has(routes(view), "10.244.2.0/24 via 192.168.77.2 dev knet.ipip onlink"));
  stands(view, kernel);
}

TEST_CASE("bgp with Encap ipip: by BPF and by userspace, single pods elsewhere are members too") {
  ClusterView view = encap_view("ipip", false);
  view.self.kernel.ipip = false;
  add_peer(view, 2, "bgp");
  learn(view, {learned("10.244.2.0/24", "192.168.77.2"), learned("10.244.50.7/32", "192.168.77.2")});
  DesiredState state = composed(view);
  CHECK(has(routes(view), "route 10.244.50.7 dev knet.ipip"));
  CHECK(texts(state.net.tunnel_peers).size() == 2);
  REQUIRE(state.pumps.size() == 1);
  CHECK(state.pumps[0].peers.size() == 2);
  CHECK(state.pumps[0].fast_path);
  view.self.kernel.bpf_tunnel = false;
  state = composed(view);
  REQUIRE(state.pumps.size() == 1);
  CHECK(state.pumps[0].peers.size() == 2);
  CHECK_FALSE(state.pumps[0].fast_path);
  // The ipip mode by itself has what the leases say.
  view.config.mode = view.self.lease.mode = "ipip";
  view.config.options.clear();
  view.leases[0].mode = "ipip";
  CHECK(composed(view).pumps[0].peers.size() == 1);
}

TEST_CASE("bgp with Encap vxlan: the node's entries once, a route for each prefix") {
  ClusterView view = encap_view("vxlan", true);
  set(view, "VNI", int64_t{7});
  add_peer(view, 99, "bgp", vtep(9));
  add_peer(view, 98, "bgp");  // announces no MAC
  learn(view, {learned("10.244.99.0/24", "192.168.77.99"), learned("10.244.50.7/32", "192.168.77.99"),
               learned("10.244.98.0/24", "192.168.77.98")});
  CHECK(routes(view) == Lines{"route 10.244.50.7 via 10.244.99.0 dev knet.7 onlink",
                              "route 10.244.99.0/24 via 10.244.99.0 dev knet.7 onlink"});
  const DesiredState state = composed(view);
  CHECK(texts(state.net.fdb).size() == 1);
  CHECK(texts(state.net.neighbors).size() == 1);
  CHECK(has(state.notices, "n98 announces nothing by which a tunnel could reach it"));
  CHECK(has(texts(state.net.links), "knet.7"));
  const Mode& mode = mode_registry().get("bgp");
  const LeaseData data = mode.announce(view.config, view.self);
  CHECK(data.mode == "bgp");
  CHECK(has({data.data.v4}, R"("VNI":7)"));
  CHECK(mode.overhead(view.config, Family::v4) == 50);
  CHECK(mode.mtu(view.config, view.self).v4 == 1450);
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("bgp with Encap: changing over from the carrier itself, in one plan at each step") {
  for (const std::string encap : {"ipip", "vxlan"})
    for (const bool kernel_path : {true, false}) {
      INFO(encap << " " << kernel_path);
      FakeKernel kernel = host();
      ClusterView before = view_of(encap);
      before.self.kernel.ipip = kernel_path;
      before.self.kernel.tun = before.self.kernel.bpf_tunnel = before.self.kernel.vxlan = true;
      add_peer(before, 2, encap, encap == "vxlan" ? vtep(2) : "");
      add_peer(before, 3, encap, encap == "vxlan" ? vtep(3) : "");
      stands(before, kernel);
      const size_t links = kernel.net().links.size();

      ClusterView during = before;  // n2 has changed, n3 not yet
      during.config.mode = during.self.lease.mode = during.leases[0].mode = "bgp";
      during.self.receive = {encap};
      during.config.earlier = {{encap, {}}};
      set(during, "Encap", encap);
      set(during, "DirectRouting", false);
      learn(during, {learned("10.244.2.0/24", "192.168.77.2")});
      stands(during, kernel);
      CHECK(kernel.net().links.size() == links);
      CHECK(composed(during).pumps.size() == (encap == "ipip" && !kernel_path ? 1 : 0));

      ClusterView after = during;
      after.leases[1].mode = "bgp";
      after.self.receive.clear();
      after.config.earlier.clear();
      learn(after, {learned("10.244.2.0/24", "192.168.77.2"), learned("10.244.3.0/24", "192.168.77.3")});
      stands(after, kernel);
      CHECK(kernel.net().links.size() == links);
      CHECK(routes(after).size() == (encap == "ipip" && !kernel_path ? 3 : 2));  // a TUN device has the network's last route
    }
}

TEST_CASE("bgp with Encap vxlan beside vxlan of another VNI: two devices") {
  FakeKernel kernel = host();
  ClusterView view = view_of("bgp");
  view.self.kernel.vxlan = true;
  set(view, "Encap", std::string("vxlan"));
  set(view, "DirectRouting", false);
  set(view, "VNI", int64_t{7});
  view.config.earlier = {{"vxlan", {}}};
  view.self.receive = {"vxlan"};
  add_peer(view, 2, "bgp", vtep(2));
  add_peer(view, 3, "vxlan", vtep(3));
  add_peer(view, 4, "bgp", vtep(3));  // the MAC of one that vxlan serves
  learn(view, {learned("10.244.2.0/24", "192.168.77.2"), learned("10.244.4.0/24", "192.168.77.4")});
  CHECK(routes(view) == Lines{"route 10.244.2.0/24 via 10.244.2.0 dev knet.7 onlink",
                              "route 10.244.3.0/24 via 10.244.3.0 dev knet.1 onlink"});
  stands(view, kernel);
  CHECK(kernel.net().find_link(dev("knet.1")) != nullptr);
  CHECK(kernel.net().find_link(dev("knet.7")) != nullptr);
}

TEST_CASE("bgp: a node without pods has no routes and no devices") {
  ClusterView view = encap_view("ipip", false);
  add_peer(view, 2, "bgp");
  learn(view, {learned("10.244.2.0/24", "192.168.77.2")});
  view.self.runs_pods = false;
  view.self.lease = {};
  const DesiredState state = composed(view);
  CHECK(state.net.routes.empty());
  CHECK(state.net.links.empty());
}

TEST_CASE("bgp: options and peers' data") {
  const Mode& mode = mode_registry().get("bgp");
  ClusterView view = view_of("bgp");
  CHECK(mode.mtu(view.config, view.self).v4 == 1500);
  CHECK(mode.announce(view.config, view.self).data == BackendData{});
  CHECK(mode.asks_host_routes());
  set(view, "MTU", int64_t{1400});
  CHECK(mode.mtu(view.config, view.self).v4 == 1400);
  set(view, "VNI", int64_t{7});
  CHECK(has({message([&] { mode.validate(view.config); })}, "VNI is for Encap vxlan only"));
  set(view, "Encap", std::string("vxlan"));
  CHECK(message([&] { mode.validate(view.config); }) == "no error");
  KernelFeatures kernel;
  CHECK(mode.unsupported(kernel, view.config) == "Encap vxlan: this kernel has no vxlan driver");
  CHECK_FALSE(mode.unsupported(kernel, NetworkConfig{}));
  Lease lease;
  lease.subnet = prefix("10.244.2.0/24");
  lease.public_ip = ip("192.168.77.2");
  CHECK(message([&] { mode.check_peer(lease); }) == "no error");
  lease.data.v4 = R"({"VNI":1})";
  CHECK(message([&] { mode.check_peer(lease); }) != "no error");
  lease.data.v4.clear();
  lease.public_ip = ip("127.0.0.1");
  CHECK(message([&] { mode.check_peer(lease); }) != "no error");
}
