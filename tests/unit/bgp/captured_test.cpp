// Messages that other speakers sent, taken off the wire: BIRD 2.0.12, FRR 8.4.4, GoBGP 3.10.0. What each means is told
// by the sender's or the receiver's own display (`birdc show route all`, `show protocols all`, `gobgp neighbor`),
// quoted beside it. AS 64512 unless said otherwise; 10.77.0.1 is BIRD.
#include <catch2/catch.hpp>

#include "bgp/message.h"
#include "tests/unit/bgp/wire_bytes.h"

using namespace knet;
using namespace knet::bgp;
using namespace knet::bgp::test;

namespace {

using Type = AsSegment::Type;
const SessionTraits kInternal{};
const SessionTraits kExternal{.ebgp = true};
const SessionTraits kOld{.four_octet_as = false, .ebgp = true};

IpAddr ip(const char* text) { return *IpAddr::parse(text); }
Prefix prefix(const char* text) { return *Prefix::parse(text); }

/// A message of a type with this body in hex.
template <typename T>
T read(uint8_t type, const char* body, const SessionTraits& traits = kInternal) {
  const Message got = decode(message(type, hex(body)), traits);
  if (const auto* error = std::get_if<MessageError>(&got)) FAIL(error->why);
  REQUIRE(std::holds_alternative<T>(got));
  return std::get<T>(got);
}

void check_routes(const char* body, const SessionTraits& traits, std::vector<Prefix> prefixes, const Attributes& want) {
  const Update got = read<Update>(2, body, traits);
  INFO(body);
  CHECK(got.treat_as_withdraw == "");
  CHECK(got.discarded.empty());
  CHECK(got.withdrawn.empty());
  CHECK_FALSE(got.end_of_rib);
  CHECK(got.reachable == prefixes);
  REQUIRE(got.attributes);
  CHECK(got.attributes->origin == want.origin);
  CHECK(got.attributes->as_path == want.as_path);
  CHECK(got.attributes->next_hop.str() == want.next_hop.str());
  CHECK(*got.attributes == want);
}

/// The same, and we say it in the same bytes as BIRD does.
void check_same(Afi afi, const char* body, const SessionTraits& traits, std::vector<Prefix> prefixes,
                const Attributes& want) {
  check_routes(body, traits, prefixes, want);
  Octets out;
  CHECK(encode_reach(afi, prefixes, want, traits, out) == 1);
  CHECK(out == message(2, hex(body)));
}

}  // namespace

TEST_CASE("OPEN of BIRD") {
  // Restart time: 120, AF supported: ipv4 ipv6, AF preserved: none; LL stale time: 3600 for both; hold time 240.
  const Open bird =
      read<Open>(1,
                 "04fc0000f00a4d0001340232010400010001010400020001 0200 400a007800010100000201004104 0000fc00"
                 "4600470e00010100000e1000020100000e10");
  Open want{.asn = 64512, .hold_time = 240, .id = 0x0a4d0001, .capabilities = {}};
  want.capabilities.multiprotocol[0] = want.capabilities.multiprotocol[1] = true;
  want.capabilities.route_refresh = want.capabilities.enhanced_refresh = want.capabilities.four_octet_as = true;
  want.capabilities.graceful_restart =
      GracefulRestart{.restart_time = 120, .long_lived = true, .families = {{true, false, 3600}, {true, false, 3600}}};
  CHECK(bird == want);

  // Without `graceful restart`: aware of it, and of the long-lived one, for no family. AS 4200000001.
  const Open aware = read<Open>(1, "045ba000f00a4d00031e021c0104000100010104000200010200400200784104fa56ea0146004700");
  CHECK(aware.asn == 4200000001);
  REQUIRE(aware.capabilities.graceful_restart);
  CHECK(*aware.capabilities.graceful_restart ==
        (GracefulRestart{.restart_time = 120, .long_lived = true, .families = {}}));

  // `enable as4 off; enable route refresh off; graceful restart off`, AS 65010: AF announced: ipv4 ipv6, nothing else.
  const Open old = read<Open>(1, "04fdf200f00a4d00050e020c010400010001010400020001");
  Open want_old{.asn = 65010, .hold_time = 240, .id = 0x0a4d0005, .capabilities = {}};
  want_old.capabilities.multiprotocol[0] = want_old.capabilities.multiprotocol[1] = true;
  CHECK(old == want_old);
  CHECK(encode(want_old) == message(1, hex("04fdf200f00a4d00050e020c010400010001010400020001")));

  // `add paths on`, `extended next hop on`: ADD-PATH RX: ipv4 ipv6, TX: ipv4 ipv6; IPv6 nexthop: ipv4.
  const Open paths =
      read<Open>(1,
                 "04fc0000f00a4d0001460244010400010001010400020001020005060001000100024 00a0078000101000002"
                 "010041040000fc00450800010103000201034600470e00010100000e1000020100000e10");
  CHECK(paths.capabilities.extended_next_hop);
  for (size_t i = 0; i < kAfis; ++i) {
    CHECK(paths.capabilities.add_path_receive[i]);
    CHECK(paths.capabilities.add_path_send[i]);
  }
}

