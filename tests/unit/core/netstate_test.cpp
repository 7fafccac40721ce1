#include "core/netstate.h"

#include <catch2/catch.hpp>

#include "base/error.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

TEST_CASE("a device name is at most 15 bytes, without slash, colon or white space") {
  CHECK(DevName("knet5e1c0a9b7d2").view() == "knet5e1c0a9b7d2");
  CHECK(DevName("knet.1") < DevName("knet6.1"));
  CHECK_FALSE(DevName());
  for (const char* name : {"", "a234567890123456", "a/b", "a b", "a\tb", "a:b", ".", ".."})
    CHECK_THROWS_AS(DevName(name), Error);
}

TEST_CASE("objects are told in iproute2's words") {
  Link link = vxlan("knet.1", 1, "192.168.77.1", "eth0");
  CHECK(describe(link) == "link knet.1 type vxlan id 1 local 192.168.77.1 dev eth0 dstport 8472 mtu 1450");
  CHECK(describe(address("knet.1", "10.244.1.0/32")) == "address 10.244.1.0/32 dev knet.1");
  CHECK(describe(sysctl("net/ipv4/conf/knet.1/rp_filter", "2")) == "sysctl net.ipv4.conf.knet/1.rp_filter=2");
  CHECK(describe(neighbor("knet.1", "10.244.2.0", "02:4b:9e:01:77:03")) ==
        "neigh 10.244.2.0 dev knet.1 lladdr 02:4b:9e:01:77:03");
  CHECK(describe(fdb("knet.1", "02:4b:9e:01:77:03", "192.168.77.3")) ==
        "fdb 02:4b:9e:01:77:03 dev knet.1 dst 192.168.77.3");
  CHECK(describe(nexthop("eth0", "192.168.77.2")) == "nexthop via 192.168.77.2 dev eth0");

  Route r = route("10.244.2.0/24", "knet.1", "10.244.2.0");
  r.onlink = true;
  CHECK(describe(r) == "route 10.244.2.0/24 via 10.244.2.0 dev knet.1 onlink");
  CHECK(describe(route("10.244.1.2/32", "knet5e1c0a9b7d2")) == "route 10.244.1.2 dev knet5e1c0a9b7d2");
  CHECK(describe(blackhole("10.244.1.0/24")) == "route blackhole 10.244.1.0/24");
  r = route("10.244.7.0/24", "eth1", "10.9.0.1");
  r.protocol = 12;
  r.metric = 32;
  r.mtu = 1400;
  r.table = 100;
  r.src = ip("10.9.0.5");
  CHECK(describe(r) ==
        "route 10.244.7.0/24 via 10.9.0.1 dev eth1 table 100 proto bird src 10.9.0.5 metric 32 mtu 1400");

  ForwardAccept rule;
  rule.chain = {Family::none, "firewall", "fwd"};
  rule.network = prefix("10.244.0.0/16");
  rule.source = false;
  CHECK(describe(rule) == "accept to 10.244.0.0/16 in chain inet firewall fwd");
}

TEST_CASE("states are sorted by key, IPv4 before IPv6") {
  NetState net;
  net.routes = {route("fd10::/64", "a"), route("10.2.0.0/16", "a"), route("10.1.0.0/16", "b"),
                blackhole("10.1.0.0/16", 9)};
  net.links = {nic("eth1"), nic("eth0")};
  sort_by_key(net);
  CHECK(describe(net.routes[0]) == "route 10.1.0.0/16 dev b");
  CHECK(net.routes[1].metric == 9);
  CHECK(net.routes[3].dst.is_v6());
  CHECK(net.find_link(dev("eth1")) == &net.links[1]);
  CHECK(net.find_link(dev("eth2")) == nullptr);
}

TEST_CASE("an IPv6 metric of 0 and 1024 are one key") {
  Route a = route("fd10::/64", "eth0"), b = a;
  b.metric = 1024;
  CHECK(a.key() == b.key());
  Route v4 = route("10.1.0.0/16", "eth0"), w4 = v4;
  w4.metric = 1024;
  CHECK(v4.key() != w4.key());
}

