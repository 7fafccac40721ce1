// What is sent: once for a group, packed, not back to its source; single peers that are new, slow, moved, or ask again.
#include "bgp/rib_stream.h"
#include "tests/unit/bgp/rib_world.h"

using namespace knet;
using namespace knet::bgp;

namespace {

const IpAddr kHop = ip("172.16.0.1");

std::vector<Prefix> many(uint32_t count, uint32_t from = 0) {
  std::vector<Prefix> out;
  for (uint32_t i = 0; i < count; ++i) out.emplace_back(IpAddr::v4(0x0a000000 + ((from + i) << 8)), 24);
  return out;
}

void add_clients(Rib& rib, PeerId count) {
  for (PeerId id = 0; id < count; ++id) rib.add_peer(id, peer(PeerRole::reflector_client, id));
  rib.settle();
}

/// Reads all, and forgets it.
size_t swallow(Rib& rib, PeerId id) {
  size_t all = 0;
  for (;;) {
    size_t got = 0;
    for (const Bytes& chunk : rib.pending(id, 1 << 16)) got += chunk.size();
    if (got == 0) return all;
    rib.consume(id, got);
    all += got;
  }
}

std::vector<const uint8_t*> addresses(const std::vector<Bytes>& chunks) {
  std::vector<const uint8_t*> out;
  for (const Bytes& chunk : chunks) out.push_back(chunk.data());
  return out;
}

}  // namespace

TEST_CASE("Peers with the same view share the very bytes; the source's own are left out for it") {
  Rib rib(reflector());
  add_clients(rib, 4);
  for (PeerId id = 0; id < 4; ++id) swallow(rib, id);
  rib.receive(0, reach(many(10), attributes(kHop)));
  rib.settle();
  CHECK(rib.groups() == 1);
  CHECK(rib.backlog(0) == 0);
  CHECK(rib.pending(0, 1 << 16).empty());
  const auto first = rib.pending(1, 1 << 16);
  REQUIRE(first.size() == 1);
  for (PeerId id = 2; id < 4; ++id) CHECK(addresses(rib.pending(id, 1 << 16)) == addresses(first));
}

TEST_CASE("Routes with the same attributes are packed into as few messages as hold them, changes coalesced") {
  Rib rib(reflector());
  add_clients(rib, 2);
  Listener listener(rib, 1);
  listener.drain();
  listener.take_events();
  listener.messages = 0;
  for (const Prefix& prefix : many(1000)) {
    rib.receive(0, reach({prefix}, attributes(kHop, 50)));
    rib.receive(0, reach({prefix}, attributes(kHop)));
  }
  rib.receive(0, reach({net("192.0.2.0/24")}, attributes(kHop)));
  rib.receive(0, unreach({net("192.0.2.0/24")}));
  rib.settle();
  listener.drain();
  CHECK(listener.table.size() == 1000);
  CHECK(listener.messages == 1);  // 1000 times 4 bytes and 60
  CHECK(listener.events.size() == 1000);
}

TEST_CASE("What changes what is sent parts the groups, what does not does not") {
  Rib rib(reflector());
  RibPeer p = peer(PeerRole::reflector_client, 1);
  rib.add_peer(1, p);
  p.import_policy = [](const Prefix&, Attributes&) { return true; };
  p.prefix_limit = 5;
  p.id = 99;
  p.address = ip("172.16.0.99");
  rib.add_peer(2, p);
  CHECK(rib.groups() == 1);
  PeerId id = 3;
  const auto apart = [&](auto change) {
    RibPeer other = peer(PeerRole::reflector_client, 1);
    change(other);
    const size_t before = rib.groups();
    rib.add_peer(id++, other);
    CHECK(rib.groups() == before + 1);
  };
  apart([](RibPeer& o) { o.role = PeerRole::ibgp; });
  apart([](RibPeer& o) { o.local = ip("172.31.0.2"); });
  apart([](RibPeer& o) { o.other_local = ip("fd00::1"); });
  apart([](RibPeer& o) { o.traits.four_octet_as = false; });
  apart([](RibPeer& o) { o.traits.extended_next_hop = true; });
  apart([](RibPeer& o) { o.traits.local_as = 5; });
  apart([](RibPeer& o) { o.families[1] = true; });
  apart([](RibPeer& o) { o.next_hop_self = true; });
  apart([](RibPeer& o) { o.next_hop_unchanged = true; });
  apart([](RibPeer& o) { o.link = net("172.16.0.0/24"); });
  apart([](RibPeer& o) { o.long_lived = true; });
  apart([](RibPeer& o) { o.export_key = "x"; });
  for (PeerId gone = 1; gone < id; ++gone) rib.remove_peer(gone);
  rib.settle();
  CHECK(rib.groups() == 0);
}

