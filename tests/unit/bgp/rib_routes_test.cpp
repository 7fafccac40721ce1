// What the RIB keeps of what peers send: reflection with loops and hierarchy, graceful restart (RFC 4724), long-lived
// (RFC 9494), refreshes (RFC 7313), limits, refusals, ECMP.
#include "tests/unit/bgp/rib_world.h"

using namespace knet;
using namespace knet::bgp;

namespace {

const Prefix kNet = net("10.244.1.0/24");
const IpAddr kHop = ip("172.16.0.1");

Loss loss_of(const Rib& rib, const Prefix& prefix, PeerId from) {
  for (const RouteView& view : rib.routes(prefix)) {
    if (view.peer == from) return view.loss;
  }
  FAIL("no such route");
  return Loss::none;
}

/// Hands everything that the one says to this peer to the other, as that peer.
void relay(Rib& from, PeerId to, Rib& into, PeerId as) {
  std::vector<uint8_t> bytes;
  for (;;) {
    size_t got = 0;
    for (const Bytes& chunk : from.pending(to, 4096)) {
      bytes.insert(bytes.end(), chunk.begin(), chunk.end());
      got += chunk.size();
    }
    if (got == 0) break;
    from.consume(to, got);
  }
  SessionTraits traits;
  traits.local_as = 64512;
  for (Bytes left(bytes); !left.empty();) {
    const size_t size = std::get<size_t>(message_length(left));
    into.receive(as, std::get<Update>(decode(left.first(size), traits)));
    left = left.subspan(size);
  }
}

}  // namespace

TEST_CASE("A reflected route does not go round between two reflectors of one cluster, nor of two") {
  const bool same_cluster = GENERATE(true, false);
  RibSettings one = reflector(), two = reflector();
  two.id = 0x02020202;
  two.cluster_id = same_cluster ? one.cluster_id : two.id;
  Rib a(one), b(two);
  // The client has sessions with both; the reflectors are plain peers of each other.
  RibPeer other_b = peer(PeerRole::ibgp, 2), other_a = peer(PeerRole::ibgp, 1);
  other_b.id = two.id;
  other_a.id = one.id;
  a.add_peer(1, peer(PeerRole::reflector_client, 1));
  b.add_peer(1, peer(PeerRole::reflector_client, 1));
  a.add_peer(9, other_b);
  b.add_peer(9, other_a);
  a.receive(1, reach({kNet}, attributes(kHop)));
  b.receive(1, reach({kNet}, attributes(kHop)));
  for (int i = 0; i < 4; ++i) {
    a.settle();
    b.settle();
    relay(a, 9, b, 9);
    relay(b, 9, a, 9);
  }
  a.settle();
  CHECK(a.routes(kNet).at(0).peer == 1);
  if (same_cluster) {
    CHECK(loss_of(a, kNet, 9) == Loss::loop);
  } else {
    CHECK(loss_of(a, kNet, 9) == Loss::cluster_list);
  }
  // The client goes: nothing of it stays, though each was told of it by the other.
  a.remove_peer(1);
  b.remove_peer(1);
  for (int i = 0; i < 4; ++i) {
    a.settle();
    b.settle();
    relay(a, 9, b, 9);
    relay(b, 9, a, 9);
  }
  a.settle();
  b.settle();
  CHECK(a.routes().empty());
  CHECK(b.routes().empty());
}