TEST_CASE("OPEN of FRR") {
  // As BIRD shows it: ipv4 ipv6; route refresh; IPv6 nexthop: ipv4; extended message; restart time 120, restart
  // recovery, AF supported ipv4 ipv6, none preserved; AS4; ADD-PATH RX: ipv4 ipv6; enhanced refresh; LLGR stale time 0,
  // no family supported; hostname.
  const Open frr = read<Open>(
      1,
      "04fc0000b40a4d0004660206010400010001020805060001000100020206010400020001020280000202020002024600020641040000fc00"
      "02020600020a450800010101000201010206490402766d00020c400ac07800010100000201000210470e000101800000000002018000000"
      "0");
  Open want{.asn = 64512, .hold_time = 180, .id = 0x0a4d0004, .capabilities = {}};
  auto& c = want.capabilities;
  c.multiprotocol[0] = c.multiprotocol[1] = true;
  c.extended_next_hop = c.route_refresh = c.enhanced_refresh = c.four_octet_as = c.extended_message = true;
  c.add_path_receive[0] = c.add_path_receive[1] = true;
  c.graceful_restart = GracefulRestart{.restarting = true,
                                       .notification = true,
                                       .restart_time = 120,
                                       .long_lived = true,
                                       .families = {{true, false, 0}, {true, false, 0}}};
  c.unknown = {128, 73};  // the refresh of before RFC 2918; FQDN
  CHECK(frr == want);
}

TEST_CASE("OPEN of GoBGP") {
  // "graceful-restart: Local: restart time 120 sec, notification flag set, ipv4-unicast, ipv6-unicast;
  // long-lived-graceful-restart: ipv4-unicast, restart time 100000 sec; extended-nexthop: advertised; fqdn: vm".
  const Open gobgp = read<Open>(1,
                                "04fc00005a0a4d00023902370200490402766d0001040001000101040002000141040000fc00400a4078"
                                "00010100000201004707000101000186a00506000100010002");
  Open want{.asn = 64512, .hold_time = 90, .id = 0x0a4d0002, .capabilities = {}};
  auto& c = want.capabilities;
  c.multiprotocol[0] = c.multiprotocol[1] = true;
  c.route_refresh = c.four_octet_as = c.extended_next_hop = true;
  c.graceful_restart = GracefulRestart{.notification = true,
                                       .restart_time = 120,
                                       .long_lived = true,
                                       .families = {{true, false, 100000}, {true, false, 0}}};
  c.unknown = {73};
  CHECK(gobgp == want);
}

TEST_CASE("UPDATEs of BIRD to an internal peer") {
  Attributes a;
  a.next_hop = ip("10.77.0.1");
  a.local_pref = 100;
  check_same(Afi::v4, "00000015400101004002004003040a4d00014005040000006400200a090807", kInternal,
             {prefix("0.0.0.0/0"), prefix("10.9.8.7/32")}, a);
  // BGP.med: 50, BGP.local_pref: 2147482623 (what Calico's nodes send), BGP.community: (64512,100) (65535,65281),
  // BGP.ext_community: (rt, 64512, 77), BGP.large_community: (64512, 1, 4294967295)
  a.med = 50;
  a.local_pref = 2147482623;
  a.communities = {64512u << 16 | 100, kNoExport};
  a.extended_communities = {{0, 2, 0xfc, 0, 0, 0, 0, 77}};
  a.large_communities = {{64512, 1, 4294967295}};
  check_same(
      Afi::v4,
      "00000041400101004002004003040a4d0001800404000000324005047ffffbffc00808fc000064ffffff01c010080002fc000000004d"
      "c0200c0000fc0000000001ffffffff1a0af40100",
      kInternal, {prefix("10.244.1.0/26")}, a);
  // BGP.origin: Incomplete, BGP.as_path: 65001 4200000009
  Attributes path;
  path.next_hop = a.next_hop;
  path.origin = OriginCode::incomplete;
  path.as_path = {{Type::sequence, {65001, 4200000009}}};
  path.local_pref = 100;
  check_same(Afi::v4, "0000001f4001010240020a02020000fde9fa56ea094003040a4d0001400504000000641a0af40140", kInternal,
             {prefix("10.244.1.64/26")}, path);
}

