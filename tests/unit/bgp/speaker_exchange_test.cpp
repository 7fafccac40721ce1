// Two and three speakers over the loopback: they find each other, exchange, reflect, and take a new config in place.
#include "speaker_world.h"

namespace knet::bgp {
namespace {

TEST_CASE("two speakers that dial each other end with one session and each other's routes") {
  TestSpeaker a(1), b(2);
  a.peer(2);
  b.peer(1);
  a.originate(1, 1);
  b.originate(2, 1);
  a.apply();
  b.apply();
  REQUIRE(comes([&] { return a.has(subnet(2, 1)) && b.has(subnet(1, 1)); }));
  const auto routes = a.learned();
  REQUIRE(routes.size() == 1);
  CHECK(routes[0].next_hop == hop(2));
  CHECK(routes[0].peer == host(2));
  REQUIRE(comes([&] { return a.whole() && b.whole(); }));
  const PeerStatus status = a.status(2);
  CHECK(status.name == "n2");
  CHECK(status.asn == 64512);
  CHECK(status.id == 2);
  CHECK(status.hold_time == 30);
  CHECK(status.counts.received == 1);
  CHECK(status.counts.advertised == 1);
  CHECK(status.messages_in >= 3);
  CHECK(status.messages_out >= 3);
  CHECK(status.local.starts_with("127.77.0.1:"));
  CHECK(status.last_error.empty());
  CHECK(a.speaker->troubles().empty());

  const auto received = a.speaker->routes({.of = RouteQuery::Of::received, .peer = host(2)});
  REQUIRE(received.size() == 1);
  CHECK(received[0].peer == "n2");
  CHECK(received[0].best);
  const auto advertised = a.speaker->routes({.of = RouteQuery::Of::advertised, .peer = host(2)});
  REQUIRE(advertised.size() == 1);
  CHECK(advertised[0].prefix == subnet(1, 1));
  CHECK(a.speaker->routes({}).size() == 2);
  CHECK(a.speaker->routes({.limit = 1}).size() == 1);
  CHECK(a.speaker->routes({.prefix = Prefix::host(subnet(2, 1).addr().plus(7))}).size() == 1);
  CHECK_THROWS_AS(a.speaker->routes({.of = RouteQuery::Of::received, .peer = host(9)}), Error);
}

TEST_CASE("what is originated follows the config") {
  TestSpeaker a(1), b(2);
  a.peer(2);
  b.peer(1);
  a.originate(1, 1);
  a.originate(1, 2);
  a.apply();
  b.apply();
  REQUIRE(comes([&] { return b.learned().size() == 2; }));
  a.config.originated.erase(a.config.originated.begin());
  a.originate(1, 3);
  a.apply();
  REQUIRE(comes([&] { return b.has(subnet(1, 3)) && !b.has(subnet(1, 1)); }));
  CHECK(b.has(subnet(1, 2)));
  CHECK(b.status(1).messages_in < 20);
}

TEST_CASE("a reflector passes on between its clients") {
  TestSpeaker reflector(3), a(1), b(2);
  reflector.config.rib.cluster_id = 7;
  for (const int client : {1, 2}) reflector.peer(client).role = PeerRole::reflector_client;
  a.peer(3);
  b.peer(3);
  a.originate(1, 1);
  for (TestSpeaker* one : {&reflector, &a, &b}) one->apply();
  REQUIRE(comes([&] { return b.has(subnet(1, 1)); }));
  CHECK(b.learned()[0].next_hop == hop(1));
  CHECK(b.learned()[0].peer == host(3));
  const auto shown = b.speaker->routes({});
  REQUIRE(shown.size() == 1);
  CHECK(shown[0].attributes->originator_id == RouterId{1});
  CHECK(shown[0].attributes->cluster_list == std::vector<uint32_t>{7});
}

TEST_CASE("a reflector without pods hands nothing over until it gets some") {
  TestSpeaker reflector(3), a(1), b(2);
  reflector.config.rib.cluster_id = 7;
  reflector.config.hands_over = false;
  for (const int client : {1, 2}) reflector.peer(client).role = PeerRole::reflector_client;
  a.peer(3);
  b.peer(3);
  a.originate(1, 1);
  for (TestSpeaker* one : {&reflector, &a, &b}) one->apply();
  REQUIRE(comes([&] { return b.has(subnet(1, 1)) && reflector.whole(); }));
  CHECK(reflector.learned().empty());
  reflector.config.hands_over = true;
  reflector.apply();
  REQUIRE(comes([&] { return reflector.has(subnet(1, 1)); }));
  reflector.config.hands_over = false;
  reflector.apply();
  REQUIRE(comes([&] { return reflector.learned().empty(); }));
  CHECK(b.has(subnet(1, 1)));
}

TEST_CASE("equal routes of two peers come as one with a further next hop") {
  TestSpeaker a(1), b(2), c(3);
  c.config.rib.max_paths = 2;
  c.peer(1);
  c.peer(2);
  a.peer(3);
  b.peer(3);
  a.originate(5, 1);
  b.originate(5, 1);
  for (TestSpeaker* one : {&a, &b, &c}) one->apply();
  REQUIRE(comes([&] { return c.learned().size() == 1 && c.learned()[0].others.size() == 1; }));
  CHECK(c.learned()[0].next_hop == hop(1));
  CHECK(c.learned()[0].others[0] == hop(2));
}

TEST_CASE("a change of policy, name and costs leaves the session as it is") {
  TestSpeaker a(1), b(2);
  a.peer(2);
  b.peer(1);
  a.originate(1, 1);
  a.originate(1, 2);
  a.apply();
  b.apply();
  REQUIRE(comes([&] { return b.learned().size() == 2; }));

  a.with(2).name = "renamed";
  a.with(2).export_ = {"only-2", [](const Prefix& prefix, Attributes&) { return prefix == subnet(1, 2); }};
  a.apply();
  REQUIRE(comes([&] { return b.learned().size() == 1; }));
  b.with(1).import = {"none", [](const Prefix&, Attributes&) { return false; }};
  b.apply();
  REQUIRE(comes([&] { return b.learned().empty(); }));
  b.with(1).import = {};
  b.apply();
  REQUIRE(comes([&] { return b.has(subnet(1, 2)); }));
  b.config.igp = {{subnet(9, 9), 1}};  // the next hop is out of reach now
  b.apply();
  REQUIRE(comes([&] { return b.learned().empty(); }));
  b.config.igp = {{Prefix(hop(0), 24), 1}};
  b.apply();
  REQUIRE(comes([&] { return b.has(subnet(1, 2)); }));

  CHECK(a.status(2).name == "renamed");
  CHECK(a.status(2).last_error.empty());
  const auto established = b.speaker->routes({.of = RouteQuery::Of::received, .peer = host(1)});
  CHECK(established.size() == 1);
}

TEST_CASE("a peer that is taken out is told so, and its routes go") {
  TestSpeaker a(1), b(2);
  a.peer(2);
  b.peer(1);
  a.originate(1, 1);
  b.originate(2, 1);
  a.apply();
  b.apply();
  REQUIRE(comes([&] { return a.has(subnet(2, 1)) && b.has(subnet(1, 1)); }));
  a.config.peers.clear();
  a.apply();
  REQUIRE(comes([&] { return a.learned().empty() && b.learned().empty(); }));
  CHECK(a.speaker->peers().empty());
  CHECK(b.status(1).last_error.find("de-configured") != std::string::npos);
  // And comes back when it is wanted again.
  a.peer(2);
  a.apply();
  REQUIRE(comes([&] { return a.has(subnet(2, 1)) && b.has(subnet(1, 1)); }));
}

TEST_CASE("a change of the transport begins a new session") {
  TestSpeaker a(1), b(2);
  a.peer(2);
  b.peer(1);
  b.originate(2, 1);
  a.apply();
  b.apply();
  REQUIRE(comes([&] { return a.has(subnet(2, 1)); }));
  a.with(2).session.hold_time = 9;
  a.apply();
  REQUIRE(comes([&] { return !b.established(1); }));
  CHECK(b.status(1).last_error.find("other configuration change") != std::string::npos);
  REQUIRE(comes([&] { return a.established(2) && a.status(2).hold_time == 9; }));
}

TEST_CASE("another router id begins anew, and nothing is taken away before it is learned again") {
  TestSpeaker a(1), b(2);
  a.peer(2);
  b.peer(1);
  b.originate(2, 1);
  a.apply();
  b.apply();
  REQUIRE(comes([&] { return a.has(subnet(2, 1)) && a.whole(); }));
  a.config.rib.id = 77;
  a.with(2).session.local_id = 77;
  a.apply();
  REQUIRE(comes([&] { return b.status(1).id == 77; }));
  REQUIRE(comes([&] { return a.has(subnet(2, 1)) && a.whole(); }));
}

TEST_CASE("a port that is taken is told of, and taken once it is free") {
  Fd taken(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at = Raw::address(1, test_port());
  const int on = 1;
  setsockopt(taken.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  REQUIRE(bind(taken.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  REQUIRE(listen(taken.get(), 1) == 0);
  TestSpeaker a(1);
  a.apply();
  REQUIRE(comes([&] { return a.speaker->troubles().size() == 1; }));
  CHECK(a.speaker->troubles()[0].find("is taken") != std::string::npos);
  taken.reset();
  CHECK(comes([&] { return a.speaker->troubles().empty(); }));
  CHECK(Raw(2, 1).connected);
}

TEST_CASE("without peers all is there at once") {
  TestSpeaker a(1);
  a.apply();
  REQUIRE(comes([&] { return a.whole(); }, 500));
  CHECK(a.learned().empty());
  CHECK(a.calls() == 1);
}

}  // namespace
TEST_CASE("a dial under way ends when the peer's own connection stands") {
  TestSpeaker a(1);
  a.peer(3);
  // The neighbour's queue is full: our SYN is dropped there, and would come again a second later.
  Fd neighbour(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(neighbour.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in at = Raw::address(3, test_port());
  REQUIRE(bind(neighbour.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
  REQUIRE(listen(neighbour.get(), 0) == 0);
  const Raw filler(4, 3);
  REQUIRE(filler.connected);
  a.apply();
  REQUIRE(comes([&] { return a.status(3).state == SessionState::connect; }));
  Raw raw(3, 1);
  REQUIRE(raw.establish(3));
  REQUIRE(comes([&] { return a.established(3); }));
  REQUIRE(Fd(accept(neighbour.get(), nullptr, nullptr)));  // the filler: there is room again
  pollfd wait{neighbour.get(), POLLIN, 0};
  CHECK(poll(&wait, 1, 1500) == 0);
  CHECK(a.established(3));
}

}  // namespace knet::bgp
