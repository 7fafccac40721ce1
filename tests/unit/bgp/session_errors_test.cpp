// Each OPEN that is refused, messages out of their state, malformed ones, and NOTIFICATIONs of the peer.
#include "tests/unit/bgp/session_world.h"

using namespace knet;
using namespace knet::bgp;
using namespace knet::bgp::test;

namespace {

Octets raw_open(std::string_view body) { return message(1, hex(body)); }

void refused(Solo& solo, uint8_t code, uint8_t subcode, std::string_view error) {
  const Notification sent = solo.notification();
  CHECK(int(sent.code) == int(code));
  CHECK(int(sent.subcode) == int(subcode));
  CHECK(solo.closed == std::vector<ConnId>{1});
  CHECK(solo.session.state() == SessionState::idle);
  CHECK(solo.session.last_error() == error);
}

}  // namespace

TEST_CASE("an OPEN that cannot be accepted is answered by its own error") {
  Solo solo;
  solo.connect();
  SECTION("version") {
    solo.feed(raw_open("03 fdea 005a 00000002 00"));
    refused(solo, 2, 1, "OPEN: version 3");
    CHECK(solo.notification().data == hex("0004"));
  }
  SECTION("AS") {
    solo.theirs.asn = 4'200'000'000;
    solo.feed(encode(solo.theirs));
    refused(solo, 2, 2, "bad peer AS: they say 4200000000, we expect 65002");
  }
  SECTION("AS 0") {
    solo.feed(raw_open("04 0000 005a 00000002 00"));
    refused(solo, 2, 2, "OPEN: AS 0");
  }
  SECTION("identifier 0") {
    solo.theirs.id = 0;
    solo.feed(encode(solo.theirs));
    refused(solo, 2, 3, "OPEN: BGP identifier 0.0.0.0");
  }
  SECTION("hold time") {
    solo.theirs.hold_time = 2;
    solo.feed(encode(solo.theirs));
    refused(solo, 2, 6, "OPEN: hold time 2 s");
  }
  SECTION("optional parameter") {
    solo.feed(raw_open("04 fdea 005a 00000002 03 010100"));
    refused(solo, 2, 4, "OPEN: unknown optional parameter 1");
  }
  SECTION("no family in common") {
    solo.theirs.capabilities.multiprotocol[0] = false;
    solo.theirs.capabilities.multiprotocol[1] = true;
    solo.feed(encode(solo.theirs));
    refused(solo, 2, 7, "no family in common: they speak ipv6, we ipv4");
    CHECK(solo.notification().data == hex("0104 0001 00 01"));
  }
}

TEST_CASE("our own identifier in our own AS is refused, in another AS it is not") {
  Solo inside(config_of(65002, 2, 65002));
  inside.connect();
  inside.feed(encode(inside.theirs));
  refused(inside, 2, 3, "bad BGP identifier: they use ours, 0.0.0.2");
  Solo outside(config_of(65001, 2, 65002));
  outside.establish();
}

TEST_CASE("an OPEN without capabilities is for IPv4, with two-octet AS numbers") {
  Solo solo;
  solo.connect();
  solo.feed(join({raw_open("04 fdea 005a 00000002 00"), keepalive()}));
  REQUIRE(solo.ups.size() == 1);
  const Agreed& agreed = solo.ups[0].agreed;
  CHECK(agreed.families[0]);
  CHECK_FALSE(agreed.traits.four_octet_as);
  CHECK_FALSE(agreed.route_refresh);
  CHECK_FALSE(agreed.kept[0]);
}

TEST_CASE("messages out of their state are named with it (RFC 6608)") {
  Solo solo;
  const auto held = [&](uint8_t subcode, uint8_t type, std::string_view error) {
    refused(solo, 5, subcode, error);
    CHECK(solo.notification().data == Octets{type});
  };
  solo.connect();
  SECTION("KEEPALIVE before OPEN") {
    solo.feed(keepalive());
    held(1, 4, "unexpected KEEPALIVE in open-sent");
  }
  SECTION("UPDATE before OPEN, malformed at that") {
    solo.feed(update("", "4001", ""));
    held(1, 2, "unexpected UPDATE in open-sent");
  }
  SECTION("UPDATE before KEEPALIVE") {
    solo.feed(encode(solo.theirs));
    solo.feed(v4_update());
    held(2, 2, "unexpected UPDATE in open-confirm");
    CHECK(solo.downs.empty());
  }
  SECTION("ROUTE-REFRESH before KEEPALIVE") {
    solo.feed(encode(solo.theirs));
    solo.feed(encode(RouteRefresh{}));
    held(2, 5, "unexpected ROUTE-REFRESH in open-confirm");
  }
  SECTION("a second OPEN") {
    solo.feed(encode(solo.theirs));
    solo.feed(encode(solo.theirs));
    held(2, 1, "unexpected OPEN in open-confirm");
  }
  SECTION("OPEN when established") {
    solo.feed(join({encode(solo.theirs), keepalive()}));
    solo.feed(encode(solo.theirs));
    held(3, 1, "unexpected OPEN in established");
    CHECK_FALSE(solo.downs.at(0).keep);
  }
}

