#include "core/ownership.h"

#include <catch2/catch.hpp>

#include "core/names.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

namespace {

Ownership own() {
  Ownership own;
  own.networks = {prefix("10.244.0.0/16"), prefix("fd10::/48")};
  return own;
}

Link ours(const std::string& name) {
  Link link = nic(name);
  link.ours = true;
  return link;
}

Route by(Route route, uint8_t protocol) {
  route.protocol = protocol;
  return route;
}

}  // namespace

TEST_CASE("links are ours by name and mark together") {
  for (const char* name : {"knet.1", "knet6.1", "knet.16777215", "knet.udp", "knet.ipip", "knet.wg", "knet.wg6"})
    CHECK(own().owns(ours(name)));
  CHECK_FALSE(own().owns(nic("knet.1")));
  for (const char* name :
       {"eth0", "knet", "knet.", "knet.0", "knet.01", "knet.1a", "knet7.1", "knet0123456789a", "flannel.1"})
    CHECK_FALSE(own().owns(ours(name)));
}

TEST_CASE("a pod's link is knet and eleven hex digits") {
  CHECK(Ownership::is_pod_link("knet5e1c0a9b7d2"));
  for (const char* name : {"knet5e1c0a9b7d", "knet5e1c0a9b7dg", "veth5e1c0a9b7d2", "knet5E1C0A9B7D2", "knet.1"})
    CHECK_FALSE(Ownership::is_pod_link(name));
}

TEST_CASE("routes are ours by protocol and network together") {
  CHECK(own().owns(route("10.244.9.0/24", "eth0", "192.168.77.9")));
  CHECK(own().owns(blackhole("10.244.1.0/24", 65535)));
  CHECK(own().owns(route("fd10:0:0:9::/64", "eth0")));
  CHECK_FALSE(own().owns(route("10.245.0.0/24", "eth0")));
  CHECK_FALSE(own().owns(route("10.0.0.0/8", "eth0")));  // around the network, not inside
  CHECK_FALSE(own().owns(by(route("10.244.9.0/24", "eth0"), 12)));
  CHECK_FALSE(own().owns(by(route("10.244.9.0/24", "eth0", "192.168.77.9"), 3)));
}

TEST_CASE("where BGP's rules let routes in, routes of ours may lie, and nobody else's are adopted") {
  Ownership takeover = own();
  takeover.adopt_flannel = true;
  takeover.peer_addresses = {ip("192.168.77.9")};
  takeover.learnable = {prefix("0.0.0.0/0")};
  CHECK(takeover.owns(route("172.16.0.0/12", "eth0", "192.168.77.9")));
  CHECK(takeover.owns(by(route("10.244.9.0/24", "eth0", "192.168.77.9"), 3)));
  CHECK_FALSE(takeover.owns(by(route("172.16.0.0/12", "eth0", "192.168.77.9"), 3)));
}

TEST_CASE("after a change of the network, the routes of the former one are still ours") {
  Ownership moved = own();
  moved.networks = {prefix("10.100.0.0/16")};
  CHECK_FALSE(moved.owns(route("10.244.9.0/24", "eth0")));
  moved.former_networks = {prefix("10.244.0.0/16")};
  CHECK(moved.owns(route("10.244.9.0/24", "eth0")));
}

TEST_CASE("addresses, neighbours and fdb entries are ours on our links only; fe80:: is the kernel's") {
  NetState seen;
  seen.links = {nic("eth0"), ours("knet.1")};
  CHECK(own().owns(address("knet.1", "10.244.1.0/32"), seen));
  CHECK_FALSE(own().owns(address("knet.1", "fe80::1/64"), seen));
  CHECK_FALSE(own().owns(address("eth0", "10.244.1.0/32"), seen));
  CHECK(own().owns(neighbor("knet.1", "10.244.2.0", "02:00:00:00:00:02"), seen));
  CHECK_FALSE(own().owns(neighbor("eth0", "10.244.2.0", "02:00:00:00:00:02"), seen));
  CHECK(own().owns(fdb("knet.1", "02:00:00:00:00:02", "192.168.77.2"), seen));
  CHECK_FALSE(own().owns(fdb("br0", "02:00:00:00:00:02", "192.168.77.2"), seen));
}

TEST_CASE("the agent owns table knet; portmap's is CNI's") {
  NftTable table;
  table.name = "knet";
  CHECK(own().owns(table));
  table.name = "knet-hostports";
  CHECK_FALSE(own().owns(table));
}

TEST_CASE("flannel's leftovers are ours only in a takeover, and only those on the list") {
  Ownership adopt = own();
  adopt.adopt_flannel = true;
  adopt.peer_addresses = {ip("192.168.77.2")};

  const Link old = vxlan("flannel.7", 7, "192.168.77.1", "eth0");
  CHECK(adopt.owns(old));
  CHECK_FALSE(own().owns(old));
  CHECK(adopt.owns(vxlan("flannel-v6.1", 1, "fd00::1", "eth0")));
  CHECK_FALSE(adopt.owns(vxlan("flannel.7", 8, "192.168.77.1", "eth0")));  // a VNI that its name doesn't say
  CHECK_FALSE(adopt.owns(nic("flannel.1")));                               // no vxlan
  Link tun = nic("flannel0");
  tun.type = LinkType::other;
  CHECK(adopt.owns(tun));

  const Route over = by(route("10.244.9.0/24", "flannel.1", "10.244.9.0"), 3);
  CHECK(adopt.owns(over));
  CHECK_FALSE(own().owns(over));
  CHECK(adopt.owns(by(route("10.244.2.0/24", "eth0", "192.168.77.2"), 3)));
  CHECK_FALSE(adopt.owns(by(route("10.244.2.0/24", "eth0", "192.168.77.200"), 3)));
  CHECK_FALSE(adopt.owns(by(route("10.244.2.0/24", "eth0"), 3)));
  CHECK_FALSE(adopt.owns(by(route("10.99.0.0/24", "flannel.1", "10.99.0.0"), 3)));
  CHECK_FALSE(adopt.owns(by(route("10.244.2.0/24", "flannel.1", "10.244.2.0"), 12)));
}

TEST_CASE("a vxlan MAC is steady, local, unicast, and another for each node and device") {
  const Mac mac = vxlan_mac("n1", dev("knet.1"));
  CHECK(mac == vxlan_mac("n1", dev("knet.1")));
  CHECK(mac != vxlan_mac("n2", dev("knet.1")));
  CHECK(mac != vxlan_mac("n1", dev("knet6.1")));
  for (int i = 0; i < 100; ++i) CHECK((vxlan_mac("n" + std::to_string(i), dev("knet.1")).bytes[0] & 3) == 2);
  CHECK(vxlan_dev(1, Family::v4).view() == "knet.1");
  CHECK(vxlan_dev(16777215, Family::v6).view() == "knet6.16777215");
}
