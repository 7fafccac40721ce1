// host-gw: what it wants of the kernel for given leases, and that it stands on a (fake) host after one plan.
#include "tests/unit/modes/mode_cases.h"

using namespace knet;
using namespace knet::test;

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

TEST_CASE("host-gw: the shortcut stands on the uplink and pods' links where the kernel has it and conntrack is asked") {
  ClusterView view = view_of("host-gw");
  add_peer(view, 2, "host-gw");
  Endpoint pod;
  pod.host_dev = dev("knet00000000001");
  pod.addresses = {ip("10.244.1.2")};
  view.endpoints = {pod};
  view.config.masquerade = true;
  const auto kind = static_cast<size_t>(Kind::shortcut);
  SECTION("not asked yet: nothing new, and what stands stays") {
    CHECK(compose(view, mode_registry()).net.shortcuts.empty());
    CHECK(compose(view, mode_registry()).hold.test(kind));
    CHECK(mode_registry().get("host-gw").datapath(view.self.kernel, view.config).name.empty());
  }
  SECTION("there") {
    view.self.kernel.shortcut = true;
    CHECK(texts(compose(view, mode_registry()).net.shortcuts) ==
          Lines{"shortcut dev eth0", "shortcut dev knet00000000001"});
    CHECK_FALSE(compose(view, mode_registry()).hold.test(kind));
    CHECK(mode_registry().get("host-gw").datapath(view.self.kernel, view.config).name == "bpf");
    view.config.options = {{"Datapath", "kernel"}};
    CHECK(compose(view, mode_registry()).net.shortcuts.empty());
  }
  SECTION("refused: auto goes without, bpf can't run") {
    view.self.kernel.shortcut_why = "this kernel has no tcx (kernel 6.6)";
    const Mode& mode = mode_registry().get("host-gw");
    CHECK(compose(view, mode_registry()).net.shortcuts.empty());
    CHECK(mode.datapath(view.self.kernel, view.config).why == "no shortcut: this kernel has no tcx (kernel 6.6)");
    CHECK_FALSE(mode.unsupported(view.self.kernel, view.config));
    view.config.options = {{"Datapath", "bpf"}};
    CHECK(mode.unsupported(view.self.kernel, view.config) ==
          "Datapath bpf is refused: this kernel has no tcx (kernel 6.6)");
  }
  SECTION("without masquerading conntrack is asked only if told to") {
    view.self.kernel.shortcut = true;
    view.config.masquerade = false;
    CHECK(compose(view, mode_registry()).net.shortcuts.empty());
    CHECK(compose(view, mode_registry()).net.nft_tables.empty());
    view.config.options = {{"Datapath", "bpf"}};
    const DesiredState state = compose(view, mode_registry());
    CHECK(state.net.shortcuts.size() == 2);
    REQUIRE(state.net.nft_tables.size() == 1);
    CHECK(state.net.nft_tables[0].rules.chains[0].rules[0].key == "track");
  }
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