TEST_CASE("When the best changes from one peer's route to another's, each of them hears its own part") {
  Rib rib(reflector());
  add_clients(rib, 3);
  const Prefix prefix = net("10.1.0.0/24");
  std::vector<Listener> listeners;
  for (PeerId id = 0; id < 3; ++id) listeners.emplace_back(rib, id);
  const auto hear = [&](PeerId id) {
    listeners[id].drain();
    return listeners[id].take_events();
  };
  for (PeerId id = 0; id < 3; ++id) hear(id);
  using Events = std::vector<std::string>;
  const std::string plus = "+10.1.0.0/24", minus = "-10.1.0.0/24";
  rib.receive(0, reach({prefix}, attributes(kHop)));
  rib.settle();
  CHECK(hear(0) == Events{});
  CHECK(hear(1) == Events{plus});
  CHECK(hear(2) == Events{plus});
  rib.receive(1, reach({prefix}, attributes(kHop.plus(1), 200)));
  rib.settle();
  CHECK(hear(0) == Events{plus});
  CHECK(hear(1) == Events{minus});  // its own is the best now
  CHECK(hear(2) == Events{plus});
  rib.originate(prefix, Attributes{});
  rib.settle();
  for (PeerId id = 0; id < 3; ++id) CHECK(hear(id) == Events{plus});
  rib.originate(prefix, std::nullopt);
  rib.receive(1, unreach({prefix}));
  rib.settle();
  CHECK(hear(0) == Events{minus});
  CHECK(hear(1) == Events{plus});
  CHECK(hear(2) == Events{plus});
  rib.receive(0, unreach({prefix}));
  rib.settle();
  CHECK(hear(0) == Events{});
  CHECK(hear(1) == Events{minus});
}

TEST_CASE("Peers that come up together share one dump, also when the table grows meanwhile") {
  Rib rib(reflector());
  add_clients(rib, 1);
  swallow(rib, 0);
  rib.receive(0, reach(many(5000), attributes(kHop)));
  rib.settle();
  rib.add_peer(1, peer(PeerRole::reflector_client, 1));
  rib.add_peer(2, peer(PeerRole::reflector_client, 2));
  rib.settle();
  const auto first = addresses(rib.pending(1, 1 << 10));
  CHECK(addresses(rib.pending(2, 1 << 10)) == first);
  rib.receive(0, reach(many(10, 6000), attributes(kHop.plus(1))));
  rib.receive(0, unreach(many(10)));
  rib.settle();
  rib.add_peer(3, peer(PeerRole::reflector_client, 3));
  rib.settle();
  CHECK(addresses(rib.pending(3, 1 << 10)) == first);
  for (PeerId id = 1; id <= 3; ++id) {
    Listener listener(rib, id);
    listener.drain();
    CHECK(listener.table.size() == 5000);
    CHECK(std::count(listener.events.begin(), listener.events.end(), "eor v4") == 1);
  }
}

TEST_CASE("Bytes are read in any steps; what was begun is finished") {
  Rib rib(reflector());
  add_clients(rib, 2);
  Listener listener(rib, 1);
  rib.receive(0, reach(many(3000), attributes(kHop)));
  rib.settle();
  size_t steps = 0;
  const size_t backlog = rib.backlog(1);
  size_t read = 0;
  while (const size_t got = listener.read(7)) {
    read += got;
    if (++steps % 50 == 0) {
      rib.receive(0, reach(many(1, static_cast<uint32_t>(4000 + steps)), attributes(kHop)));
      rib.settle();
    }
    if (steps == 40) CHECK(rib.backlog(1) == backlog - read);
  }
  CHECK(listener.partial.empty());
  CHECK(listener.table.size() == rib.prefixes());
}

TEST_CASE("A slow peer falls behind, holds no memory, harms nobody, and has the table in the end") {
  RibSettings settings = reflector();
  settings.backlog_limit = 20000;
  Rib rib(settings);
  add_clients(rib, 3);
  Listener slow(rib, 1), fast(rib, 2);
  fast.drain();
  slow.drain();
  rib.receive(0, reach(many(2000), attributes(kHop)));
  rib.settle();
  slow.read(1001);  // in the midst of a message
  size_t most = 0;
  for (uint32_t round = 0; round < 200; ++round) {
    rib.receive(0, reach(many(1000, 1000), attributes(kHop, 100 + round)));
    rib.receive(0, reach(many(10, 10000 + round * 10), attributes(kHop, 100 + round)));
    if (round > 0) rib.receive(0, unreach(many(10, 10000 + (round - 1) * 10)));
    rib.settle();
    fast.drain();
    most = std::max(most, rib.backlog(1));
  }
  rib.receive(0, unreach(many(500)));
  rib.settle();
  fast.drain();
  CHECK(most < 40000);  // 200 rounds are 800 kB
  CHECK_FALSE(rib.lost(1));
  slow.drain();
  CHECK(slow.table == fast.table);
  CHECK(slow.table.size() == 1510);
}

