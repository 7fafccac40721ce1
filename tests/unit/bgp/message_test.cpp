#include "bgp/message.h"

#include <catch2/catch.hpp>

#include "tests/unit/bgp/wire_bytes.h"

using namespace knet;
using namespace knet::bgp;
using namespace knet::bgp::test;

namespace {

const SessionTraits kTraits;

Prefix prefix(const char* text) { return *Prefix::parse(text); }

MessageError error_of(const Octets& bytes) {
  const Message message = decode(bytes, kTraits);
  if (const auto* error = std::get_if<MessageError>(&message)) return *error;
  FAIL("decoded as kind " << message.index());
  return {};
}

void check_notification(const Octets& bytes, uint8_t code, uint8_t subcode, const Octets& data) {
  const MessageError error = error_of(bytes);
  INFO(error.why);
  CHECK(int{error.notification.code} == code);
  CHECK(int{error.notification.subcode} == subcode);
  CHECK(error.notification.data == data);
  CHECK_FALSE(error.why.empty());
}

}  // namespace

TEST_CASE("the length of the message that begins here") {
  const Octets keepalive = encode(Keepalive{});
  CHECK(keepalive == hex("ffffffffffffffffffffffffffffffff 0013 04"));
  for (size_t have = 0; have < kHeaderSize; ++have) {
    CHECK(std::get<size_t>(message_length(Bytes(keepalive).first(have))) == 0);
  }
  CHECK(std::get<size_t>(message_length(keepalive)) == kHeaderSize);
  Octets bytes = hex("ffffffffffffffffffffffffffffffff 1000 02 0000");
  CHECK(std::get<size_t>(message_length(bytes)) == 4096);
  for (const size_t wrong : {size_t{0}, size_t{18}, size_t{4097}, size_t{65535}}) {
    bytes[16] = static_cast<uint8_t>(wrong >> 8);
    bytes[17] = static_cast<uint8_t>(wrong);
    const auto answer = std::get<MessageError>(message_length(bytes)).notification;
    CHECK((answer == Notification{1, 2, two(wrong)}));
  }
  // What is not BGP is told at once.
  CHECK(std::get<MessageError>(message_length(hex("47"))).notification == (Notification{1, 1, {}}));
  bytes = keepalive;
  bytes[15] = 0xfe;
  CHECK(std::get<MessageError>(message_length(bytes)).notification == (Notification{1, 1, {}}));
}

TEST_CASE("header errors (RFC 4271 6.1)") {
  check_notification(message(6, {}), 1, 3, {6});
  check_notification(message(0, hex("00000000")), 1, 3, {0});
  check_notification(message(1, Octets(9)), 1, 2, two(28));
  check_notification(message(2, Octets(3)), 1, 2, two(22));
  check_notification(message(3, Octets(1)), 1, 2, two(20));
  check_notification(message(4, Octets(1)), 1, 2, two(20));
  Octets cut = message(2, Octets(4));
  cut.pop_back();
  check_notification(cut, 1, 2, two(23));
  CHECK(error_of({}).notification.code == 1);
  CHECK(error_of(hex("ffff")).notification.code == 1);
}

TEST_CASE("route refresh (RFC 2918, RFC 7313)") {
  for (const Afi afi : {Afi::v4, Afi::v6}) {
    for (const auto kind : {RouteRefresh::Kind::request, RouteRefresh::Kind::begin, RouteRefresh::Kind::end}) {
      const RouteRefresh refresh{afi, kind};
      CHECK(std::get<RouteRefresh>(decode(encode(refresh), kTraits)) == refresh);
    }
  }
  CHECK(encode(RouteRefresh{Afi::v6, RouteRefresh::Kind::begin}) == message(5, hex("0002 01 01")));
  CHECK(std::holds_alternative<UnknownRefresh>(decode(message(5, hex("0001 00 80")), kTraits)));
  CHECK(std::holds_alternative<UnknownRefresh>(decode(message(5, hex("4004 00 47")), kTraits)));
  CHECK(std::holds_alternative<UnknownRefresh>(decode(message(5, hex("0001 03 01")), kTraits)));
  const Octets longer = message(5, hex("0001 00 01 05")), shorter = message(5, hex("0001"));
  check_notification(longer, 7, 1, longer);
  check_notification(shorter, 7, 1, shorter);
  CHECK(encode(error_of(message(5, Octets(4077))).notification).size() == kMaxMessage);
}

