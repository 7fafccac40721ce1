// The node's own part and the rules between producers, with modes made up here; the real modes are in tests/unit/modes.
#include "core/compose.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "base/error.h"
#include "core/node_part.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

namespace {

using Lines = std::vector<std::string>;

// Adds what a test tells it to; remembers whom it was called for.
class Script : public Mode {
 public:
  explicit Script(std::string_view name) : name_(name) {}
  std::string_view name() const override { return name_; }
  std::string_view summary() const override { return "for tests"; }
  std::string_view description() const override { return "for tests"; }
  std::span<const OptionSpec> options() const override { return {}; }
  bool carries(Family) const override { return true; }
  std::optional<std::string> unsupported(const KernelFeatures&, const NetworkConfig&) const override { return std::nullopt; }
  ModeMtu mtu(const NetworkConfig&, const LocalNode&) const override { return mtu_; }
  LeaseData announce(const NetworkConfig&, const LocalNode&) const override { return {std::string(name_), {}}; }
  void check_peer(const Lease& lease) const override {
    if (lease.data.v4 == "bad") fail(ErrorKind::config, "its data is bad");
  }
  void desired(const ClusterView& view, const NetworkConfig&, PeerSpan peers, Receive receive, ModeState& out) const override {
    called_ = true;
    received_ = receive == Receive::yes;
    peers_.clear();
    for (const uint32_t peer : peers) peers_.push_back(view.names[peer]);
    for (const uint32_t peer : peers) {
      Route to_peer =
          route_of_ ? *route_of_ : route(view.leases[peer].subnet.str(), "eth0", view.leases[peer].public_ip.str());
      out.add(to_peer, peer);
    }
    if (link_) out.add(*link_);
  }

  std::string_view name_;
  ModeMtu mtu_{1450, 1430};
  std::optional<Route> route_of_;
  std::optional<Link> link_;
  mutable bool called_ = false;
  mutable bool received_ = false;
  mutable Lines peers_;
};

struct Modes {
  Script one{"one"}, two{"two"};
  const Mode* table[2] = {&one, &two};
  ModeRegistry registry{table};
};

template <typename T>
Lines texts(const std::vector<T>& objects) {
  Lines lines;
  for (const T& object : objects) lines.push_back(describe(object));
  return lines;
}

bool has(const Lines& lines, const std::string& part) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& l) { return l.find(part) != std::string::npos; });
}

}  // namespace

TEST_CASE("without peers and pods a node has its blackhole, its sysctls and its masquerade") {
  Modes modes;
  const DesiredState state = compose(view_of("one"), modes.registry);
  CHECK(texts(state.net.routes) == Lines{"route blackhole 10.244.1.0/24 metric 65535"});
  CHECK(texts(state.net.sysctls) == Lines{"sysctl net.ipv4.ip_forward=1"});
  CHECK(texts(state.net.nft_tables) == Lines{"table inet knet"});
  CHECK(state.net.links.empty());
  CHECK(state.notices.empty());
  CHECK(state.blockers.empty());
}

TEST_CASE("dual stack adds the IPv6 side; a forwarding uplink goes on hearing its router") {
  Modes modes;
  const DesiredState state = compose(dual_view_of("one"), modes.registry);
  CHECK(texts(state.net.routes) ==
        Lines{"route blackhole 10.244.1.0/24 metric 65535", "route blackhole fd10:0:0:1::/64 metric 65535"});
  CHECK(texts(state.net.sysctls) == Lines{"sysctl net.ipv4.ip_forward=1", "sysctl net.ipv6.conf.all.forwarding=1",
                                          "sysctl net.ipv6.conf.eth0.accept_ra=2"});
  CHECK(state.net.sysctls[2].also == "0");
}

TEST_CASE("before there is a lease there is neither blackhole nor masquerade") {
  Modes modes;
  ClusterView view = view_of("one");
  view.self.lease = {};
  const DesiredState state = compose(view, modes.registry);
  CHECK(state.net.routes.empty());
  CHECK(state.net.nft_tables.empty());
}

TEST_CASE("a subnet outside of the network stops the node from being ready, and is not routed") {
  Modes modes;
  ClusterView view = view_of("one");
  view.self.lease.subnet = prefix("10.9.1.0/24");
  const DesiredState state = compose(view, modes.registry);
  CHECK(state.net.routes.empty());
  REQUIRE(state.blockers.size() == 1);
  CHECK(state.blockers[0].find("10.9.1.0/24") != std::string::npos);
}

