// ipip: the kernel's driver, the BPF path and userspace.
#include "tests/unit/modes/mode_cases.h"

using namespace knet;
using namespace knet::test;

namespace {

ClusterView kernel_view() {
  ClusterView view = view_of("ipip");
  view.self.kernel.ipip = view.self.kernel.tun = view.self.kernel.bpf_tunnel = true;
  return view;
}

const NftRule* input_rule(const DesiredState& state, std::string_view key) {
  for (const NftTable& table : state.net.nft_tables)
    for (const NftChain& chain : table.rules.chains)
      for (const NftRule& rule : chain.rules)
        if (!chain.nat && chain.hook == NftHook::input && rule.key == key) return &rule;
  return nullptr;
}

}  // namespace

TEST_CASE("ipip by the kernel's driver: device, address, and for each peer a nexthop onlink and a route") {
  ClusterView view = kernel_view();
  add_peer(view, 2, "ipip");
  const DesiredState state = compose(view, mode_registry());
  CHECK(texts(state.net.links) == Lines{"link knet.ipip type ipip remote any local 192.168.77.1 dev eth0 mtu 1480"});
  CHECK(texts(state.net.addresses) == Lines{"address 10.244.1.0/32 dev knet.ipip"});
  CHECK(texts(state.net.nexthops) == Lines{"nexthop via 192.168.77.2 dev knet.ipip onlink"});
  CHECK(has(texts(state.net.routes), "route 10.244.2.0/24 via 192.168.77.2 dev knet.ipip onlink"));
  CHECK_FALSE(has(texts(state.net.routes), "10.244.0.0/16"));  // the driver would send to whatever address it is given
  CHECK(state.pumps.empty());
  CHECK(state.net.filters.empty());
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("ipip by the kernel's driver: only members' packets come in, those of all leases") {
  ClusterView view = kernel_view();
  CHECK(input_rule(compose(view, mode_registry()), "ipip-members")->exprs.size() == 4);  // nobody is a member yet
  add_peer(view, 2, "ipip");
  add_peer(view, 3, "vxlan", vtep(3));
  const DesiredState state = compose(view, mode_registry());
  const NftRule* rule = input_rule(state, "ipip-members");
  REQUIRE(rule != nullptr);
  REQUIRE(rule->exprs.size() == 5);
  CHECK(std::get<NftProtocolIs>(rule->exprs[0]).protocol == 4);
  const auto& members = std::get<NftAddressIn>(rule->exprs[2]);
  CHECK(members.negate);
  CHECK(members.source);
  CHECK(members.prefixes == std::vector<Prefix>{prefix("192.168.77.2/32"), prefix("192.168.77.3/32")});
  CHECK(input_rule(state, "ipip-from-pod-links-here") != nullptr);
}

TEST_CASE("ipip: DirectRouting goes plainly to peers on the link, judged by the real prefix") {
  ClusterView view = kernel_view();
  view.self.uplink.address = prefix("192.168.77.1/25");
  set(view, "DirectRouting", true);
  add_peer(view, 2, "ipip");
  add_peer(view, 200, "ipip");
  const DesiredState state = compose(view, mode_registry());
  CHECK(has(texts(state.net.routes), "route 10.244.2.0/24 via 192.168.77.2 dev eth0"));
  CHECK(has(texts(state.net.routes), "route 10.244.200.0/24 via 192.168.77.200 dev knet.ipip onlink"));
}

TEST_CASE("ipip without the driver: a TUN device by bpf, else by userspace; IPv6 with twice the header") {
  ClusterView view = dual_view_of("ipip");
  view.self.kernel.ipip = view.self.kernel.tun = view.self.kernel.bpf_tunnel = true;
  add_peer(view, 2, "ipip");
  const DesiredState state = compose(view, mode_registry());
  CHECK(texts(state.net.links) == Lines{"link knet.ipip type tun mtu 1480"});
  CHECK(has(texts(state.net.sysctls), "sysctl net.ipv6.conf.knet/ipip.mtu=1460"));
  CHECK(has(texts(state.net.filters), "filter dev knet.ipip egress ipip encap of knet.ipip local 192.168.77.1 local fd00:77::1"));
  CHECK(texts(state.net.tunnel_peers) == Lines{"tunnel peer 10.244.2.0/24 dev knet.ipip to 192.168.77.2",
                                               "tunnel peer fd10:0:0:2::/64 dev knet.ipip to fd00:77::2"});
  CHECK(has(texts(state.net.routes), "route 10.244.0.0/16 dev knet.ipip metric 65534"));
  FakeKernel kernel = host();
  stands(view, kernel);
  view.self.kernel = {};
  view.self.kernel.tun = true;
  const DesiredState user = compose(view, mode_registry());
  CHECK(user.net.filters.empty());
  REQUIRE(user.pumps.size() == 1);
  CHECK(user.pumps[0].wire == TunnelWire::ipip);
  CHECK_FALSE(user.pumps[0].fast_path);
  stands(view, kernel);
}

TEST_CASE("ipip: a change of the datapath makes the device anew, in one plan, and leaves nothing behind") {
  FakeKernel kernel = host();
  ClusterView view = kernel_view();
  add_peer(view, 2, "ipip");
  stands(view, kernel);
  set(view, "Datapath", std::string("bpf"));
  stands(view, kernel);
  CHECK(kernel.net().nexthops.empty());
  CHECK(kernel.net().filters.size() == 2);
  set(view, "MTU", int64_t{1400});
  stands(view, kernel);
  view.config.options = {{"Datapath", std::string("kernel")}};
  stands(view, kernel);
  CHECK(kernel.net().filters.empty());
}

TEST_CASE("udp and ipip at once, as while a cluster changes over, are no bug") {
  ClusterView view = view_of("ipip");
  view.self.kernel.tun = view.self.kernel.bpf_tunnel = true;
  view.self.receive = {"udp"};
  view.config.earlier = {{"udp", {}}};
  add_peer(view, 2, "udp");
  add_peer(view, 3, "ipip");
  const DesiredState state = compose(view, mode_registry());
  CHECK(state.net.links.size() == 2);
  CHECK(state.net.tunnel_peers.size() == 4);
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("ipip: which datapath is taken and why; what can't be is refused") {
  const Mode& mode = mode_registry().get("ipip");
  NetworkConfig config = view_of("ipip").config;
  KernelFeatures kernel;
  kernel.tun = kernel.bpf_tunnel = true;
  CHECK(mode.datapath(kernel, config).name == "bpf");
  CHECK(mode.datapath(kernel, config).why == "this kernel has no ipip driver, bpf path used");
  kernel.ipip = true;
  CHECK(mode.datapath(kernel, config).name == "kernel");
  kernel.ipip = kernel.bpf_tunnel = false;
  kernel.bpf_why = "no";
  CHECK(mode.datapath(kernel, config).name == "user");
  config.options = {{"Datapath", std::string("kernel")}};
  CHECK(mode.unsupported(kernel, config) == "Datapath kernel: this kernel has no ipip driver");
  config.options = {{"Datapath", std::string("bpf")}};
  CHECK(mode.unsupported(kernel, config) == "Datapath bpf is refused: no bpf path: no");
  kernel.known = false;
  CHECK_FALSE(mode.unsupported(kernel, config));
  ClusterView dual = dual_view_of("ipip");
  set(dual, "Datapath", std::string("kernel"));
  CHECK(message([&] { mode.validate(dual.config); }).find("refused for an IPv6 network") != std::string::npos);
}