TEST_CASE("UPDATEs of BIRD to an external peer") {
  Attributes a;
  a.next_hop = ip("10.77.0.1");
  a.as_path = {{Type::sequence, {64512, 65002}}, {Type::set, {65003, 65004}}};
  a.origin = OriginCode::incomplete;
  // BGP.as_path: 64512 65002 {65003 65004}
  check_same(Afi::v4, "000000224001010240021402020000fc000000fdea01020000fdeb0000fdec4003040a4d0001190af40280",
             kExternal, {prefix("10.244.2.128/25")}, a);
  Attributes six;
  six.next_hop = ip("fd77::1");
  six.as_path = {{Type::sequence, {64512}}};
  check_same(
      Afi::v6,
      "00000035900e002400020110fd7700000000000000000000000000010021fd0002440040fd00024400010000400101004002060201"
      "0000fc00",
      kExternal, {prefix("fd00:244::/33"), prefix("fd00:244:1::/64")}, six);
  six.communities = {64512u << 16 | 6};  // ::/0 BGP.community: (64512,6)
  check_same(Afi::v6,
             "0000002e900e001600020110fd770000000000000000000000000001000040010100400206 02010000fc00c00804fc000006",
             kExternal, {prefix("::/0")}, six);
}

TEST_CASE("UPDATEs between BIRD and a two-octet peer") {
  // BGP.as_path: 64512 65001 4200000009, from a speaker of four octets
  Attributes a;
  a.next_hop = ip("10.77.0.1");
  a.origin = OriginCode::incomplete;
  a.as_path = {{Type::sequence, {64512, 65001, 4200000009}}};
  check_same(Afi::v4,
             "00000027400101024002080203fc00fde95ba04003040a4d0001c0110e02030000fc000000fde9fa56ea091a0af40140", kOld,
             {prefix("10.244.1.64/26")}, a);
  // BGP.as_path: 65010 65011 4200000555, from BIRD with `enable as4 off`
  a.next_hop = ip("10.77.0.5");
  a.origin = OriginCode::igp;
  a.as_path = {{Type::sequence, {65010, 65011, 4200000555}}};
  check_same(Afi::v4, "00000027400101004002080203fdf2fdf35ba04003040a4d0005c0110e02030000fdf20000fdf3fa56ec2b180af405",
             kOld, {prefix("10.244.5.0/24")}, a);
  a.next_hop = ip("fd77::5");
  a.as_path = {{Type::sequence, {65010}}};
  check_same(Afi::v6, "0000002b900e001c00020110fd7700000000000000000000000000050030fd0000050000400101004002040201fdf2",
             kOld, {prefix("fd00:5::/48")}, a);
}

