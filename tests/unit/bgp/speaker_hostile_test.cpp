// Neighbours that misbehave: what they do stays with them.
#include <map>

#include "speaker_world.h"

namespace knet::bgp {
namespace {

/// A speaker with one good neighbour and some more that are the test's own sockets.
struct Hostile {
  TestSpeaker speaker{1}, good{2};

  explicit Hostile(std::initializer_list<int> raw) {
    speaker.peer(2);
    for (const int number : raw) speaker.peer(number).session.passive = true;
    good.peer(1);
    good.originate(2, 1);
    speaker.originate(1, 1);
    good.apply();
    speaker.apply();
    REQUIRE(comes([&] { return speaker.has(subnet(2, 1)); }));
  }
  bool well() {
    good.originate(3, ++step_);
    good.apply();
    return comes([&] { return speaker.has(subnet(3, step_)); }) && good.status(1).last_error.empty();
  }

 private:
  int step_ = 0;
};

std::vector<uint8_t> update_of(int a, int b, int from) {
  std::vector<uint8_t> out;
  const Prefix prefix = subnet(a, b);
  const Attributes attributes = of(from);
  encode_reach(Afi::v4, {&prefix, 1}, attributes, SessionTraits{}, out);
  return out;
}

TEST_CASE("garbage ends its connection with a NOTIFICATION, and no other") {
  Hostile world({3});
  Raw raw(3, 1);
  REQUIRE(raw.connected);
  REQUIRE(raw.until<Open>());
  REQUIRE(raw.say(std::vector<uint8_t>(64, 0xab)));
  const auto told = raw.until<Notification>();
  REQUIRE(told);
  CHECK(told->code == 1);
  CHECK(raw.closed());
  CHECK(world.well());
}

TEST_CASE("messages in single bytes are messages") {
  Hostile world({3});
  Raw raw(3, 1);
  REQUIRE(raw.establish(3));
  for (const uint8_t byte : update_of(7, 1, 3)) REQUIRE(raw.say({&byte, 1}));
  CHECK(comes([&] { return world.speaker.has(subnet(7, 1)); }));
  CHECK(world.well());
}

TEST_CASE("half a message and silence hold nobody up") {
  Hostile world({3, 4});
  Raw half(3, 1), silent(4, 1);
  REQUIRE(half.establish(3));
  const auto update = update_of(7, 1, 3);
  REQUIRE(half.say(Bytes(update).first(20)));
  CHECK(world.well());
  CHECK(world.speaker.established(3));
  half.fd.reset();
  CHECK(comes([&] { return !world.speaker.established(3); }));
}

TEST_CASE("who is not known is turned away at once") {
  Hostile world({});
  std::vector<Raw> crowd;
  for (int i = 0; i < 200; ++i) crowd.emplace_back(50 + i % 50, 1);
  for (Raw& raw : crowd) CHECK(raw.closed());
  CHECK(world.well());
  CHECK(world.speaker.speaker->peers().size() == 1);
}

TEST_CASE("a storm from a known address does not end its session nor others'") {
  Hostile world({3});
  Raw raw(3, 1);
  REQUIRE(raw.establish(3));
  std::vector<Raw> crowd;
  for (int i = 0; i < 100; ++i) crowd.emplace_back(3, 1);
  for (Raw& other : crowd) CHECK(other.closed());
  CHECK(world.speaker.established(3));
  CHECK(raw.say(update_of(7, 2, 3)));
  CHECK(comes([&] { return world.speaker.has(subnet(7, 2)); }));
  CHECK(world.well());
}

TEST_CASE("who does not read is not waited for, and gets whole messages once it does") {
  Hostile world({3});
  Raw raw(3, 1);
  REQUIRE(raw.establish(3));
  for (int round = 0; round < 12; ++round) {
    world.speaker.config.originated.clear();
    for (int i = 0; i < 20'000; ++i)
      world.speaker.config.originated.emplace_back(Prefix(IpAddr::v4(0x14000000u + static_cast<uint32_t>(i) * 256), 24),
                                                   of(1, static_cast<uint32_t>(round * 100'000 + i)));
    world.speaker.apply();
    CHECK(comes([&] { return world.speaker.status(3).counts.advertised == 20'000; }));
  }
  CHECK(world.well());
  CHECK(world.speaker.established(3));
  CHECK(world.speaker.status(3).backlog > 0);
  // A soft reset's request comes between two messages, never inside one.
  CHECK_THROWS_AS(world.speaker.speaker->reset(host(3), ResetKind::in), Error);
  std::map<Prefix, uint32_t> last;
  while (const auto message = raw.hear(300)) {
    REQUIRE_FALSE(std::holds_alternative<MessageError>(*message));
    const auto* update = std::get_if<Update>(&*message);
    if (update == nullptr || !update->attributes) continue;
    for (const Prefix& prefix : update->reachable) last[prefix] = update->attributes->med.value_or(0);
  }
  CHECK(last.size() >= 20'000);
  size_t newest = 0;
  for (const auto& [prefix, med] : last) newest += med >= 1'100'000;
  CHECK(newest == 20'000);
}

TEST_CASE("a NOTIFICATION does not come in the middle of an UPDATE") {
  Hostile world({3});
  Raw raw(3, 1);
  REQUIRE(raw.establish(3));
  for (int i = 0; i < 200'000; ++i)
    world.speaker.config.originated.emplace_back(Prefix(IpAddr::v4(0x14000000u + static_cast<uint32_t>(i) * 256), 24),
                                                 of(1, static_cast<uint32_t>(i)));
  world.speaker.config.originated.erase(world.speaker.config.originated.begin());
  world.speaker.apply();
  REQUIRE(comes([&] { return world.speaker.status(3).backlog > 0 && world.speaker.status(3).counts.advertised >= 200'000; }));
  std::thread reader([&] {
    std::optional<Notification> told;
    size_t messages = 0;
    while (auto message = raw.hear(500)) {
      if (std::holds_alternative<MessageError>(*message)) break;
      ++messages;
      if (const auto* one = std::get_if<Notification>(&*message)) told = *one;
    }
    CHECK(messages > 1);
    CHECK(told);
    if (told) CHECK(told->subcode == 3);
  });
  world.speaker.config.peers.pop_back();
  world.speaker.apply();
  reader.join();
  CHECK(world.well());
}

}  // namespace
}  // namespace knet::bgp
