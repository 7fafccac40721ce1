// Two connections at once (RFC 4271 6.8), in every order that a run of dice finds, and what comes beside an
// established session.
#include "tests/unit/bgp/session_world.h"

using namespace knet;
using namespace knet::bgp;
using namespace knet::bgp::test;

namespace {

size_t run_in_order(uint32_t seed, SessionConfig one, SessionConfig two) {
  Dice dice(seed);
  Wires wires(one, two, [&](size_t count) { return dice.below(static_cast<uint32_t>(count)); });
  wires.start();
  wires.advance(20'000);
  INFO("seed " << seed);
  REQUIRE(wires.both_up());
  REQUIRE(wires.open_ends() == 2);
  // Nobody took an established session down to get there.
  REQUIRE(wires.sides[0].downs.empty());
  REQUIRE(wires.sides[1].downs.empty());
  wires.advance(300'000);
  REQUIRE(wires.both_up());
  REQUIRE(wires.sides[0].downs.empty());
  return wires.sides[0].session.agreed()->outgoing ? 1 : 0;
}

}  // namespace

TEST_CASE("both dial at once: in any order of events one connection stays, the same on both sides") {
  size_t outgoing = 0;
  for (uint32_t seed = 0; seed < 3000; ++seed) {
    outgoing += run_in_order(seed, config_of(65001, 1, 65001), config_of(65001, 2, 65001));
  }
  CHECK(outgoing > 0);  // the order has a say, where one was through before the other began
  CHECK(outgoing < 3000);
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    run_in_order(seed, config_of(65001, 9, 65002), config_of(65002, 9, 65001));  // by AS (RFC 6286)
    SessionConfig none = config_of(65001, 2, 65001);
    none.restart_time = 0;
    run_in_order(seed, none, config_of(65001, 1, 65001));
  }
}

TEST_CASE("of two connections that both saw an OPEN, the greater identifier's stays") {
  for (const RouterId id : {RouterId{1}, RouterId{3}}) {
    Solo solo(config_of(65001, id, 65002));  // they are 2
    const bool ours = id == 3;
    solo.connect(1);
    CHECK(solo.accept(2));
    solo.feed(encode(solo.theirs), 1);
    CHECK(solo.session.state() == SessionState::open_confirm);
    solo.feed(encode(solo.theirs), 2);
    CHECK(solo.notification() == cease(7));
    CHECK(solo.closed == std::vector<ConnId>{ours ? 2u : 1u});
    solo.feed(keepalive(), ours ? 1 : 2);
    REQUIRE(solo.ups.size() == 1);
    CHECK(solo.ups[0].conn == (ours ? 1 : 2));
    CHECK(solo.ups[0].agreed.outgoing == ours);
    CHECK(solo.session.last_error().empty());
  }
}

TEST_CASE("a connection that would lose waits a moment for the one that would win") {
  Solo solo;  // 1 against 2: theirs wins
  solo.connect(1);
  CHECK(solo.accept(2));
  solo.feed(join({encode(solo.theirs), keepalive()}), 1);
  CHECK(solo.ups.empty());
  SECTION("the other one comes to nothing") {
    solo.session.on_closed(2, "closed", solo.now);
    solo.look();
    CHECK(solo.ups.size() == 1);
  }
  SECTION("the other one is silent") {
    CHECK(solo.wait() == 3000);
    CHECK(solo.ups.size() == 1);
    CHECK(solo.closed == std::vector<ConnId>{2});
  }
  SECTION("they have it established already") {
    solo.feed(v4_update(), 1);
    CHECK(solo.ups.size() == 1);
    CHECK(solo.routes.size() == 1);
    CHECK(solo.closed == std::vector<ConnId>{2});
  }
  SECTION("the other one gets there") {
    solo.feed(encode(solo.theirs), 2);
    CHECK(solo.closed == std::vector<ConnId>{1});
    CHECK(solo.session.state() == SessionState::open_confirm);
    solo.feed(keepalive(), 2);
    CHECK(solo.ups.size() == 1);
  }
}

TEST_CASE("one pending connection of the peer is enough: a storm is refused") {
  Solo solo;
  CHECK(solo.accept(10));
  for (ConnId conn = 11; conn < 1000; ++conn) CHECK_FALSE(solo.accept(conn));
  CHECK(solo.sent.empty());
  solo.session.on_closed(10, "gone", solo.now);
  CHECK(solo.accept(1000));
}

TEST_CASE("an established session stays when another connection comes") {
  Solo solo;  // without graceful restart of theirs
  solo.establish();
  solo.now += 60'000;
  CHECK_FALSE(solo.accept(2));
  CHECK(solo.session.state() == SessionState::established);
}

TEST_CASE("with graceful restart a new connection with an OPEN replaces the established one") {
  SessionConfig config = config_of(65001, 1, 65002);
  Solo solo(config);
  auto& restart = solo.theirs.capabilities.graceful_restart.emplace();
  restart.restart_time = 90;
  restart.families[0] = {true, true, 0};
  solo.establish();
  CHECK_FALSE(solo.accept(2));  // too early: it is the other half of a collision
  solo.now += 10'000;
  CHECK(solo.accept(3));
  CHECK_FALSE(solo.accept(4));
  CHECK(solo.downs.empty());
  SECTION("and it is the same peer") {
    restart.restarting = true;
    solo.feed(encode(solo.theirs), 3);
    REQUIRE(solo.downs.size() == 1);
    CHECK(solo.downs[0].keep);
    CHECK(solo.downs[0].restart_time == 90);
    CHECK(solo.closed == std::vector<ConnId>{1});
    for (const Message& message : solo.sent) CHECK_FALSE(std::holds_alternative<Notification>(message));
    solo.feed(keepalive(), 3);
    REQUIRE(solo.ups.size() == 1);
    CHECK(solo.ups[0].agreed.kept[0]);
    CHECK(solo.ups[0].agreed.peer_restarting);
  }
  SECTION("but it is not who it should be") {
    solo.theirs.asn = 65009;
    solo.feed(encode(solo.theirs), 3);
    CHECK(solo.notification().subcode == 2);
    CHECK(solo.closed == std::vector<ConnId>{3});
    CHECK(solo.downs.empty());
    CHECK(solo.session.state() == SessionState::established);
  }
  SECTION("but the established one ends first") {
    solo.session.on_closed(1, "reset", solo.now);
    solo.look();
    CHECK(solo.downs.at(0).keep);
    CHECK(solo.session.state() == SessionState::open_sent);
    solo.feed(join({encode(solo.theirs), keepalive()}), 3);
    CHECK(solo.ups.size() == 1);
  }
}