TEST_CASE("UPDATEs of FRR: IPv4 over an IPv6 next hop, an aggregate, extended lengths that need not be") {
  const SessionTraits traits{.extended_next_hop = true};
  // 10.244.0.0/16: BGP.origin: Incomplete, BGP.as_path: {65001 65010 65011 4200000001 4200000009 4200000555},
  // BGP.next_hop: fd77::4, BGP.med: 7, BGP.local_pref: 100, BGP.aggregator: 10.77.0.4 AS64512,
  // BGP.community: (64512,4) (65535,65282), BGP.ext_community: (rt, 64512, 77), BGP.large_community: (64512, 4, 4)
  Attributes a;
  a.next_hop = ip("fd77::4");
  a.origin = OriginCode::incomplete;
  a.as_path = {{Type::set, {65001, 65010, 65011, 4200000001, 4200000009, 4200000555}}};
  a.med = 7;
  a.local_pref = 100;
  a.aggregator = Aggregator{64512, 0x0a4d0004};
  a.communities = {64512u << 16 | 4, kNoAdvertise};
  a.extended_communities = {{0, 2, 0xfc, 0, 0, 0, 0, 77}};
  a.large_communities = {{64512, 4, 4}};
  check_routes(
      "0000007c900e001800010110fd77000000000000000000000000000400100af4400101025002001a01060000fde90000fdf20000fdf3"
      "fa56ea01fa56ea09fa56ec2b8004040000000740050400000064c007080000fc000a4d0004c00808fc000004ffffff02c0200c"
      "0000fc000000000400000004c010080002fc000000004d",
      traits, {prefix("10.244.0.0/16")}, a);
  a.origin = OriginCode::igp;
  a.as_path.clear();
  a.aggregator.reset();
  a.extended_communities.clear();
  check_routes(
      "00000056900e002200010110fd77000000000000000000000000000400180af404180af405190af404804001010050020000"
      "8004040000000740050400000064c00808fc000004ffffff02c0200c0000fc000000000400000004",
      traits, {prefix("10.244.4.0/24"), prefix("10.244.5.0/24"), prefix("10.244.4.128/25")}, a);
}

TEST_CASE("UPDATEs of GoBGP: MP_REACH behind the other attributes") {
  Attributes a;
  // BGP.origin: EGP, BGP.med: 5, BGP.local_pref: 300, BGP.community: (64512,200), BGP.large_community: (1, 2, 3)
  a.next_hop = ip("10.77.0.2");
  a.origin = OriginCode::egp;
  a.med = 5;
  a.local_pref = 300;
  a.communities = {64512u << 16 | 200};
  a.large_communities = {{1, 2, 3}};
  check_routes(
      "00000032400101014002004003040a4d0002800404000000054005040000012cc00804fc0000c8c0200c000000010000000200000003"
      "180af402",
      kInternal, {prefix("10.244.2.0/24")}, a);
  Attributes six;
  six.next_hop = ip("fd77::2");
  six.origin = OriginCode::incomplete;
  six.local_pref = 100;
  check_routes("0000002f4001010240020040050400000064800e1e00020110fd7700000000000000000000000000020040fd00024400020000",
               kInternal, {prefix("fd00:244:2::/64")}, six);
}

TEST_CASE("withdrawals and ends of RIB of all three") {
  // BIRD, GoBGP
  CHECK((read<Update>(2, "0004180af4030000").withdrawn == std::vector<Prefix>{prefix("10.244.3.0/24")}));
  CHECK((read<Update>(2, "00000010900f000c00020140fd00024400020000").withdrawn ==
         std::vector<Prefix>{prefix("fd00:244:2::/64")}));
  CHECK((read<Update>(2, "0000000f800f0c00020140fd00024400020000").withdrawn ==
         std::vector<Prefix>{prefix("fd00:244:2::/64")}));
  // The same of all of them; ours too.
  CHECK(read<Update>(2, "00000000").end_of_rib == Afi::v4);
  CHECK(read<Update>(2, "00000006800f03000201").end_of_rib == Afi::v6);
  CHECK(encode_end_of_rib(Afi::v6) == message(2, hex("00000006800f03000201")));
}

TEST_CASE("route refreshes") {
  // birdc reload in
  CHECK(read<RouteRefresh>(5, "00010001") == (RouteRefresh{Afi::v4, RouteRefresh::Kind::request}));
  CHECK(read<RouteRefresh>(5, "00020001") == (RouteRefresh{Afi::v6, RouteRefresh::Kind::request}));
  // FRR's answer: begins, and ends (RFC 7313)
  CHECK(read<RouteRefresh>(5, "00010101") == (RouteRefresh{Afi::v4, RouteRefresh::Kind::begin}));
  CHECK(read<RouteRefresh>(5, "00010201") == (RouteRefresh{Afi::v4, RouteRefresh::Kind::end}));
}

TEST_CASE("notifications") {
  // birdc disable bird2 "maintenance till noon"
  CHECK(describe(read<Notification>(3, "0602156d61696e74656e616e63652074696c6c206e6f6f6e")) ==
        "cease, administrative shutdown: maintenance till noon");
  // birdc restart up
  CHECK(describe(read<Notification>(3, "0604")) == "cease, administrative reset");
  // gobgp neighbor ... shutdown --reason "going away"
  CHECK(describe(read<Notification>(3, "06020a676f696e672061776179")) == "cease, administrative shutdown: going away");
}
