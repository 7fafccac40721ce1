// What is wrong with an UPDATE, and the answer of RFC 7606 to it (with RFC 4271 6.3, 4760, 6793, 7607, 8092).
#include <catch2/catch.hpp>

#include "bgp/message.h"
#include "tests/unit/bgp/wire_bytes.h"

using namespace knet;
using namespace knet::bgp;
using namespace knet::bgp::test;

namespace {

const SessionTraits kInternal{};
const SessionTraits kExternal{.ebgp = true};
const SessionTraits kTwoOctets{.four_octet_as = false};
const std::string kGood = "400101 00 400206 0201 0000fc00 400304 0a000001 ";
const std::string kReach6 = "900e0016 0002 01 10 fd770000000000000000000000000001 00 00 ";

struct Case {
  const char* what;
  std::string attributes;
  int subcode = 0;  // of the session's end, where there is one
};

Update read(const Octets& bytes, const SessionTraits& traits = kInternal) {
  const Message message = decode(bytes, traits);
  if (const auto* error = std::get_if<MessageError>(&message)) FAIL("session ends: " << error->why);
  REQUIRE(std::holds_alternative<Update>(message));
  return std::get<Update>(message);
}

void check_reset(const char* what, const Octets& bytes, int subcode, const SessionTraits& traits = kInternal) {
  INFO(what);
  const Message message = decode(bytes, traits);
  REQUIRE(std::holds_alternative<MessageError>(message));
  const auto& error = std::get<MessageError>(message);
  INFO(error.why);
  CHECK(int{error.notification.code} == 3);
  CHECK(int{error.notification.subcode} == subcode);
  CHECK(error.why.rfind("UPDATE: ", 0) == 0);
}

}  // namespace

TEST_CASE("lengths that conflict with the message end the session") {
  check_reset("withdrawn", message(2, hex("0001 0000")), 1);
  check_reset("withdrawn all", message(2, hex("ffff 0000")), 1);
  check_reset("withdrawn leaves no room for the attributes' length", message(2, hex("0002 0000 00")), 1);
  check_reset("attributes", message(2, hex("0000 0001")), 1);
  check_reset("attributes all", message(2, hex("0000 ffff")), 1);
}

TEST_CASE("prefixes that cannot be parsed end the session (RFC 7606 5.3)") {
  check_reset("a length of 33", update("", kGood, "21 0a0000000000"), 10);
  check_reset("cut off", update("", kGood, "18 0a00"), 10);
  check_reset("cut off behind good ones", update("", kGood, "08 0a 20 0a0000"), 10);
  check_reset("withdrawn of 33", update("21 0a00000000", "", ""), 10);
  check_reset("withdrawn, cut off", update("20 0a", "", ""), 10);
  check_reset("IPv6 of 129",
              update("",
                     kGood + "900e0027 0002 01 10 fd770000000000000000000000000001 00"
                             "81 0000000000000000000000000000000000",
                     ""),
              9);
  check_reset("IPv6, cut off", update("", kGood + "900e0016 0002 01 10 fd770000000000000000000000000001 00 08", ""), 9);
  check_reset("IPv6 withdrawn, cut off", update("", "800f04 0002 01 08", ""), 9);
  check_reset("IPv6 withdrawn of 129", update("", "800f15 0002 01 81 0000000000000000000000000000000000", ""), 9);
}

TEST_CASE("multiprotocol attributes that do not say where their prefixes are end the session") {
  const Case cases[] = {
      {"MP_REACH too short", kGood + "800e04 00020110", 9},
      {"MP_REACH empty", kGood + "800e00", 9},
      {"next hop beyond the attribute", kGood + "800e09 0002 01 10 fd770000 00", 9},
      {"next hop without the reserved byte", kGood + "800e14 0002 01 10 fd770000000000000000000000000001", 9},
      {"IPv6 next hop of 4 bytes", kGood + "800e0a 0002 01 04 0a000001 00 00", 9},
      {"IPv6 next hop of 0 bytes", kGood + "800e06 0002 01 00 00 00", 9},
      {"IPv6 next hop of 24 bytes", kGood + "800e1e 0002 01 18 fd7700000000000000000000000000010000000000000000 00 00",
       9},
      {"MP_UNREACH too short", "800f02 0002", 9},
      {"MP_REACH twice", kGood + kReach6 + kReach6, 1},
      {"MP_UNREACH twice", "800f03 000201 800f03 000201", 1},
  };
  for (const Case& c : cases) check_reset(c.what, update("", c.attributes, ""), c.subcode);
}

