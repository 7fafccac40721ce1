// Every timer of a session: connect-retry, idle hold, the wait for an OPEN, keepalive, hold, send-hold.
#include "tests/unit/bgp/session_world.h"

using namespace knet;
using namespace knet::bgp;
using namespace knet::bgp::test;

TEST_CASE("it dials at once, then after 1, 2, 4, 8 and 15 seconds, a little less by jitter") {
  Solo solo(config_of(65001, 1, 65002), false);
  solo.session.start(solo.now, false);
  solo.look();
  CHECK(solo.dials == 1);
  for (const Millis limit : {1000, 2000, 4000, 8000, 15'000, 15'000, 15'000}) {
    solo.session.on_dial_failed("tcp 179 refused (is a firewall or bird there?)", solo.now);
    CHECK(solo.session.state() == SessionState::active);
    const Millis took = solo.wait();
    CHECK(took >= limit * 3 / 4);
    CHECK(took <= limit);
    CHECK(solo.dials == 1);
    CHECK(solo.session.state() == SessionState::connect);
  }
  CHECK(solo.session.last_error() == "tcp 179 refused (is a firewall or bird there?)");
}

TEST_CASE("peers do not all dial in the same moment") {
  std::vector<Millis> times;
  for (uint32_t i = 1; i <= 50; ++i) {
    Session session(config_of(65001, 1, 65002), IpAddr::v4(0x0a000000 + i));
    session.start(0, false);
    session.on_dial_failed("no", 0);
    times.push_back(session.next_timer().value());
  }
  std::sort(times.begin(), times.end());
  CHECK(std::unique(times.begin(), times.end()) - times.begin() > 25);
}

TEST_CASE("a connection of theirs that says nothing does not keep us from dialling; one that does, does") {
  Solo solo;
  solo.session.on_dial_failed("refused", solo.now);
  CHECK(solo.accept(5));
  CHECK(solo.session.state() == SessionState::open_sent);
  SECTION("silent") {
    solo.wait();
    CHECK(solo.dials == 1);
  }
  SECTION("alive") {
    solo.feed(encode(solo.theirs), 5);
    solo.wait_until(solo.now + 20'000);
    CHECK(solo.dials == 0);
  }
  SECTION("one after the other, each closed at once") {
    for (ConnId conn = 6; conn < 100; ++conn) {
      solo.session.on_closed(conn - 1, "closed", solo.now);
      CHECK(solo.accept(conn));
    }
    CHECK(solo.wait() <= 1000);
    CHECK(solo.dials == 1);
  }
}

TEST_CASE("a process that stood still reads before it judges the peer's silence") {
  Solo solo;
  solo.establish();
  solo.now += 200'000;
  solo.session.on_timer(solo.now);
  solo.look();
  CHECK(solo.downs.empty());
  SECTION("they were there") {
    solo.feed(keepalive());
    solo.wait_until(solo.now + 89'000);
    CHECK(solo.session.state() == SessionState::established);
  }
  SECTION("they were not") {
    solo.wait_until(solo.now + 1'000);
    CHECK(solo.session.state() == SessionState::idle);
  }
}

TEST_CASE("who sends no OPEN is let go") {
  Solo solo;
  solo.connect();
  CHECK(solo.wait() == 60'000);
  CHECK(solo.notification().code == 4);
  CHECK(solo.closed == std::vector<ConnId>{1});
  CHECK(solo.session.last_error() == "no OPEN in 60 s");
  CHECK(solo.session.state() == SessionState::idle);
}

TEST_CASE("keepalives go out after a third of the hold time, unless UPDATEs did") {
  Solo solo;
  solo.theirs.hold_time = 30;
  solo.establish();
  CHECK(solo.wait() == 10'000);
  REQUIRE(solo.sent.size() == 1);
  CHECK(std::holds_alternative<Keepalive>(solo.sent[0]));
  solo.now += 9'000;
  solo.session.on_sent(solo.now, false);
  solo.feed(keepalive());
  CHECK(solo.wait() == 10'000);
  CHECK(std::holds_alternative<Keepalive>(solo.sent.at(0)));
}

TEST_CASE("silence for the hold time ends the session; routes are kept where a NOTIFICATION lets both keep them") {
  enum class Theirs { nothing, restart, notification };  // RFC 4724, RFC 8538
  for (const Theirs theirs : {Theirs::nothing, Theirs::restart, Theirs::notification}) {
    const bool kept = theirs == Theirs::notification;
    Solo solo;
    if (theirs != Theirs::nothing) {
      auto& restart = solo.theirs.capabilities.graceful_restart.emplace();
      restart.restart_time = 77;
      restart.families[0].offered = true;
      restart.notification = kept;
    }
    solo.establish();
    const Millis since = solo.now;
    solo.now += 80'000;
    solo.feed(v4_update());  // an UPDATE counts as a keepalive does
    while (solo.downs.empty()) solo.wait();
    CHECK(solo.now - since == 170'000);
    CHECK(solo.notification().code == 4);
    CHECK(solo.downs[0].why == "hold timer expired: nothing heard for 90 s");
    CHECK(solo.downs[0].keep == kept);
    if (kept) CHECK(solo.downs[0].restart_time == 77);
    CHECK(solo.session.last_error() == solo.downs[0].why);
    CHECK(solo.wait() <= 1000);
    CHECK(solo.dials == 1);
  }
}

TEST_CASE("a hold time of zero means no keepalives and no end") {
  Solo solo;
  solo.theirs.hold_time = 0;
  solo.establish();
  CHECK_FALSE(solo.session.next_timer());
  CHECK(solo.session.agreed()->hold_time == 0);
}

TEST_CASE("the hold time of OPEN counts from the OPEN on, before it is established too") {
  Solo solo;
  solo.connect();
  solo.feed(encode(solo.theirs));
  while (solo.closed.empty()) solo.wait();
  CHECK(solo.notification().code == 4);
  CHECK(solo.downs.empty());
  CHECK(solo.session.last_error() == "hold timer expired: nothing heard for 90 s");
}

TEST_CASE("who reads nothing for eight minutes is let go (RFC 9687)") {
  Solo solo;
  solo.establish();
  const Millis since = solo.now;
  const auto live = [&](Millis time) {
    while (solo.now < since + time && solo.session.state() == SessionState::established) {
      solo.wait_until(solo.now + 10'000);
      if (solo.session.state() == SessionState::established) solo.session.on_bytes(1, keepalive(), solo.now);
    }
  };
  SECTION("it is dropped, and told so in case it ever reads again") {
    solo.session.on_sent(solo.now, true);
    live(470'000);
    CHECK(solo.session.state() == SessionState::established);
    live(490'000);
    CHECK(solo.session.last_error() == "send hold timer expired: they read nothing");
  }
  SECTION("also if it took nothing from the first moment on") {
    for (Millis time = 0; time < 490'000; time += 10'000) {
      solo.session.on_sent(solo.now, true, false);
      live(time);
    }
    CHECK(solo.session.last_error() == "send hold timer expired: they read nothing");
  }
  SECTION("whatever is read begins it anew") {
    solo.session.on_sent(solo.now, true);
    live(400'000);
    solo.session.on_sent(solo.now, true);
    live(800'000);
    CHECK(solo.session.state() == SessionState::established);
    solo.session.on_sent(solo.now, false);
    live(3'000'000);
    CHECK(solo.session.state() == SessionState::established);
  }
}

TEST_CASE("errors are followed by idle hold, longer each time, up to a minute; incoming ones are refused meanwhile") {
  Solo solo;
  solo.theirs.asn = 65003;
  ConnId conn = 0;
  for (const Millis limit : {1000, 2000, 4000, 8000, 16'000, 32'000, 60'000, 60'000, 60'000}) {
    solo.connect(++conn);
    solo.feed(encode(solo.theirs), conn);
    CHECK(solo.session.state() == SessionState::idle);
    CHECK(solo.session.last_error() == "bad peer AS: they say 65003, we expect 65002");
    CHECK_FALSE(solo.accept(1000));
    const Millis took = solo.wait();
    CHECK(took >= limit * 3 / 4);
    CHECK(took <= limit);
    CHECK(solo.dials == 1);
  }
  // Established for a while: all is forgiven.
  solo.theirs.asn = 65002;
  solo.theirs.hold_time = 0;
  solo.establish(++conn);
  solo.now += 200'000;
  solo.feed(encode(solo.theirs), conn);
  CHECK(solo.downs.size() == 1);
  CHECK(solo.wait() <= 1000);
}

TEST_CASE("a peer that goes up and down with errors is held longer and longer") {
  Solo solo;
  Millis last = 0;
  for (ConnId conn = 1; conn < 8; ++conn) {
    solo.establish(conn);
    solo.feed(encode(solo.theirs), conn);  // an OPEN where there must be none
    last = solo.wait();
  }
  CHECK(last >= 45'000);
}