TEST_CASE("UPDATEs of one prefix, byte for byte") {
  Attributes a;
  a.as_path = {{AsSegment::Type::sequence, {64512}}};
  a.next_hop = *IpAddr::parse("10.77.0.1");
  Octets out;
  const std::vector<Prefix> one = {prefix("10.244.1.64/26")};
  CHECK(encode_reach(Afi::v4, one, a, kTraits, out) == 1);
  CHECK(out == update("", "400101 00 400206 0201 0000fc00 400304 0a4d0001", "1a 0af40140"));
  out.clear();
  CHECK(encode_withdraw(Afi::v4, one, out) == 1);
  CHECK(out == update("1a 0af40140", "", ""));
  out.clear();
  const std::vector<Prefix> six = {prefix("fd00:244::/33")};
  CHECK(encode_withdraw(Afi::v6, six, out) == 1);
  CHECK(out == update("", "900f0009 0002 01 21 fd00024400", ""));
  out.clear();
  a.next_hop = *IpAddr::parse("fd77::1");
  CHECK(encode_reach(Afi::v6, six, a, kTraits, out) == 1);
  CHECK(out == update("",
                      "900e001b 0002 01 10 fd770000000000000000000000000001 00 21 fd00024400"
                      "400101 00 400206 0201 0000fc00",
                      ""));
  CHECK(encode_end_of_rib(Afi::v4) == update("", "", ""));
  CHECK(encode_end_of_rib(Afi::v6) == update("", "800f03 0002 01", ""));
}

TEST_CASE("end-of-RIB is nothing else") {
  const auto end = [](const Octets& bytes) { return std::get<Update>(decode(bytes, kTraits)).end_of_rib; };
  CHECK(end(encode_end_of_rib(Afi::v4)) == Afi::v4);
  CHECK(end(encode_end_of_rib(Afi::v6)) == Afi::v6);
  CHECK(end(update("", "900f0003 0001 01", "")) == Afi::v4);
  CHECK_FALSE(end(update("", "800f03 0001 80", "")));            // VPN routes
  CHECK_FALSE(end(update("", "800f05 0002 01 08 fd", "")));      // a withdrawal
  CHECK_FALSE(end(update("08 0a", "800f03 0002 01", "")));       // another
  CHECK_FALSE(end(update("", "400101 00 800f03 0002 01", "")));  // RFC 4724: only MP_UNREACH
  CHECK_FALSE(end(update("", "400101 00", "")));
}

TEST_CASE("host bits and lengths of prefixes") {
  const Message message =
      decode(update("0b 0aff  00", "400101 00 400200 400304 0a000001", "20 01020304 09 0aff"), kTraits);
  const auto& got = std::get<Update>(message);
  CHECK((got.withdrawn == std::vector<Prefix>{prefix("10.224.0.0/11"), prefix("0.0.0.0/0")}));
  CHECK((got.reachable == std::vector<Prefix>{prefix("1.2.3.4/32"), prefix("10.128.0.0/9")}));
  Octets out;
  const std::vector<Prefix> untidy = {Prefix(*IpAddr::parse("10.255.255.255"), 9), prefix("fd00::/8")};
  CHECK(encode_withdraw(Afi::v4, untidy, out) == 1);  // what is of another family is no business of this one
  CHECK(out == update("09 0a80", "", ""));
}