TEST_CASE("attributes not known but told to be well-known end the session") {
  check_reset("flags 40", update("", kGood + "406300", "08 0a"), 2);
  check_reset("flags 00", update("", kGood + "006301 05", "08 0a"), 2);
  const Message message = decode(update("", kGood + "406301 05", "08 0a"), kInternal);
  CHECK(std::get<MessageError>(message).notification.data == hex("40630105"));
}

TEST_CASE("routes are treated as withdrawn, the session lives") {
  const std::string no_origin = "400200 400304 0a000001 ", origin = "400101 00 ", path = "400200 ",
                    hop = "400304 0a000001 ";
  const Case cases[] = {
      {"ORIGIN missing", path + hop},
      {"AS_PATH missing", origin + hop},
      {"NEXT_HOP missing", origin + path},
      {"nothing at all", ""},
      {"ORIGIN of 0 bytes", "400100" + path + hop},
      {"ORIGIN of 2 bytes", "400102 0000" + path + hop},
      {"ORIGIN 3", "400101 03" + path + hop},
      {"ORIGIN optional", "c00101 00" + path + hop},
      {"ORIGIN not transitive", "000101 00" + path + hop},
      {"AS_PATH of unknown segment", origin + "400206 0501 0000fc00" + hop},
      {"AS_PATH of segment 0", origin + "400206 0001 0000fc00" + hop},
      {"AS_PATH segment too long", origin + "400206 0202 0000fc00" + hop},
      {"AS_PATH segment cut to a byte", origin + "400207 0201 0000fc00 02" + hop},
      {"AS_PATH segment empty", origin + "400202 0200" + hop},
      {"AS_PATH of two-octet numbers", origin + "400204 0201 fc00" + hop},
      {"AS_PATH with AS 0", origin + "40020a 0202 0000fc00 00000000" + hop},
      {"NEXT_HOP of 3 bytes", origin + path + "400303 0a0000"},
      {"NEXT_HOP of 16 bytes", origin + path + "400310 fd770000000000000000000000000001"},
      {"NEXT_HOP 0.0.0.0", origin + path + "400304 00000000"},
      {"NEXT_HOP 127.0.0.1", origin + path + "400304 7f000001"},
      {"NEXT_HOP multicast", origin + path + "400304 e0000001"},
      {"NEXT_HOP broadcast", origin + path + "400304 ffffffff"},
      {"MED of 3 bytes", kGood + "800403 000000"},
      {"MED transitive", kGood + "c00404 00000000"},
      {"LOCAL_PREF of 5 bytes", kGood + "400505 0000000000"},
      {"LOCAL_PREF optional", kGood + "c00504 00000064"},
      {"COMMUNITIES empty", kGood + "c00800"},
      {"COMMUNITIES of 5 bytes", kGood + "c00805 0000000000"},
      {"COMMUNITIES not transitive", kGood + "800804 00000000"},
      {"ORIGINATOR_ID of 0 bytes", kGood + "800900"},
      {"CLUSTER_LIST empty", kGood + "800a00"},
      {"CLUSTER_LIST of 6 bytes", kGood + "800a06 000000000000"},
      {"EXTENDED_COMMUNITIES of 9 bytes", kGood + "c01009 000000000000000000"},
      {"EXTENDED_COMMUNITIES empty", kGood + "c01000"},
      {"LARGE_COMMUNITIES of 11 bytes", kGood + "c0200b 0000000000000000000000"},
      {"LARGE_COMMUNITIES empty", kGood + "c02000"},
      {"an attribute ends beyond the list", kGood + "c008ff 00000000"},
      {"with an extended length", kGood + "d0080005 00000000"},
      {"a header of one byte", kGood + "c0"},
      {"a header of two bytes", kGood + "c008"},
      {"an extended header of three bytes", kGood + "d00800"},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    const Update got = read(update("08 0b", c.attributes, "18 0af401 08 0a"));
    CHECK(got.treat_as_withdraw.rfind("UPDATE: ", 0) == 0);
    CHECK(got.reachable == std::vector<Prefix>{*Prefix::parse("10.244.1.0/24"), *Prefix::parse("10.0.0.0/8")});
    CHECK(got.withdrawn == std::vector<Prefix>{*Prefix::parse("11.0.0.0/8")});
    CHECK_FALSE(got.attributes);
  }
}

