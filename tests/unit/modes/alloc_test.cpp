// alloc: the lease, and nothing else.
#include "tests/unit/modes/mode_cases.h"

using namespace knet;
using namespace knet::test;

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