TEST_CASE("what cannot be told to a peer is not sent") {
  Attributes a;
  Octets out;
  const std::vector<Prefix> v4 = {prefix("10.0.0.0/8")}, v6 = {prefix("fd00::/8")};
  CHECK(encode_reach(Afi::v4, v4, a, kTraits, out) == 0);  // no next hop
  CHECK(encode_reach(Afi::v6, v6, a, kTraits, out) == 0);
  a.next_hop = *IpAddr::parse("10.0.0.1");
  CHECK(encode_reach(Afi::v6, v6, a, kTraits, out) == 0);
  a.next_hop = *IpAddr::parse("fd00::1");
  CHECK(encode_reach(Afi::v4, v4, a, kTraits, out) == 0);  // RFC 8950 was not agreed on
  for (uint32_t i = 0; i < 1010; ++i) a.communities.push_back(i);
  CHECK(encode_reach(Afi::v6, v6, a, kTraits, out) == 0);  // no room
  a.unknown = {{0xe0, 99, std::vector<uint8_t>(5000)}};
  CHECK(encode_reach(Afi::v6, v6, a, kTraits, out) == 0);
  a.next_hop = *IpAddr::parse("10.0.0.1");
  CHECK(encode_reach(Afi::v4, v4, a, kTraits, out) == 0);
  CHECK(out.empty());
  a.unknown.clear();
  a.communities.clear();
  CHECK(encode_reach(Afi::v4, {}, a, kTraits, out) == 0);  // no prefix
  CHECK(encode_withdraw(Afi::v6, {}, out) == 0);
  CHECK(out.empty());
}

TEST_CASE("what must not leave an AS does not") {
  Attributes a;
  a.next_hop = *IpAddr::parse("10.0.0.1");
  a.local_pref = 100;
  a.originator_id = 1;
  a.cluster_list = {2};
  const std::vector<Prefix> one = {prefix("10.0.0.0/8")};
  Octets out;
  REQUIRE(encode_reach(Afi::v4, one, a, SessionTraits{.ebgp = true}, out) == 1);
  Attributes bare;
  bare.next_hop = a.next_hop;
  CHECK(std::get<Update>(decode(out, kTraits)).attributes == bare);
  out.clear();
  REQUIRE(encode_reach(Afi::v4, one, a, kTraits, out) == 1);
  CHECK(std::get<Update>(decode(out, kTraits)).attributes == a);
}

TEST_CASE("prefixes are packed: whole messages, none lost, none twice, no message more than needed") {
  Dice dice(11);
  for (int round = 0; round < 300; ++round) {
    const Afi afi = dice.often() ? Afi::v4 : Afi::v6;
    const SessionTraits traits{.four_octet_as = dice.often(), .extended_next_hop = dice.often(), .ebgp = dice.often()};
    const bool v6_next_hop = afi == Afi::v6 || (traits.extended_next_hop && dice.often());
    const Attributes a = dice.attributes(traits, v6_next_hop);
    const auto prefixes = dice.prefixes(afi, dice.below(3000));
    Octets out;
    const size_t count = encode_reach(afi, prefixes, a, traits, out);
    std::vector<Prefix> got;
    size_t sent = 0;
    size_t previous = kMaxMessage;
    for (const Message& message : decode_all(out, traits)) {
      REQUIRE(std::holds_alternative<Update>(message));
      const auto& update = std::get<Update>(message);
      CHECK(update.treat_as_withdraw == "");
      CHECK(update.discarded.empty());
      CHECK(update.mp_reachable.empty());
      if (update.attributes != a) FAIL("round " << round << ": other attributes");
      got.insert(got.end(), update.reachable.begin(), update.reachable.end());
      ++sent;
    }
    CHECK(sent == count);
    if (got != prefixes) FAIL("round " << round << ": other prefixes");
    // Each but the last is full: not even the longest prefix would have fitted.
    for (size_t at = 0; at < out.size();) {
      const size_t length = size_t{out[at + 16]} << 8 | out[at + 17];
      CHECK(previous + 17 > kMaxMessage);
      CHECK(length <= kMaxMessage);
      previous = length;
      at += length;
    }
    out.clear();
    got.clear();
    const size_t withdrawals = encode_withdraw(afi, prefixes, out);
    const auto messages = decode_all(out, traits);
    CHECK(messages.size() == withdrawals);
    for (const Message& message : messages) {
      const auto& gone = std::get<Update>(message).withdrawn;
      got.insert(got.end(), gone.begin(), gone.end());
    }
    if (got != prefixes) FAIL("round " << round << ": other withdrawals");
  }
}