TEST_CASE("malformed messages end the session with the answer of their kind, and no routes are kept") {
  Solo solo;
  auto& restart = solo.theirs.capabilities.graceful_restart.emplace();
  restart.restart_time = 90;
  restart.notification = true;
  restart.families[0].offered = true;
  solo.establish();
  SECTION("marker, at its first byte") {
    solo.feed(hex("00"));
    refused(solo, 1, 1, "the message does not begin with BGP's marker");
  }
  SECTION("length beyond 4096") {
    solo.feed(join({Octets(16, 0xff), hex("1001 02")}));
    refused(solo, 1, 2, "message of 4097 bytes");
    CHECK(solo.notification().data == hex("1001"));
  }
  SECTION("length below 19, in two pieces") {
    solo.feed(Octets(16, 0xff));
    solo.feed(hex("0012 04"));
    refused(solo, 1, 2, "message of 18 bytes");
  }
  SECTION("type") {
    solo.feed(message(9, {}));
    refused(solo, 1, 3, "message of unknown type 9");
  }
  SECTION("UPDATE that cannot be parsed") {
    solo.feed(message(2, hex("0005 0000")));
    refused(solo, 3, 1, "UPDATE: withdrawn routes end beyond the message");
  }
  REQUIRE(solo.downs.size() == 1);
  CHECK_FALSE(solo.downs[0].keep);
}

TEST_CASE("what is treated as withdrawn is handed on and counted, and the session lives") {
  Solo solo;
  solo.establish();
  solo.feed(update("", "400101ff 40020602010000fdea 400304c0000202", "100a01"));
  REQUIRE(solo.routes.size() == 1);
  CHECK_FALSE(solo.routes[0].treat_as_withdraw.empty());
  CHECK(solo.session.counters().treated_as_withdraw == 1);
  CHECK(solo.session.state() == SessionState::established);
}

TEST_CASE("a NOTIFICATION of theirs is told in words, and ends the session") {
  Solo solo;
  solo.establish();
  solo.feed(encode(cease(4, "new cabling")));
  CHECK(solo.sent.empty());
  CHECK(solo.closed == std::vector<ConnId>{1});
  CHECK(solo.downs.at(0).why == "they say: cease, administrative reset: new cabling");
  CHECK_FALSE(solo.downs[0].keep);
  CHECK(solo.session.last_error() == "they say: cease, administrative reset: new cabling");
  CHECK(solo.session.state() == SessionState::idle);
}

TEST_CASE("a NOTIFICATION as the answer to our OPEN is the error that people see") {
  Solo solo;
  solo.connect();
  solo.feed(encode(Notification{2, 2, {}}));
  CHECK(solo.session.last_error() == "they say: OPEN message error, bad peer AS");
  CHECK(solo.session.state() == SessionState::idle);
}

TEST_CASE("what comes on a connection that is gone is nobody's") {
  Solo solo;
  solo.establish();
  solo.session.stop(solo.now, std::nullopt);
  solo.look();
  solo.feed(v4_update());
  solo.session.on_closed(1, "late", solo.now);
  solo.look();
  CHECK(solo.downs.empty());
  CHECK(solo.routes.empty());
}

TEST_CASE("nothing of a read is taken after the message that ended the session") {
  Solo solo;
  solo.establish();
  solo.feed(join({v4_update(), encode(cease(2)), v4_update()}));
  CHECK(solo.routes.size() == 1);
  CHECK(solo.downs.size() == 1);
}

TEST_CASE("a connection that is closed before anything was said tells so") {
  Solo solo;
  solo.connect();
  solo.session.on_closed(1, "connection reset", solo.now);
  solo.look();
  CHECK(solo.session.last_error() == "closed before their OPEN: connection reset (do they know us as a peer?)");
  CHECK(solo.session.state() == SessionState::active);
  CHECK(solo.wait() <= 1000);
  CHECK(solo.dials == 1);
}