TEST_CASE("A peer that reads nothing while prefixes come and go without end is given up, and only it") {
  RibSettings settings = reflector();
  settings.backlog_limit = 5000;
  Rib rib(settings);
  add_clients(rib, 3);
  Listener fast(rib, 2);
  for (uint32_t round = 0; round < 100; ++round) {
    rib.receive(0, reach(many(100, round * 100), attributes(kHop)));
    rib.settle();
    fast.drain();
    rib.receive(0, unreach(many(100, round * 100)));
    rib.settle();
    fast.drain();
  }
  CHECK(rib.lost(1));
  CHECK(rib.backlog(1) == 0);
  CHECK(rib.pending(1, 1000).empty());
  CHECK_FALSE(rib.lost(2));
  CHECK(fast.table.empty());
  rib.drop_session(1, false);
  rib.add_peer(1, peer(PeerRole::reflector_client, 1));
  rib.receive(0, reach(many(3), attributes(kHop)));
  rib.settle();
  Listener again(rib, 1);
  again.drain();
  CHECK(again.table.size() == 3);
}

TEST_CASE("A refresh sends all of the family again, framed where RFC 7313 is spoken") {
  Rib rib(reflector());
  RibPeer p = peer(PeerRole::reflector_client, 1);
  p.enhanced_refresh = GENERATE(false, true);
  p.families[1] = true;
  p.other_local = ip("fd00::1");
  rib.add_peer(1, p);
  rib.originate(net("10.1.0.0/24"), Attributes{});
  rib.originate(net("fd01::/48"), Attributes{});
  rib.settle();
  Listener listener(rib, 1);
  listener.drain();
  CHECK(listener.take_events() == std::vector<std::string>{"+10.1.0.0/24", "+fd01::/48", "eor v4", "eor v6"});
  rib.refresh(1, Afi::v6);
  rib.refresh(1, Afi::v6);
  rib.settle();
  listener.drain();
  if (p.enhanced_refresh) {
    CHECK(listener.take_events() == std::vector<std::string>{"refresh 1 v6", "+fd01::/48", "refresh 2 v6"});
  } else {
    CHECK(listener.take_events() == std::vector<std::string>{"+fd01::/48"});
  }
}

TEST_CASE("A refresh is of this moment, though an older dump is still being read by another") {
  Rib rib(reflector());
  add_clients(rib, 1);
  rib.receive(0, reach(many(50), attributes(kHop)));
  rib.settle();
  RibPeer p = peer(PeerRole::reflector_client, 1);
  p.enhanced_refresh = true;
  rib.add_peer(1, p);
  rib.add_peer(2, peer(PeerRole::reflector_client, 2));
  rib.settle();
  CHECK(rib.groups() == 1);
  Listener listener(rib, 1), reading(rib, 2);
  listener.drain();
  reading.read(10);
  rib.receive(0, unreach(many(50)));
  rib.receive(0, reach({net("10.9.0.0/24")}, attributes(kHop)));
  rib.settle();
  listener.drain();
  listener.take_events();
  rib.refresh(1, Afi::v4);
  rib.settle();
  listener.drain();
  CHECK(listener.take_events() == std::vector<std::string>{"refresh 1 v4", "+10.9.0.0/24", "refresh 2 v4"});
  reading.drain();
  CHECK(reading.table == listener.table);
}

TEST_CASE("A flood of refreshes by a peer that does not read queues one answer") {
  Rib rib(reflector());
  add_clients(rib, 2);
  rib.receive(0, reach(many(2000), attributes(kHop)));
  rib.settle();
  size_t most = 0;
  for (int i = 0; i < 100; ++i) {
    rib.refresh(1, Afi::v4);
    rib.settle();
    most = std::max(most, rib.backlog(1));
  }
  CHECK(most < 3 * 2000 * 5);
  Listener listener(rib, 1);
  listener.drain();
  CHECK(listener.table.size() == 2000);
}