TEST_CASE("Hierarchy: clients of a lower reflector reach those of another through the upper, once around") {
  RibSettings top = reflector(), left = reflector(), right = reflector();
  left.id = left.cluster_id = 0x02020202;
  right.id = right.cluster_id = 0x03030303;
  Rib t(top), l(left), r(right);
  RibPeer up = peer(PeerRole::ibgp, 100), lower_left = peer(PeerRole::reflector_client, 101),
          lower_right = peer(PeerRole::reflector_client, 102);
  up.id = top.id;
  lower_left.id = left.id;
  lower_right.id = right.id;
  l.add_peer(1, peer(PeerRole::reflector_client, 1));
  r.add_peer(1, peer(PeerRole::reflector_client, 2));
  l.add_peer(0, up);
  r.add_peer(0, up);
  t.add_peer(1, lower_left);
  t.add_peer(2, lower_right);
  l.receive(1, reach({kNet}, attributes(kHop)));
  l.settle();
  relay(l, 0, t, 1);
  t.settle();
  relay(t, 2, r, 0);
  r.settle();
  Listener client(r, 1);
  client.drain();
  REQUIRE(client.table.contains(kNet));
  CHECK(client.table[kNet].originator_id == 0x0a000001u);
  CHECK(client.table[kNet].cluster_list == std::vector<uint32_t>{right.id, top.id, left.id});
  CHECK(client.table[kNet].next_hop == kHop);
  // Back to where it came from: the upper skips its source, and were it told, the lower would know its cluster.
  CHECK(t.advertised(1).empty());
  l.receive(0, reach({kNet}, client.table[kNet]));
  l.settle();
  CHECK(loss_of(l, kNet, 0) == Loss::loop);
}

TEST_CASE("A restarting peer's routes stay, marked stale, until it has sent all again (RFC 4724 4.2)") {
  Rib rib(reflector());
  rib.add_peer(1, peer(PeerRole::reflector_client, 1));
  rib.add_peer(2, peer(PeerRole::reflector_client, 2));
  const Prefix other = net("10.244.2.0/24");
  rib.receive(1, reach({kNet, other}, attributes(kHop)));
  rib.settle();
  Listener watcher(rib, 2);
  watcher.drain();
  watcher.take_events();

  rib.drop_session(1, true);
  rib.settle();
  watcher.drain();
  CHECK(watcher.take_events().empty());
  CHECK(rib.counts(1).stale == 2);
  CHECK(rib.routes(kNet).at(0).stale);
  CHECK(rib.routes(kNet).at(0).best);

  rib.add_peer(1, peer(PeerRole::reflector_client, 1));
  rib.receive(1, reach({kNet}, attributes(kHop)));
  rib.settle();
  watcher.drain();
  CHECK(watcher.take_events().empty());  // the same again is no news
  CHECK(rib.counts(1).stale == 1);
  SECTION("its end-of-RIB sweeps the rest, of that family") {
    rib.receive(1, end_of_rib(Afi::v6));
    rib.settle();
    CHECK(rib.counts(1).stale == 1);
    rib.receive(1, end_of_rib(Afi::v4));
    rib.settle();
    watcher.drain();
    CHECK(watcher.take_events() == std::vector<std::string>{"-" + other.str()});
  }
  SECTION("a second loss before that drops what was stale already") {
    rib.drop_session(1, true);
    rib.settle();
    watcher.drain();
    CHECK(watcher.take_events() == std::vector<std::string>{"-" + other.str()});
    CHECK(rib.counts(1).stale == 1);
  }
  SECTION("without graceful restart all goes at once") {
    rib.drop_session(1, false);
    rib.settle();
    watcher.drain();
    CHECK(watcher.table.empty());
  }
}