TEST_CASE("a thousand prefixes of one set of attributes take one message, and none is copied apart") {
  std::vector<Prefix> prefixes;
  for (uint32_t i = 0; i < 1000; ++i) prefixes.push_back(Prefix(IpAddr::v4(0x0af40000 + (i << 6)), 26));
  Attributes a;
  a.next_hop = *IpAddr::parse("10.0.0.1");
  Octets out;
  CHECK(encode_reach(Afi::v4, std::span(prefixes).first(800), a, kTraits, out) == 1);
  CHECK(out.size() <= kMaxMessage);
  out.clear();
  CHECK(encode_reach(Afi::v4, prefixes, a, kTraits, out) == 2);
}

TEST_CASE("both kinds of NLRI in one message stay apart") {
  const Message message =
      decode(update("", "900e0015 0002 01 10 fd770000000000000000000000000001 00 00 400101 00 400200 400304 0a000001",
                    "08 0a"),
             kTraits);
  // 0x15 = 5 + 16; one prefix of length 0 would make it 0x16.
  CHECK(std::holds_alternative<MessageError>(message));
  const Message whole =
      decode(update("", "900e0016 0002 01 10 fd770000000000000000000000000001 00 00 400101 00 400200 400304 0a000001",
                    "08 0a"),
             kTraits);
  REQUIRE(std::holds_alternative<Update>(whole));
  const auto& got = std::get<Update>(whole);
  CHECK((got.reachable == std::vector<Prefix>{prefix("10.0.0.0/8")}));
  CHECK((got.mp_reachable == std::vector<Prefix>{prefix("::/0")}));
  CHECK(got.attributes->next_hop.str() == "10.0.0.1");
  CHECK(got.mp_next_hop.str() == "fd77::1");
}

TEST_CASE("next hops of IPv6 (RFC 2545) and of IPv4 over IPv6 (RFC 8950)") {
  const std::string rest = "400101 00 400200";
  const auto read = [&](const char* reach, bool extended) {
    return decode(update("", reach + rest, ""), SessionTraits{.extended_next_hop = extended});
  };
  const char* global_and_local =
      "800e27 0002 01 20 fd770000000000000000000000000001 fe800000000000000000000000000001 00 08 fd";
  auto got = std::get<Update>(read(global_and_local, false));
  CHECK(got.attributes->next_hop.str() == "fd77::1");
  CHECK(got.attributes->link_local.str() == "fe80::1");
  got = std::get<Update>(
      read("800e27 0002 01 20 00000000000000000000000000000000 fe800000000000000000000000000001 00 08 fd", false));
  CHECK(got.attributes->next_hop.str() == "fe80::1");
  got = std::get<Update>(
      read("800e27 0002 01 20 fd770000000000000000000000000001 00000000000000000000000000000000 00 08 fd", false));
  CHECK_FALSE(got.attributes->link_local);
  const char* v4_over_v6 = "800e17 0001 01 10 fd770000000000000000000000000001 00 08 0a";
  got = std::get<Update>(read(v4_over_v6, true));
  CHECK((got.reachable == std::vector<Prefix>{prefix("10.0.0.0/8")}));
  CHECK(got.attributes->next_hop.str() == "fd77::1");
  CHECK(std::get<MessageError>(read(v4_over_v6, false)).notification.subcode == 9);
  got = std::get<Update>(read("800e0b 0001 01 04 0a000001 00 08 0a", false));
  CHECK(got.attributes->next_hop.str() == "10.0.0.1");
}