TEST_CASE("A change of role, policy or next hop sends what differs and nothing else") {
  Rib rib(reflector());
  add_clients(rib, 3);
  rib.receive(0, reach(many(4), attributes(kHop)));
  rib.originate(net("10.9.0.0/24"), Attributes{});
  rib.settle();
  Listener listener(rib, 1), other(rib, 2);
  listener.drain();
  other.drain();
  listener.take_events();
  other.take_events();

  RibPeer p = peer(PeerRole::reflector_client, 1);
  p.export_key = "no 10.0.1.0/24, MED on 10.0.2.0/24";
  p.export_policy = [](const Prefix& prefix, Attributes& a) {
    if (prefix == net("10.0.2.0/24")) a.med = 5;
    return prefix != net("10.0.1.0/24");
  };
  rib.change_peer(1, p);
  rib.settle();
  listener.drain();
  CHECK(listener.take_events() == std::vector<std::string>{"-10.0.1.0/24", "+10.0.2.0/24"});
  CHECK(listener.table[net("10.0.2.0/24")].med == 5u);
  CHECK(rib.groups() == 2);

  rib.change_peer(1, peer(PeerRole::reflector_client, 1));
  rib.settle();
  listener.drain();
  CHECK(listener.take_events() == std::vector<std::string>{"+10.0.1.0/24", "+10.0.2.0/24"});
  CHECK(rib.groups() == 1);

  // The source becomes a plain peer: the clients keep its routes as they are.
  rib.change_peer(0, peer(PeerRole::ibgp, 0));
  rib.settle();
  listener.drain();
  CHECK(listener.take_events().empty());
  // And then so does this one: what is reflected is no longer for it, what is ours is.
  rib.change_peer(1, peer(PeerRole::ibgp, 1));
  rib.settle();
  listener.drain();
  CHECK(listener.take_events().size() == 4);
  CHECK(listener.table.size() == 1);
  other.drain();
  CHECK(other.take_events().empty());
}

TEST_CASE("From mesh to reflector: sessions live on, and no route is withdrawn") {
  RibSettings mesh = reflector();
  mesh.cluster_id = 0;
  Rib rib(mesh);
  for (PeerId id = 0; id < 3; ++id) rib.add_peer(id, peer(PeerRole::ibgp, id));
  rib.receive(0, reach(many(2), attributes(kHop)));
  rib.originate(net("10.9.0.0/24"), Attributes{});
  rib.settle();
  Listener listener(rib, 1);
  listener.drain();
  CHECK(listener.table.size() == 1);
  listener.take_events();
  swallow(rib, 0);
  swallow(rib, 2);
  rib.set_settings(reflector());
  for (PeerId id = 0; id < 3; ++id) rib.change_peer(id, peer(PeerRole::reflector_client, id));
  rib.settle();
  listener.drain();
  CHECK_THAT(listener.take_events(),
             Catch::Matchers::UnorderedEquals(std::vector<std::string>{"+10.0.0.0/24", "+10.0.1.0/24"}));
  CHECK(rib.groups() == 1);
}

TEST_CASE("A peer changes groups while it is slow: nothing is lost on the way") {
  RibSettings settings = reflector();
  settings.backlog_limit = GENERATE(2000, 1 << 20);
  Rib rib(settings);
  add_clients(rib, 3);
  Listener slow(rib, 1), fast(rib, 2);
  slow.drain();
  rib.receive(0, reach(many(1500), attributes(kHop)));
  rib.settle();
  slow.read(100);
  RibPeer p = peer(PeerRole::reflector_client, 1);
  p.export_key = "odd";
  p.export_policy = [](const Prefix& prefix, Attributes&) { return (prefix.addr().data()[2] & 1) != 0; };
  rib.change_peer(1, p);
  rib.settle();
  slow.read(333);
  rib.receive(0, unreach(many(100)));
  rib.receive(0, reach(many(100, 3000), attributes(kHop, 7)));
  rib.settle();
  fast.drain();
  slow.drain();
  CHECK(slow.table.size() == 750);
  rib.change_peer(1, peer(PeerRole::reflector_client, 1));
  rib.settle();
  slow.drain();
  CHECK(slow.table == fast.table);
}

TEST_CASE("A table of many prefixes that come and go is found, and emptied again") {
  Rib rib(reflector());
  add_clients(rib, 1);
  for (uint32_t round = 0; round < 3; ++round) {
    rib.receive(0, reach(many(20000, round * 7000), attributes(kHop)));
    rib.settle();
    rib.take_changes();
    CHECK(rib.prefixes() == 20000);
    CHECK(rib.routes(many(1, round * 7000 + 19999)[0]).size() == 1);
    rib.receive(0, unreach(many(20000, round * 7000)));
    rib.settle();
    rib.take_changes();
    CHECK(rib.prefixes() == 0);
  }
}
