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