TEST_CASE("Long-lived stale routes lose to any other, but are kept; NO_LLGR ones go (RFC 9494 4.2, 4.3)") {
  Rib rib(reflector());
  for (const PeerId id : {1, 2}) rib.add_peer(id, peer(PeerRole::reflector_client, id));
  RibPeer knows = peer(PeerRole::reflector_client, 3);
  knows.long_lived = true;
  rib.add_peer(3, knows);
  const Prefix alone = net("10.244.2.0/24"), refusing = net("10.244.3.0/24");
  rib.receive(1, reach({kNet, alone}, attributes(kHop, 500)));
  Attributes no = attributes(kHop);
  no.communities = {kNoLlgr};
  rib.receive(1, reach({refusing}, no));
  rib.receive(2, reach({kNet}, attributes(ip("172.16.0.2"), 1)));
  rib.settle();
  Listener watcher(rib, 3);
  watcher.drain();
  rib.drop_session(1, true);
  rib.settle();
  CHECK(rib.routes(kNet).at(0).peer == 1);
  rib.mark_llgr(1, Afi::v4);
  rib.settle();
  watcher.drain();
  CHECK(rib.routes(kNet).at(0).peer == 2);
  CHECK(loss_of(rib, kNet, 1) == Loss::stale);
  CHECK(watcher.table[kNet].next_hop == ip("172.16.0.2"));
  CHECK(watcher.table[alone].communities == std::vector<uint32_t>{kLlgrStale});
  CHECK_FALSE(watcher.table.contains(refusing));
  SECTION("it comes back: the route is as good as before") {
    rib.add_peer(1, peer(PeerRole::reflector_client, 1));
    rib.receive(1, reach({kNet, alone}, attributes(kHop, 500)));
    rib.receive(1, end_of_rib(Afi::v4));
    rib.settle();
    watcher.drain();
    CHECK(rib.routes(kNet).at(0).peer == 1);
    CHECK(watcher.table[alone].communities.empty());
  }
  SECTION("it comes back and is lost again: long-lived routes wait on") {
    rib.add_peer(1, peer(PeerRole::reflector_client, 1));
    rib.drop_session(1, true);
    rib.settle();
    CHECK(rib.counts(1).stale == 2);
    rib.sweep(1, Afi::v4);
    rib.settle();
    CHECK(rib.counts(1).received == 0);
  }
}

TEST_CASE("Nothing is decided or told while selection is deferred (RFC 4724 4.1)") {
  Rib rib(reflector());
  rib.defer_selection(true);
  rib.add_peer(1, peer(PeerRole::reflector_client, 1));
  rib.add_peer(2, peer(PeerRole::reflector_client, 2));
  rib.receive(1, reach({kNet}, attributes(kHop)));
  rib.settle();
  Listener watcher(rib, 2);
  watcher.drain();
  CHECK(watcher.messages == 0);
  CHECK(rib.take_changes().empty());
  rib.defer_selection(false);
  rib.settle();
  watcher.drain();
  CHECK(watcher.take_events() == std::vector<std::string>{"+" + kNet.str(), "eor v4"});
  CHECK(rib.take_changes().size() == 1);
}

TEST_CASE("One refresh begun after the other lets nobody beyond twice his prefix limit") {
  Rib rib(reflector());
  RibPeer limited = peer(PeerRole::ibgp, 1);
  limited.prefix_limit = 2;
  rib.add_peer(1, limited);
  CHECK_FALSE(rib.receive(1, reach({net("10.244.1.0/24"), net("10.244.2.0/24")}, attributes(kHop))).over_limit);
  rib.mark_stale(1, Afi::v4);
  CHECK_FALSE(rib.receive(1, reach({net("10.244.3.0/24"), net("10.244.4.0/24")}, attributes(kHop))).over_limit);
  rib.mark_stale(1, Afi::v4);
  CHECK(rib.receive(1, reach({net("10.244.5.0/24")}, attributes(kHop))).over_limit);
  CHECK(rib.counts(1).received == 4);
  CHECK_FALSE(rib.receive(1, reach({net("10.244.1.0/24")}, attributes(kHop))).over_limit);
}

TEST_CASE("A peer's enhanced refresh: what it does not send again goes (RFC 7313)") {
  Rib rib(reflector());
  rib.add_peer(1, peer(PeerRole::ibgp, 1));
  rib.receive(1, reach({kNet, net("10.244.2.0/24")}, attributes(kHop)));
  rib.settle();
  rib.mark_stale(1, Afi::v4);
  rib.receive(1, reach({kNet}, attributes(kHop)));
  rib.sweep(1, Afi::v4);
  rib.settle();
  CHECK(rib.routes().size() == 1);
}