TEST_CASE("the same errors where no prefix is left to withdraw end the session (RFC 7606 5.2)") {
  check_reset("ORIGIN", update("", "400101 09", ""), 6);
  check_reset("flags", update("", "c00101 00", ""), 4);
  check_reset("length", update("", "400102 0000", ""), 5);
  check_reset("AS_PATH", update("", "400202 0200", ""), 11);
  check_reset("NEXT_HOP", update("", "400304 00000000", ""), 8);
  check_reset("list", update("08 0a", "4001", ""), 1);
  check_reset("MP_REACH without prefixes",
              update("", "800e15 0002 01 10 fd770000000000000000000000000001 00 400101 09", ""), 6);
  // Missing attributes are none then, and what is discarded is not worth a session.
  CHECK_FALSE(read(update("", "400101 00", "")).attributes);
  CHECK(read(update("", "c00702 0000", "")).discarded.size() == 1);
  // MP_UNREACH alone has no routes that could be lost.
  CHECK(read(update("", "c00f05 0002 01 08 fd", "")).withdrawn.size() == 1);
}

TEST_CASE("a malformed attribute beside MP prefixes takes those back too") {
  const Update got = read(update("", kReach6 + "400101 05 400200", ""));
  CHECK(got.reachable.size() == 1);
  CHECK(got.treat_as_withdraw.find("ORIGIN") != std::string::npos);
  const Update both = read(update("", kReach6 + "400101 05 400200 400304 0a000001", "08 0a"));
  CHECK(both.reachable.size() == 1);
  CHECK(both.mp_reachable.size() == 1);
  CHECK_FALSE(both.treat_as_withdraw.empty());
  for (const char* unusable :
       {"00000000000000000000000000000000", "00000000000000000000000000000001", "ff020000000000000000000000000001"}) {
    const Update got6 = read(update("", std::string("800e16 0002 01 10 ") + unusable + " 00 00 400101 00 400200", ""));
    CHECK(got6.reachable.size() == 1);
    CHECK_FALSE(got6.treat_as_withdraw.empty());
  }
  // The flags of MP_REACH are wrong, its prefixes are known all the same.
  const Update flags =
      read(update("", "c00e16 0002 01 10 fd770000000000000000000000000001 00 00 400101 00 400200", ""));
  CHECK(flags.reachable.size() == 1);
  CHECK_FALSE(flags.treat_as_withdraw.empty());
}

TEST_CASE("NEXT_HOP beside MP_REACH alone is ignored, malformed or not (RFC 4760 section 3)") {
  const Update got = read(update("", kReach6 + "400101 00 400200 400303 000000", ""));
  CHECK(got.treat_as_withdraw.empty());
  CHECK(got.attributes->next_hop.str() == "fd77::1");
}

TEST_CASE("attributes are discarded, the routes stay") {
  struct Discard {
    const char* what;
    std::string attribute;
    SessionTraits traits;
  };
  const Discard cases[] = {
      {"ATOMIC_AGGREGATE", "400601 00", kInternal},
      {"AGGREGATOR", "c00706 fc000a000001", kInternal},
      {"AGGREGATOR", "c00700", kInternal},
      {"AGGREGATOR", "c00708 000000000a000001", kInternal},  // AS 0
      {"LOCAL_PREF", "400504 00000064", kExternal},
      {"LOCAL_PREF", "400503 000064", kExternal},
      {"ORIGINATOR_ID", "800904 0a000001", kExternal},
      {"ORIGINATOR_ID", "800901 0a", kExternal},
      {"CLUSTER_LIST", "800a04 0a000001", kExternal},
      {"CLUSTER_LIST", "800a00", kExternal},
      {"AS4_PATH", "c01106 0201 0000fc00", kInternal},
      {"AS4_AGGREGATOR", "c01208 0000fc000a000001", kInternal},
      {"ORIGIN", "400101 02", kInternal},  // again
      {"ORIGIN", "400101 77", kInternal},  // again, and the second is not looked at
      {"COMMUNITIES", "c00804 00000001 c00800", kInternal},
  };
  for (const Discard& c : cases) {
    INFO(c.what << " " << c.attribute);
    const Update got = read(update("", kGood + c.attribute, "08 0a"), c.traits);
    CHECK(got.treat_as_withdraw == "");
    REQUIRE(got.attributes);
    REQUIRE(got.discarded.size() == 1);
    CHECK(got.discarded[0].rfind(c.what, 0) == 0);
    CHECK(got.attributes->origin == OriginCode::igp);
    CHECK_FALSE(got.attributes->atomic_aggregate);
    CHECK_FALSE(got.attributes->aggregator);
    CHECK_FALSE(got.attributes->local_pref);
    CHECK_FALSE(got.attributes->originator_id);
    CHECK(got.attributes->cluster_list.empty());
  }
}

