// How sessions of speakers end and come back: limits, resets, restarts, the last word.
#include "bgp/tcp.h"
#include "speaker_world.h"

namespace knet::bgp {
namespace {

void pair_up(TestSpeaker& a, TestSpeaker& b) {
  a.peer(b.number);
  b.peer(a.number);
  b.originate(2, 1);
  b.originate(2, 2);
  a.apply();
  b.apply();
  REQUIRE(comes([&] { return a.learned().size() == 2; }));
}

TEST_CASE("more prefixes than are allowed end the session") {
  TestSpeaker a(1), b(2);
  pair_up(a, b);
  a.with(2).prefix_limit = 3;
  a.apply();
  for (int i = 3; i < 9; ++i) b.originate(2, i);
  b.apply();
  REQUIRE(comes([&] { return a.learned().empty(); }));
  CHECK(a.status(2).last_error == "more than 3 prefixes");
  REQUIRE(comes([&] { return b.status(1).last_error.find("prefixes") != std::string::npos; }));
}

TEST_CASE("a hard reset ends the session and it comes back") {
  TestSpeaker a(1), b(2);
  pair_up(a, b);
  a.speaker->reset(host(2), ResetKind::hard);
  REQUIRE(comes([&] { return b.status(1).last_error.find("administrative reset") != std::string::npos; }));
  REQUIRE(comes([&] { return a.learned().size() == 2; }));
  CHECK_THROWS_AS(a.speaker->reset(host(9), ResetKind::hard), Error);
}

TEST_CASE("soft resets send again what there is, within the session") {
  TestSpeaker a(1), b(2);
  pair_up(a, b);
  const uint64_t before = a.status(2).messages_in;
  a.speaker->reset(host(2), ResetKind::in);
  REQUIRE(comes([&] { return a.status(2).messages_in >= before + 3; }));  // begin, routes, end
  const uint64_t then = a.status(2).messages_in;
  b.speaker->reset(std::nullopt, ResetKind::out);
  REQUIRE(comes([&] { return a.status(2).messages_in >= then + 3; }));
  CHECK(a.learned().size() == 2);
  CHECK(a.status(2).counts.stale == 0);
  CHECK(b.status(1).last_error.empty());
}

TEST_CASE("a restart within the restart time loses no route") {
  TestSpeaker a(1);
  auto b = std::make_unique<TestSpeaker>(2);
  pair_up(a, *b);
  const int calls = a.calls();
  b->speaker.reset();
  REQUIRE(comes([&] { return a.status(2).restarting; }));
  CHECK(a.status(2).counts.stale == 2);
  CHECK(a.learned().size() == 2);
  b->begin(true);
  b->config.originated.pop_back();  // one of the two is not there any more
  b->apply();
  REQUIRE(comes([&] { return a.learned().size() == 1; }));
  CHECK(a.has(subnet(2, 1)));
  CHECK(a.calls() == calls + 1);
  CHECK(a.status(2).counts.stale == 0);
}

TEST_CASE("routes of a peer that does not come back go when its restart time is over") {
  TestSpeaker a(1), b(2);
  a.peer(2);
  b.peer(1).session.restart_time = 1;
  b.originate(2, 1);
  a.apply();
  b.apply();
  REQUIRE(comes([&] { return a.has(subnet(2, 1)); }));
  b.speaker.reset();
  REQUIRE(comes([&] { return a.status(2).restarting; }));
  CHECK(a.has(subnet(2, 1)));
  CHECK(comes([&] { return a.learned().empty(); }));
}

TEST_CASE("long-lived stale routes stay, least preferred, after the restart time") {
  TestSpeaker a(1), b(2);
  a.peer(2);
  PeerConfig& of_b = b.peer(1);
  of_b.session.restart_time = 1;
  of_b.session.llgr_time = 1;
  b.originate(2, 1);
  a.apply();
  b.apply();
  REQUIRE(comes([&] { return a.has(subnet(2, 1)); }));
  b.speaker.reset();
  const auto marked = [&] {
    const auto routes = a.speaker->routes({});
    return routes.size() == 1 && routes[0].attributes->communities == std::vector<uint32_t>{kLlgrStale};
  };
  REQUIRE(comes(marked));
  CHECK(a.has(subnet(2, 1)));
  CHECK(comes([&] { return a.learned().empty(); }));
}

TEST_CASE("a restarted reflector decides nothing before it has heard its clients") {
  TestSpeaker r(3, true), a(1);
  r.config.rib.cluster_id = 9;
  r.config.defer_selection = true;
  r.peer(1).role = PeerRole::reflector_client;
  r.peer(2).role = PeerRole::reflector_client;  // not there yet
  a.peer(3);
  a.originate(1, 1);
  r.apply();
  a.apply();
  REQUIRE(comes([&] { return r.status(1).counts.received == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  CHECK(r.learned().empty());
  CHECK_FALSE(r.whole());
  TestSpeaker b(2);
  b.peer(3);
  b.apply();
  REQUIRE(comes([&] { return r.whole() && b.has(subnet(1, 1)); }));
  CHECK(r.has(subnet(1, 1)));
}

TEST_CASE("the last word is read") {
  TestSpeaker a(1), b(2);
  pair_up(a, b);
  b.speaker->stop("moved to rack 7");
  REQUIRE(comes([&] { return a.learned().empty(); }));
  CHECK(a.status(2).last_error.find("moved to rack 7") != std::string::npos);
  CHECK(b.speaker->peers().empty());
  b.apply();  // after it nothing begins again
  CHECK(b.speaker->peers().empty());
}

TEST_CASE("dynamic neighbours come, are bounded, and go") {
  TestSpeaker a(1), b(2), c(3);
  PeerConfig& range = a.peer(0);
  range.remote = Prefix(host(0), 24);
  range.max_dynamic = 1;
  range.name = "rack";
  a.apply();
  b.peer(1);
  b.originate(2, 1);
  b.config.peers[0].session.restart_time = 0;
  b.apply();
  REQUIRE(comes([&] { return a.has(subnet(2, 1)); }));
  CHECK(a.status(2).dynamic);
  c.peer(1);
  c.apply();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(a.speaker->peers().size() == 1);
  b.speaker.reset();
  REQUIRE(comes([&] { return a.learned().empty() && a.established(3); }));
  CHECK(a.speaker->peers().size() == 1);
  a.config.peers.clear();
  a.apply();
  REQUIRE(comes([&] { return a.speaker->peers().empty(); }));
}

TEST_CASE("where any AS may come, one of our own is an inner neighbour") {
  TestSpeaker a(1), b(2);
  PeerConfig& range = a.peer(0);
  range.remote = Prefix(host(0), 24);
  range.session.remote_as = 0;
  range.role = PeerRole::ebgp;
  a.originate(1, 1);
  a.apply();
  b.peer(1);
  b.originate(2, 1);
  b.apply();
  REQUIRE(comes([&] { return a.has(subnet(2, 1)) && b.has(subnet(1, 1)); }));
  CHECK(b.speaker->routes({}).front().attributes->as_path.empty());
}

bool kernel_has_md5() {
  Fd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (set_md5(probe.get(), Prefix::host(host(1)), "x") == 0) return true;
  WARN("skipped: this kernel has no TCP MD5");
  return false;
}

TEST_CASE("equal passwords meet; others, or none, never do") {
  if (!kernel_has_md5()) return;
  TestSpeaker a(1), b(2), c(3), d(4);
  for (const int other : {2, 3, 4}) a.peer(other).password = "right";
  b.peer(1).password = "right";
  c.peer(1).password = "wrong";
  d.peer(1);
  for (TestSpeaker* one : {&a, &b, &c, &d}) one->apply();
  REQUIRE(comes([&] { return a.established(2); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK_FALSE(a.established(3));
  CHECK_FALSE(a.established(4));
  // A new password is a new session.
  a.with(3).password = "wrong";
  a.apply();
  CHECK(comes([&] { return a.established(3); }));
  CHECK(a.established(2));
}

TEST_CASE("a password of a range holds for its dynamic neighbours") {
  if (!kernel_has_md5()) return;
  TestSpeaker a(1), b(2), c(3);
  PeerConfig& range = a.peer(0);
  range.remote = Prefix(host(0), 24);
  range.password = "right";
  b.peer(1).password = "right";
  c.peer(1).password = "wrong";
  for (TestSpeaker* one : {&a, &b, &c}) one->apply();
  REQUIRE(comes([&] { return a.established(2); }));
  CHECK(a.speaker->peers().size() == 1);
}

TEST_CASE("with TTL security both ends meet, and others' packets do not") {
  TestSpeaker a(1), b(2);
  a.peer(2).ttl_security = true;
  b.peer(1).ttl_security = true;
  a.apply();
  b.apply();
  REQUIRE(comes([&] { return a.established(2); }));
  TestSpeaker c(3);
  c.peer(1);  // sends 64
  a.peer(3).ttl_security = true;
  a.apply();
  c.apply();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK_FALSE(a.established(3));
  CHECK(a.established(2));
}

}  // namespace
}  // namespace knet::bgp
