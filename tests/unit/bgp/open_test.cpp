#include <catch2/catch.hpp>

#include "bgp/message.h"
#include "tests/unit/bgp/wire_bytes.h"

using namespace knet;
using namespace knet::bgp;
using namespace knet::bgp::test;

namespace {

const std::string kHead = "04 fc00 005a 0a4d0001 ";

Octets open_of(const std::string& body) { return message(1, hex(body)); }

/// Capabilities, each as its own bytes, in one parameter.
Octets with_capabilities(const std::string& capabilities) {
  const Octets bytes = hex(capabilities);
  const auto size = static_cast<uint8_t>(bytes.size());
  return message(1, join({hex(kHead), {static_cast<uint8_t>(size + 2), 2, size}, bytes}));
}

Open read(const Octets& bytes) {
  const Message message = decode(bytes, {});
  if (const auto* error = std::get_if<MessageError>(&message)) FAIL(error->why);
  return std::get<Open>(message);
}

void check_refused(const char* what, const Octets& bytes, int subcode, const Octets& data = {}) {
  INFO(what);
  const Message message = decode(bytes, {});
  REQUIRE(std::holds_alternative<MessageError>(message));
  const auto& error = std::get<MessageError>(message);
  INFO(error.why);
  CHECK(int{error.notification.code} == 2);
  CHECK(int{error.notification.subcode} == subcode);
  CHECK(error.notification.data == data);
}

}  // namespace

TEST_CASE("OPENs there and back") {
  Dice dice(17);
  for (int round = 0; round < 2000; ++round) {
    Open open;
    open.capabilities.four_octet_as = dice.often();
    open.asn = dice.asn(open.capabilities.four_octet_as);
    open.hold_time = static_cast<uint16_t>(dice.often() ? 0 : 3 + dice.below(65533));
    open.id = 1 + dice.below(0xfffffffe);
    for (size_t i = 0; i < kAfis; ++i) {
      open.capabilities.multiprotocol[i] = dice.often();
      open.capabilities.add_path_receive[i] = dice.often();
      open.capabilities.add_path_send[i] = dice.often();
    }
    open.capabilities.extended_next_hop = dice.often();
    open.capabilities.extended_message = dice.often();
    open.capabilities.route_refresh = dice.often();
    open.capabilities.enhanced_refresh = dice.often();
    if (dice.often()) {
      GracefulRestart restart;
      restart.restarting = dice.often();
      restart.notification = dice.often();
      restart.restart_time = static_cast<uint16_t>(dice.below(4096));
      restart.long_lived = dice.often();
      for (auto& family : restart.families) {
        family.offered = dice.often();
        if (restart.long_lived && dice.often()) family.llgr_time = 1 + dice.below(0xffffff);
        family.forwarding_kept = (family.offered || family.llgr_time != 0) && dice.often();
      }
      open.capabilities.graceful_restart = restart;
    }
    const Octets bytes = encode(open);
    if (read(bytes) != open) FAIL("round " << round);
    CHECK(encode(read(bytes)) == bytes);
  }
}

TEST_CASE("an OPEN byte for byte") {
  Open open{.asn = 4200000001, .hold_time = 90, .id = 0x0a4d0001, .capabilities = {}};
  open.capabilities.multiprotocol[0] = open.capabilities.multiprotocol[1] = true;
  open.capabilities.route_refresh = open.capabilities.enhanced_refresh = open.capabilities.four_octet_as = true;
  open.capabilities.extended_next_hop = true;
  open.capabilities.graceful_restart = GracefulRestart{.restarting = true,
                                                       .notification = true,
                                                       .restart_time = 120,
                                                       .long_lived = true,
                                                       .families = {{true, true, 3600}, {true, false, 0}}};
  CHECK(encode(open) == open_of("04 5ba0 005a 0a4d0001 35 02 33 0104 00010001 0104 00020001 0200 0506 000100010002"
                                "400a c078 00010180 00020100 4707 00010180000e10 4104 fa56ea01 4600"));
  Open bare{.asn = 65001, .hold_time = 0, .id = 1, .capabilities = {}};
  CHECK(encode(bare) == open_of("04 fde9 0000 00000001 00"));
}

