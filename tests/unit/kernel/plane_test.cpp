// The Plane contract (tests/support/plane_contract.h) on the real kernel and on its fake.
#include <catch2/catch.hpp>

#include "kernel/linux_plane.h"
#include "own_netns.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/make.h"
#include "tests/support/plane_contract.h"

using namespace knet;
using namespace knet::test;

namespace {

class LinuxRig : public PlaneRig {
 public:
  bool ready() const { return netns_.ready(); }
  Plane& plane() override { return plane_; }
  void watch(const NetState& desired) override { plane_.expect(desired); }
  void add_nic(const std::string& name, const std::string& address) override {
    if (!succeeds("ip link show " + name)) run("ip link add " + name + " type veth peer name " + name + "-peer");
    run("ip link set " + name + "-peer up; ip link set " + name + " up");
    run("ip address add " + address + " dev " + name + (address.find(':') != std::string::npos ? " nodad" : ""));
  }
  void remove_link(const std::string& name) override { run("ip link del " + name); }
  void set_up(const std::string& name, bool up) override { run("ip link set " + name + (up ? " up" : " down")); }
  void set_mac(const std::string& name, const std::string& mac) override {
    run("ip link set " + name + " address " + mac);
  }
  void remove(const Address& address) override {
    run("ip address del " + address.prefix.str() + " dev " + address.dev.str());
  }
  void remove(const Neighbor& neighbor) override {
    run("ip neigh del " + neighbor.ip.str() + " dev " + neighbor.dev.str());
  }
  void remove(const FdbEntry& entry) override {
    run("bridge fdb del " + entry.mac.str() + " dev " + entry.dev.str() + " dst " + entry.dst.str());
  }
  void remove(const Nexthop& nexthop) override { run("ip nexthop del id " + std::to_string(nexthop.id)); }
  void remove(const Route& route) override { run("ip route del " + route.dst.str() + " proto 107"); }
  void add(const Route& route) override {
    run("ip route add " + route.dst.str() + " via " + route.via.str() + " dev " + route.dev.str() + " proto " +
        std::to_string(route.protocol));
  }
  void remove_table(const std::string& name) override { run("nft delete table inet " + name); }
  void spoil_table(const std::string& name) override { run("nft add rule inet " + name + " postrouting accept"); }
  void add_forward_drop(const ForeignChain& chain) override {
    std::string table = (chain.family == Family::v4   ? "ip "
                         : chain.family == Family::v6 ? "ip6 "
                                                      : "inet ") +
                        chain.table;
    run("nft add table " + table);
    run("nft 'add chain " + table + " " + chain.chain + " { type filter hook forward priority 0; policy drop; }'");
  }
  PodMtu add_pod_link(const std::string& name, uint32_t mtu, uint32_t wanted) override {
    // The pod's end in the same namespace: entering and leaving it is the same.
    const std::string inside = "p" + name.substr(name.size() - 4);
    run("ip link add " + name + " mtu " + std::to_string(mtu) + " type veth peer name " + inside + " mtu " +
        std::to_string(mtu));
    PodMtu pod = pod_mtu(name, wanted);
    pod.netns = "/proc/thread-self/ns/net";
    pod.ifname = inside;
    return pod;
  }
  bool makes(LinkType type) override {
    const std::string probe = type == LinkType::ipip ? "ip link add probe0 type ipip local 127.0.0.1"
                                                     : "ip tuntap add dev probe0 mode tun";
    return succeeds(probe + " && ip link del probe0");
  }

 private:
  OwnNetns netns_;
  LinuxPlane plane_;
};

class FakeRig : public PlaneRig {
 public:
  Plane& plane() override { return kernel_; }
  void watch(const NetState&) override {}
  void add_nic(const std::string& name, const std::string& address) override {
    kernel_.add_nic(name.c_str(), address.c_str());
  }
  void remove_link(const std::string& name) override { REQUIRE(kernel_.remove_link(DevName(name)) == 0); }
  void set_up(const std::string& name, bool up) override { REQUIRE(kernel_.set_up(DevName(name), up) == 0); }
  void set_mac(const std::string& name, const std::string& mac) override {
    REQUIRE(kernel_.set_mac(DevName(name), *Mac::parse(mac)) == 0);
  }
  void remove(const Address& address) override { REQUIRE(kernel_.remove(address) == 0); }
  void remove(const Neighbor& neighbor) override { REQUIRE(kernel_.remove(neighbor) == 0); }
  void remove(const FdbEntry& entry) override { REQUIRE(kernel_.remove(entry) == 0); }
  void remove(const Nexthop& nexthop) override { REQUIRE(kernel_.remove(nexthop) == 0); }
  void remove(const Route& route) override { REQUIRE(kernel_.remove(route) == 0); }
  void add(const Route& route) override { REQUIRE(kernel_.add(route) == 0); }
  void remove_table(const std::string& name) override { REQUIRE(kernel_.remove_table(name) == 0); }
  void spoil_table(const std::string& name) override { kernel_.spoil_table(name); }
  void add_forward_drop(const ForeignChain& chain) override { kernel_.add_forward_drop(chain); }
  PodMtu add_pod_link(const std::string& name, uint32_t mtu, uint32_t wanted) override {
    kernel_.add_pod_link(dev(name), mtu);
    return pod_mtu(name, wanted);
  }
  bool makes(LinkType) override { return true; }

 private:
  FakeKernel kernel_;
};

}  // namespace

TEST_CASE("LinuxPlane keeps the Plane contract") {
  if (!OwnNetns().ready()) return;
  plane_contract([] { return std::make_unique<LinuxRig>(); });
}

TEST_CASE("FakeKernel keeps the Plane contract") {
  plane_contract([] { return std::make_unique<FakeRig>(); });
}
