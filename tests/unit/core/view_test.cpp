#include "core/view.h"

#include <catch2/catch.hpp>

#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

using Lines = std::vector<std::string>;

TEST_CASE("peers without a clash are left as they are") {
  ClusterView view = dual_view_of("vxlan");
  for (int n = 2; n < 50; ++n) add_peer(view, n, "vxlan");
  CHECK(drop_conflicts(view).empty());
  CHECK(view.leases.size() == 48);
}

TEST_CASE("of two peers that clash the older lease stays, the others are not touched") {
  ClusterView view = dual_view_of("vxlan");
  for (int n = 2; n <= 5; ++n) add_peer(view, n, "vxlan");
  Lease& newer = view.leases[1];  // n3, revision 13; n4 has 14
  Lease& other = view.leases[2];
  SECTION("the same subnet") { other.subnet = newer.subnet; }
  SECTION("a subnet inside the other's") { other.subnet = prefix("10.244.3.128/25"); }
  SECTION("a subnet around the other's") { other.subnet = prefix("10.244.2.0/23"); }
  SECTION("an IPv6 subnet") { other.subnet6 = newer.subnet6; }
  SECTION("an address") { other.public_ip = newer.public_ip; }
  SECTION("an IPv6 address") { other.public_ip6 = newer.public_ip6; }
  const auto lines = drop_conflicts(view);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].starts_with("n4 "));
  CHECK(lines[0].ends_with("whose lease is older"));
  CHECK(view.names == Lines{"n2", "n3", "n5"});
  CHECK(view.leases[2].subnet == prefix("10.244.5.0/24"));
}

TEST_CASE("the revision decides, not the order") {
  ClusterView view = view_of("vxlan");
  add_peer(view, 2, "vxlan").rev = 99;
  add_peer(view, 3, "vxlan").public_ip = ip("192.168.77.2");
  CHECK(drop_conflicts(view) ==
        Lines{"n2 10.244.2.0/24 is left out: its address 192.168.77.2 is also that of n3, whose lease is older"});
  CHECK(view.names == Lines{"n3"});
}

TEST_CASE("a peer that clashes with this node is out, however old it is") {
  ClusterView view = view_of("vxlan");
  Lease& peer = add_peer(view, 2, "vxlan");
  peer.rev = 0;
  SECTION("by subnet") { peer.subnet = view.self.lease.subnet; }
  SECTION("by address") { peer.public_ip = view.self.public_ip; }
  const auto lines = drop_conflicts(view);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("this node") != std::string::npos);
  CHECK(view.leases.empty());
}

TEST_CASE("a peer that was put out puts nobody else out") {
  ClusterView view = view_of("vxlan");
  add_peer(view, 2, "vxlan");
  add_peer(view, 3, "vxlan").subnet = prefix("10.244.2.0/23");  // clashes with n2; holds n3's own
  add_peer(view, 4, "vxlan").subnet = prefix("10.244.3.0/24");  // clashes with the one that is out
  CHECK(drop_conflicts(view).size() == 1);
  CHECK(view.names == Lines{"n2", "n4"});
}

TEST_CASE("0.0.0.0, which flannel writes for every IPv6-only node, is nobody's address") {
  ClusterView view = view_of("vxlan");
  add_peer(view, 2, "vxlan").public_ip = ip("0.0.0.0");
  add_peer(view, 3, "vxlan").public_ip = ip("0.0.0.0");
  CHECK(drop_conflicts(view).empty());
}
