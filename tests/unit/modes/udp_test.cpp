// udp: what it wants of the kernel and of userspace for given leases, in both datapaths.
#include "tests/unit/modes/mode_cases.h"

using namespace knet;
using namespace knet::test;

namespace {

KernelFeatures with_bpf() {
  KernelFeatures kernel;
  kernel.tun = kernel.bpf = kernel.bpf_tunnel = true;
  return kernel;
}

ClusterView bpf_view(bool dual = false) {
  ClusterView view = dual ? dual_view_of("udp") : view_of("udp");
  view.self.kernel = with_bpf();
  return view;
}

Lines rule_keys(const DesiredState& state, NftHook hook) {
  Lines keys;
  for (const NftTable& table : state.net.nft_tables)
    for (const NftChain& chain : table.rules.chains)
      if (!chain.nat && chain.hook == hook)
        for (const NftRule& rule : chain.rules) keys.push_back(rule.key);
  return keys;
}

}  // namespace

TEST_CASE("udp by bpf: a TUN device, a filter at either end, members in the map, a route for each peer and a last one") {
  ClusterView view = bpf_view();
  add_peer(view, 2, "udp");
  const DesiredState state = compose(view, mode_registry());
  CHECK(texts(state.net.links) == Lines{"link knet.udp type tun mtu 1472"});
  CHECK(texts(state.net.addresses) == Lines{"address 10.244.1.0/32 dev knet.udp"});
  CHECK(texts(state.net.filters) ==
        Lines{"filter dev eth0 ingress udp decap of knet.udp port 8285 local 192.168.77.1",
              "filter dev knet.udp egress udp encap of knet.udp port 8285 local 192.168.77.1"});
  CHECK(texts(state.net.tunnel_peers) == Lines{"tunnel peer 10.244.2.0/24 dev knet.udp to 192.168.77.2:8285"});
  CHECK(has(texts(state.net.routes), "route 10.244.2.0/24 dev knet.udp"));
  CHECK(has(texts(state.net.routes), "route 10.244.0.0/16 dev knet.udp metric 65533"));
  CHECK(state.net.nexthops.empty());
  REQUIRE(state.pumps.size() == 1);
  CHECK(state.pumps[0].fast_path);
  CHECK(state.pumps[0].underlay_mtu == 1500);
  CHECK(state.pumps[0].peers.size() == 1);
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("udp by bpf: to a node of flannel's own udp, whose lease names no type, userspace packs") {
  ClusterView view = bpf_view();
  add_peer(view, 2, "udp");
  add_peer(view, 3, "udp");
  view.leases[1].mode_implied = true;
  const DesiredState state = compose(view, mode_registry());
  CHECK(texts(state.net.tunnel_peers) ==
        Lines{"tunnel peer 10.244.2.0/24 dev knet.udp to 192.168.77.2:8285",
              "tunnel peer 10.244.3.0/24 dev knet.udp to 192.168.77.3:8285, by userspace"});
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("udp by userspace: the same but filters and map") {
  ClusterView view = view_of("udp");
  view.self.kernel.tun = true;
  add_peer(view, 2, "udp");
  const DesiredState state = compose(view, mode_registry());
  CHECK(state.net.filters.empty());
  CHECK(state.net.tunnel_peers.empty());
  REQUIRE(state.pumps.size() == 1);
  CHECK_FALSE(state.pumps[0].fast_path);
  CHECK(state.pumps[0].local == ip("192.168.77.1"));
  CHECK(texts(state.pumps[0].peers) == Lines{"tunnel peer 10.244.2.0/24 dev knet.udp to 192.168.77.2:8285"});
  CHECK(has(texts(state.net.routes), "route 10.244.2.0/24 dev knet.udp"));
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("udp, dual stack: one device for both, with less room for IPv6") {
  ClusterView view = bpf_view(true);
  add_peer(view, 2, "udp");
  const DesiredState state = compose(view, mode_registry());
  REQUIRE(state.net.links.size() == 1);
  CHECK(state.net.links[0].mtu == 1472);
  CHECK(has(texts(state.net.sysctls), "sysctl net.ipv6.conf.knet/udp.mtu=1452"));
  const ModeMtu mtu = mode_registry().get("udp").mtu(view.config, view.self);
  CHECK(mtu.v4 == 1472);
  CHECK(mtu.v6 == 1452);
  CHECK(state.net.filters.size() == 2);  // both families come in by eth0
  CHECK(has(texts(state.net.filters), "filter dev eth0 ingress udp decap of knet.udp port 8285 local 192.168.77.1 local fd00:77::1"));
  CHECK(has(texts(state.net.tunnel_peers), "tunnel peer fd10:0:0:2::/64 dev knet.udp to [fd00:77::2]:8285"));
  CHECK(has(texts(state.net.routes), "route fd10::/48 dev knet.udp metric 65533"));
  FakeKernel kernel = host();
  stands(view, kernel);

  view.self.uplink6.dev = dev("eth1");
  view.self.uplink6.mtu = 1400;
  const DesiredState two = compose(view, mode_registry());
  CHECK(two.net.filters.size() == 3);
  CHECK(has(texts(two.net.filters), "filter dev eth1 ingress udp decap of knet.udp port 8285 local fd00:77::1"));
  CHECK(two.pumps[0].underlay_mtu == 1400);
}

TEST_CASE("udp, IPv6 alone") {
  ClusterView view = bpf_view(true);
  view.config.enable_v4 = false;
  view.self.lease.subnet = {};
  Lease& peer = add_peer(view, 2, "udp");
  peer.subnet = {};
  peer.public_ip = {};
  const DesiredState state = compose(view, mode_registry());
  CHECK(state.notices.empty());
  CHECK(state.net.links[0].mtu == 1452);
  CHECK_FALSE(has(texts(state.net.sysctls), "knet/udp.mtu"));
  CHECK(state.net.tunnel_peers.size() == 1);
  CHECK_FALSE(state.pumps[0].local);
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("udp: members are all leases, since each node sends as its peer announces") {
  ClusterView view = bpf_view();
  view.config.earlier = {{"vxlan", {}}};
  add_peer(view, 2, "vxlan", vtep(2));
  add_peer(view, 3, "udp");
  Lease& reserved = add_peer(view, 4, "alloc");
  reserved.public_ip = {};
  const DesiredState state = compose(view, mode_registry());
  CHECK(texts(state.net.tunnel_peers) == Lines{"tunnel peer 10.244.2.0/24 dev knet.udp to 192.168.77.2:8285",
                                               "tunnel peer 10.244.3.0/24 dev knet.udp to 192.168.77.3:8285"});
  CHECK(has(texts(state.net.routes), "route 10.244.2.0/24 via 10.244.2.0 dev knet.1 onlink"));
  CHECK_FALSE(has(texts(state.net.routes), "route 10.244.2.0/24 dev knet.udp"));
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("udp: DirectRouting goes plainly to peers on the link, and still takes their packets") {
  ClusterView view = bpf_view();
  set(view, "DirectRouting", true);
  add_peer(view, 2, "udp");
  add_peer(view, 3, "udp", "", "192.168.78.3");
  const DesiredState state = compose(view, mode_registry());
  CHECK(has(texts(state.net.routes), "route 10.244.2.0/24 via 192.168.77.2 dev eth0"));
  CHECK(has(texts(state.net.routes), "route 10.244.3.0/24 dev knet.udp"));
  CHECK(state.net.tunnel_peers.size() == 2);
  CHECK(has(texts(state.net.sysctls), "sysctl net.ipv4.conf.eth0.rp_filter=2"));
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("udp: Port and MTU follow the config; bad peers are named, without an uplink the node says so") {
  ClusterView view = bpf_view();
  set(view, "Port", int64_t{9000});
  set(view, "MTU", int64_t{1400});
  add_peer(view, 2, "udp", "", "0.0.0.0");
  add_peer(view, 3, "udp");
  const DesiredState state = compose(view, mode_registry());
  CHECK(state.net.links[0].mtu == 1372);
  CHECK(state.pumps[0].underlay_mtu == 1400);
  CHECK(texts(state.net.tunnel_peers) == Lines{"tunnel peer 10.244.3.0/24 dev knet.udp to 192.168.77.3:9000"});
  CHECK(has(state.notices, "n2 10.244.2.0/24 is left out: its PublicIP 0.0.0.0 is not an address of a node"));
  CHECK(mode_registry().get("udp").wire(view.config) == "udp 9000");
  view.config.options.clear();
  set(view, "Port", int64_t{0});
  CHECK(compose(view, mode_registry()).pumps[0].port == 8285);
  view.self.uplink = {};
  CHECK(has(compose(view, mode_registry()).blockers, "udp: this node has no IPv4 uplink"));
}

TEST_CASE("udp: what pods send in its form is dropped") {
  ClusterView view = bpf_view(true);
  const DesiredState state = compose(view, mode_registry());
  CHECK(rule_keys(state, NftHook::forward) ==
        Lines{"udp-from-pods4", "udp-from-pod-links4", "udp-from-pods6", "udp-from-pod-links6"});
  CHECK(rule_keys(state, NftHook::input) == Lines{"udp-from-pods-here4", "udp-from-pods-here6", "udp-from-pod-links-here"});
}

TEST_CASE("udp: nothing before there is a lease, and nothing of a mode that nobody speaks") {
  ClusterView view = bpf_view();
  view.self.lease = {};
  CHECK(compose(view, mode_registry()).net.links.empty());
  CHECK(compose(view, mode_registry()).pumps.empty());
  CHECK(compose(view_of("host-gw"), mode_registry()).pumps.empty());
}

TEST_CASE("udp: which datapath is taken, and why") {
  const Mode& mode = mode_registry().get("udp");
  NetworkConfig config = view_of("udp").config;
  KernelFeatures kernel = with_bpf();
  CHECK(mode.asks_kernel());
  CHECK(mode.datapath(kernel, config).name == "bpf");
  kernel.bpf_tunnel = false;
  kernel.bpf_why = "BPF_PROG_LOAD: Operation not permitted";
  CHECK(mode.datapath(kernel, config).name == "user");
  CHECK(mode.datapath(kernel, config).why.find("BPF_PROG_LOAD: Operation not permitted") != std::string::npos);
  CHECK_FALSE(mode.unsupported(kernel, config));
  config.options = {{"Datapath", std::string("bpf")}};
  CHECK(mode.unsupported(kernel, config).value().find("BPF_PROG_LOAD") != std::string::npos);
  config.options = {{"Datapath", std::string("user")}};
  CHECK(mode.datapath(with_bpf(), config).name == "user");
  config.options.clear();
  kernel.tun = false;
  CHECK(mode.unsupported(kernel, config).value().find("no TUN driver") != std::string::npos);
  kernel.known = false;
  CHECK_FALSE(mode.unsupported(kernel, config));
  CHECK(mode.datapath(kernel, config).name.empty());
}

TEST_CASE("udp: an MTU that leaves nothing is refused, for the larger header where there is IPv6") {
  const Mode& mode = mode_registry().get("udp");
  ClusterView view = view_of("udp");
  set(view, "MTU", int64_t{603});
  CHECK(message([&] { mode.validate(view.config); }).find("at least 604") != std::string::npos);
  ClusterView dual = dual_view_of("udp");
  set(dual, "MTU", int64_t{1300});
  CHECK(message([&] { mode.validate(dual.config); }).find("at least 1328") != std::string::npos);
}
