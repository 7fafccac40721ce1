// All modes alike, and changes from one to another, on a (fake) host.
#include "tests/unit/modes/mode_cases.h"

using namespace knet;
using namespace knet::test;

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