TEST_CASE("A route whose attributes no longer fit into a message is withdrawn, not left as it was") {
  Rib rib(reflector());
  rib.add_peer(1, peer(PeerRole::reflector_client, 1));
  rib.add_peer(2, peer(PeerRole::reflector_client, 2));
  Listener listener(rib, 2);
  rib.receive(1, reach({kNet}, attributes(kHop)));
  rib.settle();
  listener.drain();
  REQUIRE(listener.table.contains(kNet));
  Attributes huge = attributes(kHop);
  for (int i = 0; i < 4; ++i) huge.as_path.push_back({AsSegment::Type::sequence, std::vector<Asn>(252, 65001)});
  std::vector<uint8_t> bytes;
  REQUIRE(encode_reach(Afi::v4, std::vector{kNet}, huge, {}, bytes) == 1);  // as the peer could send it
  huge.unknown.push_back({0xe0, 99, std::vector<uint8_t>(10, 1)});
  rib.receive(1, reach({kNet}, huge));
  rib.settle();
  listener.drain();
  CHECK_FALSE(listener.table.contains(kNet));
  rib.receive(1, reach({kNet}, attributes(kHop)));
  rib.settle();
  listener.drain();
  CHECK(listener.table.contains(kNet));
}

TEST_CASE("A session lost amid a refresh keeps what was not sent again yet; the next loss does not") {
  Rib rib(reflector());
  rib.add_peer(1, peer(PeerRole::ibgp, 1));
  rib.receive(1, reach({kNet, net("10.244.2.0/24")}, attributes(kHop)));
  rib.mark_stale(1, Afi::v4);
  rib.receive(1, reach({kNet}, attributes(kHop)));
  rib.drop_session(1, true);
  CHECK(rib.counts(1).received == 2);
  CHECK(rib.counts(1).stale == 2);
  rib.add_peer(1, peer(PeerRole::ibgp, 1));
  rib.drop_session(1, true);  // stale from the session before: gone (RFC 4724 4.2)
  CHECK(rib.counts(1).received == 0);
}

TEST_CASE("Beyond the prefix limit nothing is taken, and it is said; replacing is no growth") {
  Rib rib(reflector());
  RibPeer limited = peer(PeerRole::ibgp, 1);
  limited.prefix_limit = 2;
  rib.add_peer(1, limited);
  CHECK_FALSE(rib.receive(1, reach({kNet, net("10.244.2.0/24")}, attributes(kHop))).over_limit);
  CHECK_FALSE(rib.receive(1, reach({kNet}, attributes(kHop, 7))).over_limit);
  CHECK(rib.receive(1, reach({net("10.244.3.0/24")}, attributes(kHop))).over_limit);
  CHECK(rib.counts(1).received == 2);
  // After a restart other prefixes may come than before; the stale ones do not count.
  rib.drop_session(1, true);
  rib.add_peer(1, limited);
  CHECK_FALSE(rib.receive(1, reach({net("10.244.3.0/24"), net("10.244.4.0/24")}, attributes(kHop))).over_limit);
  CHECK(rib.receive(1, reach({kNet}, attributes(kHop))).over_limit);
}

TEST_CASE("Import policy refuses and changes; a change of it is applied to what is held") {
  Rib rib(reflector());
  RibPeer from = peer(PeerRole::ibgp, 1);
  from.import_policy = [](const Prefix& prefix, Attributes&) { return prefix == kNet; };
  rib.add_peer(1, from);
  const Prefix other = net("10.244.2.0/24");
  rib.receive(1, reach({kNet, other}, attributes(kHop)));
  rib.settle();
  CHECK(loss_of(rib, other, 1) == Loss::refused);
  CHECK(rib.counts(1).accepted == 1);
  from.import_policy = [](const Prefix&, Attributes& a) {
    a.local_pref = 250;
    return true;
  };
  rib.change_peer(1, from);
  rib.settle();
  CHECK(rib.counts(1).accepted == 2);
  CHECK(rib.routes(other).at(0).attributes->local_pref == 250u);
  CHECK(rib.routes(other).at(0).attributes == rib.routes(kNet).at(0).attributes);  // held once
}

