// Graceful restart as the session knows it (RFC 4724, RFC 8538, RFC 9494): what is kept, for how long, and by what end.
#include "tests/unit/bgp/session_world.h"

using namespace knet;
using namespace knet::bgp;
using namespace knet::bgp::test;

namespace {

SessionConfig dual() {
  SessionConfig config = config_of(65001, 1, 65002);
  config.families[1] = true;
  return config;
}

GracefulRestart& graceful(Solo& solo) {
  solo.theirs.capabilities.multiprotocol[1] = true;
  GracefulRestart& restart = solo.theirs.capabilities.graceful_restart.emplace();
  restart.restart_time = 60;
  restart.notification = true;
  restart.families[0].offered = true;
  return restart;
}

Down only_down(const Solo& solo) {
  REQUIRE(solo.downs.size() == 1);
  return solo.downs[0];
}

}  // namespace

TEST_CASE("a lost connection keeps the routes of the families that were offered") {
  Solo solo(dual());
  graceful(solo);
  solo.establish();
  solo.session.on_closed(1, "connection reset", solo.now);
  solo.look();
  const Down down = only_down(solo);
  CHECK(down.keep);
  CHECK(down.families[0]);
  CHECK_FALSE(down.families[1]);
  CHECK(down.restart_time == 60);
  CHECK(down.llgr_time[0] == 0);
}

TEST_CASE("long-lived times come along, also alone") {
  Solo solo(dual());
  GracefulRestart& restart = graceful(solo);
  restart.long_lived = true;
  restart.families[1].llgr_time = 3600;
  SECTION("after the restart time") {
    solo.establish();
    CHECK(solo.ups.at(0).agreed.long_lived);
    solo.session.on_closed(1, "connection reset", solo.now);
    solo.look();
    CHECK(only_down(solo).families[0]);
    CHECK(only_down(solo).families[1]);
    CHECK(only_down(solo).llgr_time[1] == 3600);
  }
  SECTION("at once") {
    restart.restart_time = 0;
    solo.establish();
    solo.session.on_closed(1, "connection reset", solo.now);
    solo.look();
    CHECK(only_down(solo).keep);
    CHECK_FALSE(only_down(solo).families[0]);
    CHECK(only_down(solo).families[1]);
    CHECK(only_down(solo).restart_time == 0);
  }
}

TEST_CASE("nothing is kept where either side does not offer it") {
  SECTION("we") {
    SessionConfig config = dual();
    config.restart_time = 0;
    Solo solo(config);
    graceful(solo).families[0].forwarding_kept = true;
    solo.establish();
    CHECK_FALSE(solo.ups.at(0).agreed.kept[0]);
    solo.session.on_closed(1, "reset", solo.now);
    solo.look();
    CHECK_FALSE(only_down(solo).keep);
  }
  SECTION("they") {
    Solo solo(dual());
    solo.establish();
    solo.session.on_closed(1, "reset", solo.now);
    solo.look();
    CHECK_FALSE(only_down(solo).keep);
  }
  SECTION("they, only as a helper") {
    Solo solo(dual());
    graceful(solo).families[0].offered = false;
    solo.establish();
    solo.session.on_closed(1, "reset", solo.now);
    solo.look();
    CHECK_FALSE(only_down(solo).keep);
  }
}

TEST_CASE("what is kept over a restart is what they say they went on forwarding") {
  for (const bool forwarding : {false, true}) {
    Solo solo(dual());
    GracefulRestart& restart = graceful(solo);
    restart.families[0].forwarding_kept = forwarding;
    restart.restarting = true;
    solo.establish();
    CHECK(solo.ups.at(0).agreed.kept[0] == forwarding);
    CHECK_FALSE(solo.ups[0].agreed.kept[1]);
    CHECK(solo.ups[0].agreed.peer_restarting);
  }
}

TEST_CASE("a NOTIFICATION keeps routes if both have the N bit and it is no hard reset (RFC 8538)") {
  for (const bool theirs : {false, true}) {
    for (const bool hard : {false, true}) {
      Solo solo(dual());
      graceful(solo).notification = theirs;
      solo.establish();
      solo.feed(encode(hard ? Notification{6, 9, {6, 2}} : cease(4)));
      CHECK(only_down(solo).keep == (theirs && !hard));
    }
  }
}

TEST_CASE("what the peer shall not survive is sent as a hard reset where both have the N bit") {
  Solo solo(dual());
  graceful(solo);
  solo.establish();
  solo.session.stop(solo.now, cease(2, "gone"));
  solo.look();
  CHECK(describe(solo.notification()) == "cease, hard reset: cease, administrative shutdown: gone");
  Solo back(dual());
  graceful(back);
  back.establish();
  back.session.fail(back.now, cease(8), "it reads too slowly");
  back.look();
  CHECK(back.notification() == cease(8));
  Solo plain(dual());
  graceful(plain).notification = false;
  plain.establish();
  plain.session.stop(plain.now, cease(2));
  plain.look();
  CHECK(plain.notification() == cease(2));
}

TEST_CASE("one side is killed and comes back: routes kept, R bit seen, session the same as before") {
  const SessionConfig one = config_of(65001, 1, 65002), two = config_of(65002, 2, 65001);
  for (uint32_t seed = 0; seed < 200; ++seed) {
    Dice dice(seed);
    Wires wires(one, two, [&](size_t count) { return dice.below(static_cast<uint32_t>(count)); });
    wires.start();
    wires.advance(60'000);
    REQUIRE(wires.both_up());
    const bool silent = seed % 2 == 0;  // its kernel had no chance to say that it is gone
    if (silent) wires.cut();
    wires.kill(1, two);
    wires.sides[1].session.start(wires.now, true);
    wires.pump(1);
    wires.advance(20'000);
    REQUIRE(wires.both_up());
    REQUIRE(wires.sides[0].downs.size() == 1);
    REQUIRE(wires.sides[0].downs[0].keep);
    REQUIRE(wires.sides[0].downs[0].restart_time == 120);
    REQUIRE(wires.sides[0].ups.size() == 2);
    REQUIRE(wires.sides[0].ups[1].agreed.peer_restarting);
    REQUIRE(wires.sides[0].ups[1].agreed.kept[0]);
    REQUIRE_FALSE(wires.sides[1].ups.back().agreed.peer_restarting);
  }
}
