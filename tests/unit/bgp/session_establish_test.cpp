// From nothing to established: dialling, OPEN, what is agreed on, the stream in any pieces, stop and passive.
#include "tests/unit/bgp/session_world.h"

using namespace knet;
using namespace knet::bgp;
using namespace knet::bgp::test;

TEST_CASE("two sessions come up, and each knows what the other offered") {
  SessionConfig one = config_of(65001, 1, 65002), two = config_of(65002, 2, 65001);
  one.families[1] = two.families[1] = true;
  two.hold_time = 30;
  two.extended_next_hop = true;
  Wires wires(one, two);
  wires.sides[1].listens = false;
  wires.sides[0].session.start(wires.now, false);
  wires.pump(0);
  CHECK(wires.sides[0].session.state() == SessionState::active);
  CHECK(wires.sides[0].session.last_error() == "refused");
  wires.sides[1].listens = true;
  wires.sides[1].session.start(wires.now, false);
  wires.pump(1);
  wires.quiet();
  REQUIRE(wires.both_up());
  const Agreed& first = *wires.sides[0].session.agreed();
  CHECK(first.open.asn == 65002);
  CHECK(first.open.id == 2);
  CHECK(first.hold_time == 30);
  CHECK(first.families[0]);
  CHECK(first.families[1]);
  CHECK(first.traits.ebgp);
  CHECK(first.traits.four_octet_as);
  CHECK(first.traits.local_as == 65001);
  CHECK_FALSE(first.traits.extended_next_hop);
  CHECK(first.route_refresh);
  CHECK(first.enhanced_refresh);
  CHECK(first.long_lived);
  CHECK_FALSE(first.outgoing);
  CHECK(wires.sides[1].session.agreed()->outgoing);
  CHECK(wires.sides[0].session.last_error().empty());
  wires.advance(1'000'000);  // keepalives hold it
  CHECK(wires.both_up());
  CHECK(wires.sides[0].downs.empty());
  CHECK(wires.sides[0].session.counters().established == 1);
  CHECK(wires.sides[0].session.counters().messages_in > 90);
}

TEST_CASE("a session takes the stream in pieces of any size") {
  const Octets stream = [] {
    Octets out;
    for (int i = 0; i < 5; ++i) {
      for (const Octets& part : {v4_update(), keepalive()}) out.insert(out.end(), part.begin(), part.end());
    }
    return out;
  }();
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    Solo solo;
    solo.connect();
    const Octets open = join({encode(solo.theirs), keepalive()});
    for (const uint8_t byte : open) solo.session.on_bytes(1, {&byte, 1}, solo.now);
    REQUIRE(solo.session.state() == SessionState::established);
    for (size_t at = 0; at < stream.size(); at += piece) {
      solo.session.on_bytes(1, Bytes(stream).subspan(at, std::min(piece, stream.size() - at)), solo.now);
    }
    solo.look();
    REQUIRE(solo.routes.size() == 5);
    REQUIRE(solo.routes[4].reachable == std::vector{*Prefix::parse("10.1.0.0/16")});
    REQUIRE(solo.session.counters().messages_in == 12);
    REQUIRE(solo.session.counters().updates_in == 5);
  }
}

TEST_CASE("a passive session never dials, and takes a connection at any time") {
  SessionConfig config = config_of(65001, 1, 0);
  config.passive = true;
  Solo solo(config);
  CHECK(solo.dials == 0);
  CHECK_FALSE(solo.session.next_timer());
  CHECK(solo.session.state() == SessionState::active);
  CHECK(solo.accept(7));
  CHECK(std::holds_alternative<Open>(solo.sent.at(0)));
  CHECK(solo.session.state() == SessionState::open_sent);
  solo.feed(encode(solo.theirs), 7);
  solo.feed(keepalive(), 7);
  CHECK(solo.ups.size() == 1);
  CHECK(solo.session.agreed()->open.asn == 65002);  // any AS was expected
  solo.session.on_closed(7, "reset", solo.now);
  solo.look();
  CHECK(solo.downs.at(0).why == "reset");
  CHECK_FALSE(solo.session.next_timer());
  CHECK(solo.accept(8));
}