TEST_CASE("masquerade: this node's pods, when they leave the cluster; not multicast, not what kube-proxy marked") {
  ClusterView view = dual_view_of("one");
  DesiredState state;
  add_node_table(view, {}, state);
  const NftTable table = state.net.nft_tables.at(0);
  REQUIRE(table.rules.chains.size() == 1);
  const NftChain& chain = table.rules.chains[0];
  CHECK(chain.nat);
  CHECK(chain.hook == NftHook::postrouting);
  CHECK(chain.priority == 100);
  REQUIRE(chain.rules.size() == 3);
  CHECK(std::get<NftMarkIs>(chain.rules[0].exprs[0]).value == 0x4000);
  CHECK(std::get<NftMarkIs>(chain.rules[0].exprs[0]).mask == 0x4000);
  CHECK(std::holds_alternative<NftReturn>(chain.rules[0].exprs[1]));
  const auto& exprs = chain.rules[2].exprs;
  const auto& from = std::get<NftAddressIn>(exprs[0]);
  CHECK((from.source && !from.negate && from.prefixes == std::vector{prefix("fd10:0:0:1::/64")}));
  const auto& to = std::get<NftAddressIn>(exprs[1]);
  CHECK((!to.source && to.negate && to.prefixes == std::vector{prefix("fd10::/48")}));
  CHECK(std::get<NftMulticastDestination>(exprs[2]).family == Family::v6);
  CHECK(std::get<NftMasquerade>(exprs[3]).fully_random);
  CHECK(table.digest == digest(table.rules));

  Modes modes;
  view.config.masquerade = false;
  CHECK(compose(view, modes.registry).net.nft_tables.empty());
}

TEST_CASE("pods have host routes where their address is the cluster's") {
  Modes modes;
  ClusterView view = dual_view_of("one");
  add_pod(view, "5e1c0a9b7d2", {"10.244.1.2", "fd10:0:0:1::2"});
  add_pod(view, "00000000001", {"192.168.5.5"}).pod = "default/odd";
  const DesiredState state = compose(view, modes.registry);
  CHECK(has(texts(state.net.routes), "route 10.244.1.2 dev knet5e1c0a9b7d2"));
  CHECK(has(texts(state.net.routes), "route fd10:0:0:1::2 dev knet5e1c0a9b7d2"));
  CHECK(state.net.routes.size() == 4);
  CHECK(has(state.notices, "default/odd has the address 192.168.5.5"));
}

TEST_CASE("two pods with one address: one is routed, and it is said") {
  Modes modes;
  ClusterView view = view_of("one");
  add_pod(view, "00000000001", {"10.244.1.2"});
  add_pod(view, "00000000002", {"10.244.1.2"});
  const DesiredState state = compose(view, modes.registry);
  CHECK(state.net.routes.size() == 2);
  CHECK(has(state.notices, "also claimed"));
}

TEST_CASE("accepts in foreign forward chains: each network, both directions, the chain's own family") {
  Modes modes;
  ClusterView view = dual_view_of("one");
  view.self.forward_drops = {{Family::v4, "filter", "DOCKER-USER"}, {Family::none, "fw", "forward"}};
  CHECK(texts(compose(view, modes.registry).net.forward_accepts) ==
        Lines{"accept to 10.244.0.0/16 in chain inet fw forward", "accept from 10.244.0.0/16 in chain inet fw forward",
              "accept to fd10::/48 in chain inet fw forward", "accept from fd10::/48 in chain inet fw forward",
              "accept to 10.244.0.0/16 in chain ip filter DOCKER-USER",
              "accept from 10.244.0.0/16 in chain ip filter DOCKER-USER"});
  view.self.forward_accept = false;
  const DesiredState state = compose(view, modes.registry);
  CHECK(state.net.forward_accepts.empty());
  CHECK(has(state.notices, "DOCKER-USER"));
}