TEST_CASE("A malformed UPDATE withdraws what it names (RFC 7606), and families that were not agreed on are ignored") {
  Rib rib(reflector());
  rib.add_peer(1, peer(PeerRole::ibgp, 1));
  rib.receive(1, reach({kNet}, attributes(kHop)));
  Update bad = reach({kNet}, attributes(kHop));
  bad.treat_as_withdraw = "ORIGIN is 7";
  rib.receive(1, bad);
  rib.receive(1, reach({net("fd00::/48")}, attributes(ip("fd00::1"))));
  rib.settle();
  CHECK(rib.prefixes() == 0);
}

TEST_CASE("From outside, LOCAL_PREF and reflection's attributes are not believed; graceful shutdown is (RFC 8326)") {
  Rib rib(reflector());
  rib.add_peer(1, peer(PeerRole::ebgp, 1));
  Attributes a = external(kHop, {65001});
  a.local_pref = 1000;
  a.originator_id = reflector().id;
  rib.receive(1, reach({kNet}, a));
  rib.settle();
  CHECK(rib.routes(kNet).at(0).best);
  CHECK_FALSE(rib.routes(kNet).at(0).attributes->local_pref);
  a.communities = {kGracefulShutdown};
  rib.receive(1, reach({kNet}, a));
  rib.settle();
  CHECK(rib.routes(kNet).at(0).attributes->local_pref == 0u);
}

TEST_CASE("ECMP: the kernel is told all next hops, and of each change of them") {
  RibSettings settings = reflector();
  settings.max_paths = 4;
  std::map<IpAddr, std::optional<uint32_t>> cost;
  Rib rib(settings, [&](const IpAddr& hop) { return cost.contains(hop) ? cost[hop] : 10; });
  for (PeerId id = 1; id <= 3; ++id) {
    rib.add_peer(id, peer(PeerRole::ibgp, id));
    rib.receive(id, reach({kNet}, attributes(kHop.plus(10 - id))));
  }
  rib.settle();
  auto changes = rib.take_changes();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].peer == 1);
  CHECK(changes[0].next_hops == std::vector<IpAddr>{kHop.plus(9), kHop.plus(7), kHop.plus(8)});
  rib.next_hops_changed();
  rib.settle();
  CHECK(rib.take_changes().empty());
  cost[kHop.plus(8)] = std::nullopt;
  rib.next_hops_changed();
  rib.settle();
  changes = rib.take_changes();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].next_hops == std::vector<IpAddr>{kHop.plus(9), kHop.plus(7)});
  CHECK(loss_of(rib, kNet, 2) == Loss::unreachable);
  for (PeerId id = 1; id <= 3; ++id) rib.remove_peer(id);
  rib.settle();
  changes = rib.take_changes();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].next_hops.empty());
  CHECK(rib.prefixes() == 0);
}

TEST_CASE("Routes are shown by prefix, the best first, also those that cover the one that is asked for") {
  Rib rib(reflector());
  rib.add_peer(1, peer(PeerRole::ibgp, 1));
  rib.add_peer(2, peer(PeerRole::ibgp, 2));
  rib.receive(1, reach({kNet, net("10.244.0.0/16"), net("10.0.0.0/8"), net("10.245.0.0/16")}, attributes(kHop)));
  rib.receive(2, reach({kNet}, attributes(kHop, 200)));
  rib.originate(net("0.0.0.0/0"), Attributes{});
  rib.settle();
  const auto views = rib.routes(net("10.244.1.0/24"));
  REQUIRE(views.size() == 5);
  CHECK(views[0].prefix == net("0.0.0.0/0"));
  CHECK(views[0].peer == kLocal);
  CHECK(views[3].peer == 2);
  CHECK(views[3].best);
  CHECK(views[4].loss == Loss::local_pref);
  CHECK(rib.routes().size() == 6);
  CHECK(rib.received(1).size() == 4);
  CHECK(rib.received(kLocal).size() == 1);
  CHECK(rib.counts(1).best == 3);
}