TEST_CASE("the OPEN says what the configuration says") {
  SessionConfig config = config_of(70001, 0x0a000001, 65002);
  config.families[1] = true;
  config.llgr_time = 3600;
  Solo solo(config, false);
  solo.session.start(solo.now, true);
  solo.connect();
  const Open open = std::get<Open>(solo.sent.at(0));
  CHECK(open.asn == 70001);
  CHECK(open.id == 0x0a000001);
  CHECK(open.hold_time == 90);
  CHECK(open.capabilities.multiprotocol[0]);
  CHECK(open.capabilities.multiprotocol[1]);
  CHECK(open.capabilities.four_octet_as);
  CHECK(open.capabilities.enhanced_refresh);
  CHECK_FALSE(open.capabilities.extended_next_hop);
  CHECK_FALSE(open.capabilities.extended_message);
  const GracefulRestart& restart = open.capabilities.graceful_restart.value();
  CHECK(restart.restarting);
  CHECK(restart.notification);
  CHECK(restart.long_lived);
  CHECK(restart.restart_time == 120);
  CHECK(restart.families[0] == GracefulRestart::Family{true, true, 3600});
  CHECK(restart.families[1] == GracefulRestart::Family{true, true, 3600});
}

TEST_CASE("the F bit is set only where forwarding went on, the R bit only until selection is done") {
  Solo solo;
  solo.connect();
  const auto restart = [&] { return *std::get<Open>(solo.sent.at(0)).capabilities.graceful_restart; };
  CHECK_FALSE(restart().families[0].forwarding_kept);
  CHECK_FALSE(restart().restarting);
  solo.feed(join({encode(solo.theirs), keepalive()}));
  solo.session.on_closed(1, "reset", solo.now);
  solo.wait();
  solo.connect(2);
  CHECK(restart().families[0].forwarding_kept);
  CHECK_FALSE(restart().restarting);
  Solo again(config_of(65001, 1, 65002), false);
  again.session.start(again.now, true);
  again.session.set_restarting(false);
  again.connect();
  const auto second = *std::get<Open>(again.sent.at(0)).capabilities.graceful_restart;
  CHECK(second.families[0].forwarding_kept);
  CHECK_FALSE(second.restarting);
}

TEST_CASE("routes of families that were not agreed on are passed over") {
  SessionConfig config = config_of(65001, 1, 65002);
  config.families[1] = true;
  Solo solo(config);  // they speak IPv4 alone
  solo.establish();
  CHECK_FALSE(solo.session.agreed()->families[1]);
  std::vector<uint8_t> bytes;
  Attributes attributes;
  attributes.as_path = {{AsSegment::Type::sequence, {65002}}};
  attributes.next_hop = *IpAddr::parse("fd00::2");
  REQUIRE(encode_reach(Afi::v6, std::vector{*Prefix::parse("fd01::/64")}, attributes, SessionTraits{.ebgp = true},
                       bytes) == 1);
  solo.feed(bytes);
  CHECK(solo.routes.empty());
  solo.feed(encode_end_of_rib(Afi::v6));
  CHECK(solo.routes.empty());
  solo.feed(encode_end_of_rib(Afi::v4));
  REQUIRE(solo.routes.size() == 1);
  CHECK(solo.routes[0].end_of_rib == Afi::v4);
  CHECK(solo.session.counters().updates_in == 3);
}