TEST_CASE("a ruleset's digest follows every part of it, and is never 0") {
  NftRuleset rules;
  CHECK(digest(rules) != 0);
  NftChain chain;
  chain.name = "postrouting";
  chain.nat = true;
  NftRule& rule = chain.rules.emplace_back();
  rule.key = "masquerade4";
  rule.exprs.emplace_back(NftAddressIn{true, false, {prefix("10.244.1.0/24")}});
  rule.exprs.emplace_back(NftMasquerade{true});
  rules.chains.push_back(chain);
  const uint64_t before = digest(rules);
  CHECK(before == digest(rules));
  const auto changed = [&](auto change) {
    NftRuleset other = rules;
    change(other.chains[0]);
    return digest(other) != before;
  };
  CHECK(changed([](NftChain& c) { c.priority = 99; }));
  CHECK(changed([](NftChain& c) { c.nat = false; }));
  CHECK(changed([](NftChain& c) { c.rules[0].key = "x"; }));
  CHECK(changed([](NftChain& c) { std::get<NftAddressIn>(c.rules[0].exprs[0]).negate = true; }));
  CHECK(
      changed([](NftChain& c) { std::get<NftAddressIn>(c.rules[0].exprs[0]).prefixes[0] = prefix("10.244.2.0/24"); }));
  CHECK(changed([](NftChain& c) { std::get<NftMasquerade>(c.rules[0].exprs[1]).fully_random = false; }));
  CHECK(changed([](NftChain& c) { c.rules[0].exprs.emplace_back(NftCounter{}); }));
}

TEST_CASE("a tunnel's objects are told so that one can find them") {
  CHECK(describe(tun("knet.udp")) == "link knet.udp type tun mtu 1472");
  CHECK(describe(ipip("knet.ipip", "192.168.77.1", "eth0")) ==
        "link knet.ipip type ipip remote any local 192.168.77.1 dev eth0 mtu 1480");
  CHECK(describe(wireguard("knet.wg")) ==
        "link knet.wg type wireguard listen-port 51820 public-key AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= mtu 1420");
  WireguardPeer peer = wireguard_peer("knet.wg", 2, "10.244.2.0/24", "fd00:77::2");
  peer.preshared_key = WireguardKey{};
  const std::string text = describe(peer);
  CHECK(text.starts_with("wireguard peer AgIC"));
  CHECK(text.ends_with("dev knet.wg endpoint [fd00:77::2]:51820 allowed-ips 10.244.2.0/24 with preshared key"));
  CHECK(describe(filter("knet.udp", TunnelEnd::encap)) ==
        "filter dev knet.udp egress udp encap of knet.udp port 8285 local 192.168.77.1");
  CHECK(describe(filter("eth0", TunnelEnd::decap, "knet.ipip", "192.168.77.1", 0)) ==
        "filter dev eth0 ingress ipip decap of knet.ipip local 192.168.77.1");
  CHECK(describe(tunnel_peer("knet.udp", "10.244.2.0/24", "192.168.77.2")) ==
        "tunnel peer 10.244.2.0/24 dev knet.udp to 192.168.77.2:8285");
  CHECK(describe(tunnel_peer("knet.ipip", "fd10::/64", "fd00:77::2", 0)) ==
        "tunnel peer fd10::/64 dev knet.ipip to fd00:77::2");
  CHECK(describe(pod_mtu("knet00000000001", 1472)) == "pod link knet00000000001 mtu 1472");
}

TEST_CASE("a filter's digest follows every part of it, and is never 0") {
  const Filter one = filter("eth0", TunnelEnd::decap);
  CHECK(one.digest != 0);
  const auto changed = [&](auto change) {
    Filter other = one;
    change(other);
    return digest(other) != one.digest;
  };
  CHECK(changed([](Filter& f) { f.dev = dev("eth1"); }));
  CHECK(changed([](Filter& f) { f.end = TunnelEnd::encap; }));
  CHECK(changed([](Filter& f) { f.tunnel = dev("knet.ipip"); }));
  CHECK(changed([](Filter& f) { f.wire = TunnelWire::ipip; }));
  CHECK(changed([](Filter& f) { f.port = 1; }));
  CHECK(changed([](Filter& f) { f.local = ip("192.168.77.2"); }));
  CHECK(changed([](Filter& f) { f.local6 = ip("fd00::2"); }));
}