TEST_CASE("each mode is called with its own peers, and only where it is needed") {
  Modes modes;
  ClusterView view = view_of("one");
  add_peer(view, 2, "two");
  add_peer(view, 3, "one");
  add_peer(view, 4, "two");
  SECTION("announced, and spoken by peers") {
    compose(view, modes.registry);
    CHECK((modes.one.received_ && modes.one.peers_ == Lines{"n3"}));
    CHECK((!modes.two.received_ && modes.two.peers_ == Lines{"n2", "n4"}));
  }
  SECTION("announced before: still to be received") {
    view.self.receive = {"two"};
    compose(view, modes.registry);
    CHECK(modes.two.received_);
  }
  SECTION("the config has changed, the lease not yet: both are received") {
    view.config.mode = "two";
    compose(view, modes.registry);
    CHECK((modes.one.received_ && modes.two.received_));
  }
  SECTION("nobody speaks it") {
    view.leases.resize(0);
    view.names.resize(0);
    compose(view, modes.registry);
    CHECK(modes.one.called_);
    CHECK_FALSE(modes.two.called_);
  }
}

TEST_CASE("one bad peer is named and left out, the others are served") {
  Modes modes;
  ClusterView view = view_of("one");
  add_peer(view, 2, "one", "bad");
  add_peer(view, 3, "three");
  add_peer(view, 4, "one").subnet = prefix("10.99.0.0/24");
  add_peer(view, 5, "one");
  add_peer(view, 6, "one").subnet = prefix("10.244.6.9/24");
  const DesiredState state = compose(view, modes.registry);
  CHECK(modes.one.peers_ == Lines{"n5"});
  CHECK(has(state.notices, "its subnet 10.244.6.9/24 has bits set after its length"));
  REQUIRE(state.notices.size() == 4);
  CHECK(state.notices[0] == "n2 10.244.2.0/24 is left out: its data is bad");
  CHECK(has(state.notices, "n3 10.244.3.0/24 is left out: it announces the mode 'three'"));
  CHECK(has(state.notices, "its subnet 10.99.0.0/24 is outside of the network 10.244.0.0/16"));
}

TEST_CASE("an IPv4 route by a gateway gets its nexthop; one is enough for two routes") {
  Modes modes;
  ClusterView view = dual_view_of("one");
  add_peer(view, 2, "one");
  add_peer(view, 3, "one", "", "192.168.77.2");
  const DesiredState state = compose(view, modes.registry);
  CHECK(texts(state.net.nexthops) == Lines{"nexthop via 192.168.77.2 dev eth0"});
  for (const Route& r : state.net.routes) CHECK(r.by_nexthop == static_cast<bool>(r.via));
  CHECK(state.producers[state.net.nexthops[0].origin.producer] == "one");
  CHECK(state.peers[state.net.nexthops[0].origin.peer] == "n2");
}

TEST_CASE("a pod of this node wins over a peer that announces its address") {
  Modes modes;
  modes.one.route_of_ = route("10.244.1.2/32", "eth0", "192.168.77.2");
  ClusterView view = view_of("one");
  add_pod(view, "00000000001", {"10.244.1.2"});
  add_peer(view, 2, "one");
  const DesiredState state = compose(view, modes.registry);
  CHECK(has(texts(state.net.routes), "route 10.244.1.2 dev knet00000000001"));
  CHECK(state.net.routes.size() == 2);
}

TEST_CASE("two peers that claim one key: the older lease has it, and it is said") {
  Modes modes;
  modes.one.route_of_ = route("10.244.9.0/24", "eth0", "192.168.77.9");
  ClusterView view = view_of("one");
  add_peer(view, 2, "one").rev = 50;
  add_peer(view, 3, "one").rev = 40;
  compose(view, modes.registry);  // alike: nothing to settle

  struct Claims : Script {
    using Script::Script;
    void desired(const ClusterView& view, const NetworkConfig&, PeerSpan peers, Receive, ModeState& out) const override {
      for (const uint32_t peer : peers)
        out.add(route("10.244.9.0/24", "eth0", view.leases[peer].public_ip.str()), peer);
    }
  } claims{"one"};
  const Mode* table[] = {&claims};
  const DesiredState state = compose(view, ModeRegistry(table));
  CHECK(has(texts(state.net.routes), "route 10.244.9.0/24 via 192.168.77.3 dev eth0"));
  CHECK(has(state.notices, "also claimed"));
}

TEST_CASE("two modes that want one key differently are a bug that names both") {
  Modes modes;
  modes.one.link_ = vxlan("knet.1", 1, "192.168.77.1", "eth0");
  modes.two.link_ = vxlan("knet.1", 1, "192.168.77.1", "eth1");
  ClusterView view = view_of("one");
  view.self.receive = {"two"};
  try {
    compose(view, modes.registry);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::bug);
    CHECK(error.text.find("both one and two want link knet.1") != std::string::npos);
  }
}