TEST_CASE("families that are not spoken are passed over") {
  const Update got = read(update("", "800e0c 0001 80 04 0a000001 00 00 00 00 800f03 4004 47 " + kGood, "08 0a"));
  CHECK(got.reachable.size() == 1);
  CHECK(got.treat_as_withdraw == "");
  CHECK(got.discarded.size() == 2);
  CHECK_FALSE(got.end_of_rib);
}

TEST_CASE("attributes that are not known: passed on with the partial bit, or ignored") {
  const Update got = read(update("", kGood + "c06302 0102 f0fe0001 03 e06401 04 806501 05 c08000", "08 0a"));
  const std::vector<UnknownAttribute> want = {
      {0xe0, 0x63, {1, 2}}, {0xe0, 0x64, {4}}, {0xe0, 0x80, {}}, {0xe0, 0xfe, {3}}};
  CHECK(got.attributes->unknown == want);
  CHECK(got.discarded.empty());
}

TEST_CASE("confederation segments: from the own AS only (RFC 5065 section 5)") {
  const std::string attributes = "400101 00 40020c 0301 0000fde8 0201 0000fc00 400304 0a000001";
  CHECK(read(update("", attributes, "08 0a")).attributes->path_length() == 1);
  CHECK_FALSE(read(update("", attributes, "08 0a"), kExternal).treat_as_withdraw.empty());
}

TEST_CASE("the first error is told, and of discards the first few") {
  const Update got = read(update("", "400101 05 400202 0200 400304 00000000", "08 0a"));
  CHECK(got.treat_as_withdraw.find("ORIGIN") != std::string::npos);
  std::string many = kGood;
  for (int i = 0; i < 1000; ++i) many += "400100";
  CHECK(read(update("", many, "08 0a")).discarded.size() < 20);
}

TEST_CASE("AS_PATH and AS4_PATH joined (RFC 6793 4.2.3)") {
  using Type = AsSegment::Type;
  const auto path = [](const std::string& as_path, const std::string& more) {
    const Update got = read(update("", "400101 00 400304 0a000001" + as_path + more, "08 0a"), kTwoOctets);
    REQUIRE(got.attributes);
    return got.attributes->as_path;
  };
  const std::vector<AsSegment> whole = {{Type::sequence, {65010, 70000, 80000}}};
  CHECK(path("400208 0203 fdf2 5ba0 5ba0", "c0110a 0202 00011170 00013880") == whole);
  CHECK(path("400208 0203 fdf2 5ba0 5ba0", "c0110e 0203 0000fdf2 00011170 00013880") == whole);
  // Longer than AS_PATH: an old speaker in between has not kept it.
  const std::vector<AsSegment> old = {{Type::sequence, {65010, 23456}}};
  CHECK(path("400206 0202 fdf2 5ba0", "c0110e 0203 0000fdf2 00011170 00013880") == old);
  CHECK(path("400206 0202 fdf2 5ba0", "") == old);
  // A set counts one; what is taken in front is taken whole.
  const std::vector<AsSegment> set = {{Type::sequence, {65010}}, {Type::set, {1, 2}}, {Type::sequence, {70000}}};
  CHECK(path("40020e 0201 fdf2 0102 0001 0002 0201 5ba0", "c01106 0201 00011170") == set);
  // Confederation segments in front stay (section 4.2.3), those inside AS4_PATH are dropped (section 6).
  const std::vector<AsSegment> confed = {{Type::confed_sequence, {64600}}, {Type::sequence, {70000}}};
  CHECK(path("400208 0301 fc58 0201 5ba0", "c0110c 0301 00000007 0201 00011170") == confed);
  // Malformed: discarded, never worse.
  for (const char* bad : {"c01100", "c01103 020100", "c01106 0501 00011170", "c01106 0201 00000000", "c01102 0200"}) {
    const Update got =
        read(update("", "400101 00 400304 0a000001 400206 0202 fdf2 5ba0" + std::string(bad), "08 0a"), kTwoOctets);
    CHECK(got.treat_as_withdraw == "");
    CHECK(got.discarded.size() == 1);
    CHECK(got.attributes->as_path == old);
  }
}