TEST_CASE("what an OPEN is refused for (RFC 4271 6.2)") {
  check_refused("version 3", open_of("03 fc00 005a 0a4d0001 00"), 1, {0, 4});
  check_refused("AS 0", open_of("04 0000 005a 0a4d0001 00"), 2);
  check_refused("AS 0 in four octets", with_capabilities("4104 00000000"), 2);
  check_refused("identifier 0", open_of("04 fc00 005a 00000000 00"), 3);
  check_refused("hold time 1", open_of("04 fc00 0001 0a4d0001 00"), 6);
  check_refused("hold time 2", open_of("04 fc00 0002 0a4d0001 00"), 6);
  check_refused("authentication", open_of(kHead + "02 01 00"), 4);
  check_refused("unknown parameter", open_of(kHead + "03 07 01 00"), 4);
  check_refused("parameters longer than the message", open_of(kHead + "05 02 02 0200"), 0);
  check_refused("parameters shorter than the message", open_of(kHead + "00 02 02 0200"), 0);
  check_refused("parameter of one byte", open_of(kHead + "01 02"), 0);
  check_refused("parameter beyond its end", open_of(kHead + "04 02 03 0200"), 0);
  check_refused("capability of one byte", open_of(kHead + "03 02 01 02"), 0);
  check_refused("capability beyond its end", open_of(kHead + "04 02 02 4104"), 0);
  for (const char* malformed :
       {"0103 000100", "4102 fc00", "4001 00", "4003 007800", "4701 00", "4503 000101", "0505 0001000100"}) {
    check_refused(malformed, with_capabilities(malformed), 0);
  }
}

TEST_CASE("capabilities, also odd ones") {
  CHECK(read(open_of(kHead + "00")).capabilities == Capabilities{});
  CHECK(read(with_capabilities("4104 fa56ea01")).asn == 4200000001);
  // In parameters of their own, as some speakers send them.
  const Open apart = read(open_of(kHead + "0e 02 06 0104 00010001 02 02 0200 02 00"));
  CHECK(apart.capabilities.multiprotocol[0]);
  CHECK(apart.capabilities.route_refresh);
  // Families that are not spoken, unknown codes once each.
  const Open odd = read(with_capabilities("0104 00010080 0104 40040047 4902 0000 4902 0000 8000"));
  CHECK_FALSE(odd.capabilities.multiprotocol[0]);
  CHECK((odd.capabilities.unknown == std::vector<uint8_t>{0x49, 0x80}));
  // RFC 4724: of several, the last.
  const Open twice = read(with_capabilities("4006 8001 00010180 4006 0078 00020100"));
  REQUIRE(twice.capabilities.graceful_restart);
  CHECK(twice.capabilities.graceful_restart->restart_time == 120);
  CHECK_FALSE(twice.capabilities.graceful_restart->restarting);
  CHECK_FALSE(twice.capabilities.graceful_restart->families[0].offered);
  CHECK(twice.capabilities.graceful_restart->families[1].offered);
  // RFC 9494: long-lived without graceful is ignored.
  CHECK_FALSE(read(with_capabilities("4707 00010180000e10")).capabilities.graceful_restart);
  const Open long_lived = read(with_capabilities("4002 0000 4707 00010180000e10"));
  CHECK(long_lived.capabilities.graceful_restart->families[0] == (GracefulRestart::Family{false, true, 3600}));
  // ADD-PATH of a direction that does not exist.
  CHECK(read(with_capabilities("4504 00010109")).capabilities == Capabilities{});
}

TEST_CASE("optional parameters of the extended form (RFC 9072)") {
  const Open open = read(open_of(kHead + "ff ff 0009 02 0006 0104 00020001"));
  CHECK(open.capabilities.multiprotocol[1]);
  std::string many;
  for (int i = 0; i < 100; ++i) many += "02 0003 c80100";
  CHECK(read(open_of(kHead + "ff ff 0258" + many)).capabilities.unknown.size() == 1);
  check_refused("wrong length", open_of(kHead + "ff ff 000a 02 0006 0104 00020001"), 0);
  check_refused("cut off", open_of(kHead + "ff ff 0002 02 00"), 0);
  check_refused("nothing behind", open_of(kHead + "ff ff"), 0);
}

TEST_CASE("random OPENs get an answer") {
  Dice dice(23);
  const Octets good =
      with_capabilities("0104 00010001 4006 0078 00010180 4104 fa56ea01 4707 00010180000e10 4504 00010103");
  for (int round = 0; round < 20000; ++round) {
    Octets bytes = good;
    for (uint32_t i = 0; i <= dice.below(4); ++i)
      bytes[19 + dice.below(static_cast<uint32_t>(good.size()) - 19)] = static_cast<uint8_t>(dice.any());
    const Message got = decode(bytes, {});
    if (const auto* open = std::get_if<Open>(&got)) {
      if (open->asn == 0 || open->id == 0 || open->hold_time == 1 || open->hold_time == 2) FAIL("round " << round);
    } else if (std::get<MessageError>(got).notification.code != 2) {
      FAIL("round " << round);
    }
  }
}

TEST_CASE("an OPEN for other families alone is not one for IPv4") {
  const Open evpn = read(with_capabilities("0104 00190046"));  // AFI 25, SAFI 70
  CHECK(evpn.capabilities.other_families);
  CHECK_FALSE(evpn.capabilities.multiprotocol[0]);
  CHECK_FALSE(read(with_capabilities("0104 00010001")).capabilities.other_families);
}