TEST_CASE("refreshes are told of agreed families; begin and end only where both have them") {
  Solo solo;
  solo.establish();
  solo.feed(encode(RouteRefresh{Afi::v4, RouteRefresh::Kind::request}));
  CHECK(solo.refreshes.size() == 1);
  solo.feed(encode(RouteRefresh{Afi::v4, RouteRefresh::Kind::begin}));
  CHECK(solo.refreshes.size() == 1);
  solo.feed(encode(RouteRefresh{Afi::v6, RouteRefresh::Kind::request}));
  CHECK(solo.refreshes.empty());
  Solo plain;
  plain.theirs.capabilities.enhanced_refresh = false;
  plain.establish();
  plain.feed(encode(RouteRefresh{Afi::v4, RouteRefresh::Kind::begin}));
  CHECK(plain.refreshes.empty());
  CHECK(plain.session.state() == SessionState::established);
}

TEST_CASE("stop says goodbye where it is told to, and is silent where not") {
  Solo solo;
  solo.establish();
  solo.session.stop(solo.now, cease(2, "upgrade"));
  solo.look();
  CHECK(describe(solo.notification()) == "cease, administrative shutdown: upgrade");
  CHECK(solo.closed == std::vector<ConnId>{1});
  CHECK_FALSE(solo.downs.at(0).keep);
  CHECK(solo.session.state() == SessionState::idle);
  CHECK_FALSE(solo.session.next_timer());
  CHECK_FALSE(solo.accept(2));
  Solo quiet;
  quiet.establish();
  quiet.session.stop(quiet.now, std::nullopt);
  quiet.look();
  CHECK(quiet.sent.empty());
  CHECK(quiet.closed == std::vector<ConnId>{1});
  CHECK(quiet.downs.size() == 1);
  quiet.session.start(quiet.now, false);
  quiet.look();
  CHECK(quiet.dials == 1);
}

TEST_CASE("a session that was stopped while it dialled closes what comes of it") {
  Solo solo;
  CHECK(solo.session.state() == SessionState::connect);
  solo.session.stop(solo.now, std::nullopt);
  solo.look();
  solo.connect();
  CHECK(solo.closed == std::vector<ConnId>{1});
  CHECK(solo.sent.empty());
  CHECK(solo.session.state() == SessionState::idle);
}

TEST_CASE("fail ends the session for the speaker's reason, and tries again unless told not to") {
  Solo solo;
  solo.establish();
  solo.session.fail(solo.now, cease(1), "they sent more than 1000 prefixes");
  solo.look();
  CHECK(solo.notification() == cease(1));
  CHECK(solo.downs.at(0).why == "they sent more than 1000 prefixes");
  CHECK(solo.session.last_error() == "they sent more than 1000 prefixes");
  CHECK(solo.session.state() == SessionState::idle);
  CHECK(solo.wait() <= 1000);
  CHECK(solo.dials == 1);
  solo.establish(2);
  CHECK(solo.session.last_error().empty());
  solo.session.fail(solo.now, cease(1), "too many", false);
  solo.look();
  CHECK_FALSE(solo.session.next_timer());
  CHECK(solo.session.last_error() == "too many");
}

TEST_CASE("a hundred thousand routes pass without a copy of what was whole") {
  Solo solo;
  solo.establish();
  Dice dice(5);
  Attributes attributes;
  attributes.as_path = {{AsSegment::Type::sequence, {65002}}};
  attributes.next_hop = *IpAddr::parse("192.0.2.2");
  const auto prefixes = dice.prefixes(Afi::v4, 100'000);
  std::vector<uint8_t> bytes;
  REQUIRE(encode_reach(Afi::v4, prefixes, attributes, SessionTraits{.ebgp = true}, bytes) > 50);
  size_t count = 0;
  for (size_t at = 0; at < bytes.size(); at += 65'536) {
    solo.feed(Octets(bytes.begin() + static_cast<ptrdiff_t>(at),
                     bytes.begin() + static_cast<ptrdiff_t>(std::min(at + 65'536, bytes.size()))));
    for (const Update& update : solo.routes) count += update.reachable.size();
  }
  CHECK(count == prefixes.size());
}