TEST_CASE("AGGREGATOR and AS4_AGGREGATOR joined (RFC 6793 4.2.3)") {
  const auto got = [](const std::string& more) {
    return *read(update("", "400101 00 400304 0a000001 400206 0202 fdf2 5ba0 c0110a 0202 0000fdf2 00011170" + more,
                        "08 0a"),
                 kTwoOctets)
                .attributes;
  };
  const std::string as4 = "c01208 00013880 0a000002";
  CHECK(got("c00706 5ba0 0a000001" + as4).aggregator == Aggregator{80000, 0x0a000002});
  CHECK(got("c00706 5ba0 0a000001" + as4).path_has(70000));
  // Another AS aggregated since, and left what it did not know: none of it counts.
  CHECK(got("c00706 fdf2 0a000001" + as4).aggregator == Aggregator{65010, 0x0a000001});
  CHECK_FALSE(got("c00706 fdf2 0a000001" + as4).path_has(70000));
  CHECK(got("c00706 fdf2 0a000001").path_has(70000));
  CHECK_FALSE(got(as4).aggregator);
}

TEST_CASE("AS numbers on the wire to a two-octet peer") {
  Attributes a;
  a.next_hop = *IpAddr::parse("10.0.0.1");
  a.as_path = {{AsSegment::Type::sequence, {65010, 70000}}};
  a.aggregator = Aggregator{80000, 0x0a000002};
  const std::vector<Prefix> one = {*Prefix::parse("10.0.0.0/8")};
  Octets out;
  REQUIRE(encode_reach(Afi::v4, one, a, kTwoOctets, out) == 1);
  CHECK(out == update("",
                      "400101 00 400206 0202 fdf2 5ba0 400304 0a000001 c00706 5ba0 0a000002"
                      "c0110a 0202 0000fdf2 00011170 c01208 00013880 0a000002",
                      "08 0a"));
  a.as_path[0].asns[1] = 7;
  a.aggregator = Aggregator{8, 9};
  out.clear();
  REQUIRE(encode_reach(Afi::v4, one, a, kTwoOctets, out) == 1);
  CHECK(out == update("", "400101 00 400206 0202 fdf2 0007 400304 0a000001 c00706 0008 00000009", "08 0a"));
}

TEST_CASE("a segment of more than 255 is sent as two") {
  Attributes a;
  a.next_hop = *IpAddr::parse("10.0.0.1");
  a.as_path = {{AsSegment::Type::sequence, std::vector<Asn>(300, 65001)}};
  const std::vector<Prefix> one = {*Prefix::parse("10.0.0.0/8")};
  Octets out;
  REQUIRE(encode_reach(Afi::v4, one, a, kInternal, out) == 1);
  const Update got = read(out);
  REQUIRE(got.attributes->as_path.size() == 2);
  CHECK(got.attributes->path_length() == 300);
}

TEST_CASE("a full message of the shortest prefixes, withdrawn and reachable") {
  const Octets none(kMaxMessage - 23, 0);
  Octets bytes = message(2, join({two(none.size()), none, two(0)}));
  CHECK(read(bytes).withdrawn.size() == kMaxMessage - 23);
}

TEST_CASE("random bytes get an answer, whatever they are") {
  Dice dice(3);
  for (int round = 0; round < 20000; ++round) {
    Octets bytes =
        update("08 0a", kReach6 + kGood + "c00804 00000001 c01008 0002fc000000004d 800a04 00000001", "18 0af401");
    const uint32_t changes = 1 + dice.below(4);
    for (uint32_t i = 0; i < changes; ++i)
      bytes[19 + dice.below(static_cast<uint32_t>(bytes.size()) - 19)] = static_cast<uint8_t>(dice.any());
    const Message got = decode(bytes, round % 2 == 0 ? kInternal : SessionTraits{.four_octet_as = false, .ebgp = true});
    if (const auto* error = std::get_if<MessageError>(&got)) {
      if (error->notification.code != 3 || error->why.empty()) FAIL("round " << round);
      continue;
    }
    const auto& update = std::get<Update>(got);
    const bool routes = !update.reachable.empty();
    if (routes != (update.attributes.has_value() || !update.treat_as_withdraw.empty())) FAIL("round " << round);
  }
}