TEST_CASE("every device of a mode has loose rp_filter and hears no router") {
  Modes modes;
  modes.one.link_ = vxlan("knet.1", 1, "192.168.77.1", "eth0");
  const DesiredState state = compose(view_of("one"), modes.registry);
  CHECK(has(texts(state.net.sysctls), "sysctl net.ipv4.conf.knet/1.rp_filter=2"));
  CHECK(has(texts(state.net.sysctls), "sysctl net.ipv6.conf.knet/1.accept_ra=0"));
  for (const Sysctl& s : state.net.sysctls)
    CHECK(static_cast<bool>(s.dev) == (s.path.find("knet.1") != std::string::npos));
}

TEST_CASE("pods' MTU is the smallest of the modes in use, for each family") {
  Modes modes;
  modes.one.mtu_ = {1450, 1430};
  modes.two.mtu_ = {1400, 0};
  ClusterView view = dual_view_of("one");
  CHECK(pod_mtu(view, modes.registry).v4 == 1450);
  add_peer(view, 2, "two");
  CHECK(pod_mtu(view, modes.registry).v4 == 1400);
  CHECK(pod_mtu(view, modes.registry).v6 == 1430);
  view.leases.clear();
  view.self.receive = {"two"};
  CHECK(pod_mtu(view, modes.registry).v4 == 1400);
}

TEST_CASE("ownership of a view: its networks, and the peers' addresses for a takeover") {
  ClusterView view = dual_view_of("one");
  add_peer(view, 3, "one");
  add_peer(view, 2, "one");
  const Ownership own = ownership_of(view);
  CHECK(own.networks == std::vector{prefix("10.244.0.0/16"), prefix("fd10::/48")});
  CHECK_FALSE(own.adopt_flannel);
  CHECK(own.peer_addresses == std::vector{ip("192.168.77.2"), ip("192.168.77.3"), ip("fd00:77::2"), ip("fd00:77::3")});
}

TEST_CASE("modes are found by the typed word; a slip gets a hint") {
  Modes modes;
  CHECK(modes.registry.find("ONE") == &modes.one);
  CHECK(modes.registry.find("three") == nullptr);
  const Script vxlan_like{"vxlan"};
  const Mode* table[] = {&vxlan_like};
  try {
    ModeRegistry(table).get("vxlam");
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.text == "no mode 'vxlam'; did you mean vxlan? there are: vxlan");
  }
  CHECK_THROWS_WITH(ModeRegistry(table).get("IPSEC"), "mode 'IPSEC' is one of flannel's that this knet has not; there are: vxlan");
}

TEST_CASE("a node without pods has nothing in the kernel, whatever the others announce") {
  ClusterView view = view_of("host-gw");
  add_peer(view, 2, "host-gw");
  view.self.lease = {};
  view.self.runs_pods = false;
  const DesiredState state = compose(view, ModeRegistry({}));
  size_t objects = 0;
  for_each_kind(state.net, [&](const auto& kind) { objects += kind.size(); });
  CHECK(objects == 0);
  CHECK(state.blockers.empty());
}

TEST_CASE("what BGP may bring besides the cluster's networks is owned while BGP is spoken") {
  ClusterView view = view_of("host-gw");
  view.bgp.config.import = {prefix("172.16.0.0/12")};
  BgpPeerSpec tor;
  tor.name = "tor";
  BgpRule accept, reject, any;
  accept.prefix = prefix("192.0.2.0/24");
  reject.prefix = prefix("198.51.100.0/24");
  reject.accept = false;
  tor.import = {accept, reject, any, accept};
  view.bgp.peers = {tor};
  CHECK(ownership_of(view).claimed() == view.config.networks());
  view.config.mode = "bgp";
  std::vector<Prefix> wanted;
  wanted.push_back(prefix("172.16.0.0/12"));
  wanted.push_back(prefix("192.0.2.0/24"));
  CHECK(ownership_of(view).learnable == wanted);
  CHECK(ownership_of(view).networks == view.config.networks());
  view.config.mode = "host-gw";
  add_peer(view, 2, "bgp");  // one that has not followed yet
  CHECK(ownership_of(view).learnable == wanted);
}
