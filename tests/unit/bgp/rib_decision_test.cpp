// The decision process step by step (RFC 4271 9.1.2.2, RFC 4456 section 9, RFC 9494 4.3), and what a route becomes on
// its way to a peer.
#include "bgp/rib_decision.h"

#include <algorithm>

#include "tests/unit/bgp/rib_world.h"

using namespace knet;
using namespace knet::bgp;

namespace {

struct Entry {
  Attributes a = attributes(ip("172.16.0.9"));
  bool local = false, ebgp = false;
  RouterId id = 10;
  const char* address = "172.16.0.10";
  std::optional<uint32_t> cost = 5;
  Loss loss = Loss::none;

  Candidate candidate() const {
    Candidate c;
    c.attributes = &a;
    c.local = local;
    c.ebgp = ebgp;
    c.peer_id = id;
    c.peer_address = ip(address);
    c.cost = cost;
    c.loss = loss;
    return c;
  }
};

/// Both orders: the winner is the same.
void wins(const Entry& better, const Entry& worse, Loss why) {
  std::vector<Candidate> forth{better.candidate(), worse.candidate()};
  CHECK(decide(forth, 1) == 0);
  CHECK(forth[0].loss == Loss::none);
  CHECK(forth[1].loss == why);
  std::vector<Candidate> back{worse.candidate(), better.candidate()};
  CHECK(decide(back, 1) == 1);
  CHECK(back[0].loss == why);
}

template <class Change>
Entry with(Change change) {
  Entry entry;
  change(entry);
  return entry;
}

std::vector<AsSegment> path(std::vector<Asn> asns) { return {{AsSegment::Type::sequence, std::move(asns)}}; }

}  // namespace

TEST_CASE("Each step of the decision process, the earlier before all later ones") {
  // Each row: the change that makes a route lose at that step. A route that wins a step may lose all later ones.
  struct Row {
    Loss loss;
    std::function<void(Entry&)> worsen;
  };
  const std::vector<Row> rows = {
      {Loss::stale, [](Entry& e) { e.a.communities = {kLlgrStale}; }},  // RFC 9494 4.3
      {Loss::local_pref, [](Entry& e) { e.a.local_pref = 99; }},        // RFC 4271 9.1.1
      {Loss::path_length,
       [](Entry& e) {
         e.a.as_path = path({65001, 65002});
       }},                                                                    // 9.1.2.2 a
      {Loss::origin, [](Entry& e) { e.a.origin = OriginCode::incomplete; }},  // b
      {Loss::med, [](Entry& e) { e.a.med = 50; }},                            // c
      {Loss::ebgp, [](Entry& e) { e.ebgp = false; }},                         // d
      {Loss::metric, [](Entry& e) { e.cost = 6; }},                           // e
      {Loss::originator, [](Entry& e) { e.id = 11; }},                        // f
      {Loss::cluster_list,
       [](Entry& e) {
         e.a.cluster_list = {1, 2};
       }},                                                           // RFC 4456 section 9
      {Loss::address, [](Entry& e) { e.address = "172.16.0.11"; }},  // g
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    Entry better, worse;
    better.ebgp = worse.ebgp = true;
    better.a.as_path = worse.a.as_path = path({65001});
    rows[i].worsen(worse);
    for (size_t later = i + 1; later < rows.size(); ++later) {
      if (rows[later].loss == Loss::path_length) {
        better.a.as_path = path({65001, 65002});
      } else {
        rows[later].worsen(better);
      }
    }
    INFO("step " << to_string(rows[i].loss));
    wins(better, worse, rows[i].loss);
  }
}

TEST_CASE("Our own route wins before anything else, and needs no next hop") {
  wins(with([](Entry& e) {
         e.local = true;
         e.a.next_hop = {};
         e.a.local_pref = 1;
       }),
       Entry{}, Loss::own);
}

TEST_CASE("Refused, looped and unreachable routes take no part; with none left there is no best") {
  wins(with([](Entry& e) { e.a.local_pref = 1; }), with([](Entry& e) { e.loss = Loss::refused; }), Loss::refused);
  wins(Entry{}, with([](Entry& e) {
         e.cost.reset();
         e.a.local_pref = 500;
       }),
       Loss::unreachable);
  wins(Entry{}, with([](Entry& e) { e.a.next_hop = {}; }), Loss::unreachable);
  const Entry looped = with([](Entry& e) { e.loss = Loss::loop; });
  std::vector<Candidate> none{looped.candidate()};
  CHECK(decide(none, 1) == -1);
  CHECK(decide({}, 1) == -1);
}

TEST_CASE("A missing LOCAL_PREF is 100, a missing MED 0") {
  wins(with([](Entry& e) { e.a.local_pref.reset(); }), with([](Entry& e) { e.a.local_pref = 99; }), Loss::local_pref);
  wins(with([](Entry& e) { e.a.local_pref = 101; }), with([](Entry& e) { e.a.local_pref.reset(); }), Loss::local_pref);
  wins(with([](Entry& e) { e.id = 12; }), with([](Entry& e) { e.a.med = 1; }), Loss::med);
}

TEST_CASE("A set counts as one hop, and ORIGINATOR_ID stands for the router") {
  const Entry set = with([](Entry& e) {
    e.a.as_path = {{AsSegment::Type::sequence, {1}}, {AsSegment::Type::set, {2, 3, 4}}};
    e.id = 1;
  });
  wins(set, with([](Entry& e) { e.a.as_path = path({1, 2, 3}); }), Loss::path_length);
  wins(with([](Entry& e) { e.id = 50, e.a.originator_id = 5; }), with([](Entry& e) { e.id = 6; }), Loss::originator);
}

TEST_CASE("MEDs are compared within a neighbouring AS only, whatever the order (RFC 4271 9.1.2.2 c)") {
  // The classic: a and b of AS 1, c of AS 2. Pairwise in sequence the winner would depend on the order.
  const Entry a = with([](Entry& e) { e.a.as_path = path({1, 7}), e.a.med = 10, e.id = 1; });
  const Entry b = with([](Entry& e) { e.a.as_path = path({1, 7}), e.a.med = 5, e.id = 3; });
  const Entry c = with([](Entry& e) { e.a.as_path = path({2, 7}), e.a.med = 100, e.id = 2; });
  std::vector<const Entry*> order{&a, &b, &c};
  do {
    std::vector<Candidate> candidates;
    for (const Entry* entry : order) candidates.push_back(entry->candidate());
    const int best = decide(candidates, 1);
    REQUIRE(best >= 0);
    CHECK(order[static_cast<size_t>(best)] == &c);
    for (size_t i = 0; i < 3; ++i) {
      if (order[i] == &a) CHECK(candidates[i].loss == Loss::med);
      if (order[i] == &b) CHECK(candidates[i].loss == Loss::originator);
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("Equal up to the cost of the next hop means multipath, each next hop once, at most so many") {
  std::vector<Entry> entries(5);
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].id = static_cast<RouterId>(20 - i);
    entries[i].a.next_hop = ip("172.16.1.0").plus(i);
  }
  entries[3].a.next_hop = entries[4].a.next_hop;  // the same as the best's
  entries[0].cost = 6;
  const auto run = [&](int paths) {
    std::vector<Candidate> candidates;
    for (const Entry& entry : entries) candidates.push_back(entry.candidate());
    CHECK(decide(candidates, paths) == 4);
    std::vector<size_t> out;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i].multipath) out.push_back(i);
    }
    return out;
  };
  CHECK(run(1).empty());
  CHECK(run(2) == std::vector<size_t>{2});  // the lower router id of the two
  CHECK(run(8) == std::vector<size_t>{1, 2});
}

namespace {

std::optional<Attributes> sent(const Attributes& in, PeerRole from, const RibPeer& to,
                               RibSettings settings = reflector(), bool local = false, Afi afi = Afi::v4) {
  return export_route(in, afi, {local, from, 77}, to, settings);
}

}  // namespace

TEST_CASE("Who is told of whose routes (RFC 4271 9.2, RFC 4456 section 6)") {
  const Attributes a = attributes(ip("172.16.0.9"));
  const PeerRole roles[] = {PeerRole::ebgp, PeerRole::ibgp, PeerRole::reflector_client};
  const bool reflecting[3][3] = {{true, true, true}, {true, false, true}, {true, true, true}};
  const bool plain[3][3] = {{true, true, true}, {true, false, false}, {true, false, false}};
  RibSettings no_reflector = reflector();
  no_reflector.cluster_id = 0;
  for (int from = 0; from < 3; ++from) {
    for (int to = 0; to < 3; ++to) {
      INFO(from << " to " << to);
      CHECK(sent(a, roles[from], peer(roles[to], 1)).has_value() == reflecting[from][to]);
      CHECK(sent(a, roles[from], peer(roles[to], 1), no_reflector).has_value() == plain[from][to]);
    }
    CHECK(sent(a, roles[from], peer(roles[from], 1), no_reflector, true).has_value());
  }
}

TEST_CASE("Reflection keeps all but adds originator and cluster (RFC 4456 sections 8 and 10)") {
  Attributes a = attributes(ip("172.16.0.9"), 2147482623);
  a.med = 5;
  RibPeer to = peer(PeerRole::reflector_client, 1);
  to.next_hop_self = true;  // not for what is reflected
  const auto out = sent(a, PeerRole::reflector_client, to);
  REQUIRE(out);
  Attributes expected = a;
  expected.originator_id = 77;
  expected.cluster_list = {0x01010101};
  CHECK(*out == expected);

  a.originator_id = 5;
  a.cluster_list = {9};
  const auto again = sent(a, PeerRole::ibgp, to);
  REQUIRE(again);
  CHECK(again->originator_id == 5u);
  CHECK(again->cluster_list == std::vector<uint32_t>{0x01010101, 9});
}

TEST_CASE("Towards eBGP: our AS, our address, nothing internal (RFC 4271 5.1)") {
  Attributes a = attributes(ip("172.16.0.9"), 300);
  a.as_path = path({65001});
  a.med = 5;
  a.originator_id = 5;
  a.cluster_list = {9};
  RibPeer to = peer(PeerRole::ebgp, 1);
  const auto out = sent(a, PeerRole::ibgp, to);
  REQUIRE(out);
  Attributes expected;
  expected.as_path = path({64512, 65001});
  expected.next_hop = ip("172.31.0.1");
  CHECK(*out == expected);

  SECTION("what another node of our AS originates is better reached by itself") {
    a.as_path = {};
    CHECK(sent(a, PeerRole::ibgp, to)->med == 100u);
    a.med.reset();
    CHECK(sent(a, PeerRole::reflector_client, to)->med == 100u);
    CHECK_FALSE(sent(a, PeerRole::ibgp, to, reflector(), true)->med.has_value());
  }
  SECTION("our own MED is told") {
    const auto ours = sent(a, PeerRole::ibgp, to, reflector(), true);
    CHECK(ours->med == 5u);
  }
  SECTION("next hop unchanged, and a third party's on the shared link (5.1.3)") {
    to.link = net("172.16.0.0/24");
    CHECK(sent(a, PeerRole::ibgp, to)->next_hop == ip("172.16.0.9"));
    to.link = net("172.16.1.0/24");
    CHECK(sent(a, PeerRole::ibgp, to)->next_hop == ip("172.31.0.1"));
    to.next_hop_unchanged = true;
    CHECK(sent(a, PeerRole::ibgp, to)->next_hop == ip("172.16.0.9"));
  }
  SECTION("a path begins anew where its first segment is a set or full") {
    a.as_path = {{AsSegment::Type::set, {1, 2}}};
    CHECK(sent(a, PeerRole::ibgp, to)->as_path.size() == 2);
    a.as_path = path(std::vector<Asn>(255, 1));
    const auto longer = sent(a, PeerRole::ibgp, to);
    CHECK(longer->as_path.size() == 2);
    CHECK(longer->as_path[0].asns == std::vector<Asn>{64512});
  }
}

TEST_CASE("Next hop self towards iBGP for routes from outside, and for ours without one") {
  RibPeer to = peer(PeerRole::ibgp, 1);
  Attributes a = external(ip("192.0.2.1"), {65001});
  CHECK(sent(a, PeerRole::ebgp, to)->next_hop == ip("192.0.2.1"));
  CHECK(sent(a, PeerRole::ebgp, to)->local_pref == 100u);
  to.next_hop_self = true;
  CHECK(sent(a, PeerRole::ebgp, to)->next_hop == ip("172.31.0.1"));
  CHECK(sent(Attributes{}, PeerRole::ibgp, to, reflector(), true)->next_hop == ip("172.31.0.1"));
}

TEST_CASE("A link-local next hop stays on its link (RFC 2545 section 3)") {
  RibPeer to = peer(PeerRole::ibgp, 1);
  to.other_local = ip("fd00::1");
  to.traits.extended_next_hop = true;
  Attributes both = attributes(ip("fd00::9"));
  both.link_local = ip("fe80::9");
  CHECK(sent(both, PeerRole::ebgp, to, reflector(), false, Afi::v6)->next_hop == ip("fd00::9"));
  CHECK_FALSE(sent(both, PeerRole::ebgp, to, reflector(), false, Afi::v6)->link_local);
  to.link = net("fd00::/64");
  CHECK(sent(both, PeerRole::ebgp, to, reflector(), false, Afi::v6)->link_local == ip("fe80::9"));
  const Attributes alone = attributes(ip("fe80::9"));
  CHECK(sent(alone, PeerRole::ebgp, to, reflector(), false, Afi::v6)->next_hop == ip("fd00::1"));
  CHECK_FALSE(sent(alone, PeerRole::reflector_client, to, reflector(), false, Afi::v6));
}

TEST_CASE("Non-transitive extended communities end at the border (RFC 4360 section 6)") {
  Attributes a = attributes(ip("172.16.0.9"));
  a.extended_communities = {{0x00, 2, 0, 1, 0, 0, 0, 1}, {0x40, 4, 0, 1, 0, 0, 0, 2}};
  CHECK(sent(a, PeerRole::reflector_client, peer(PeerRole::ebgp, 1))->extended_communities.size() == 1);
  CHECK(sent(a, PeerRole::reflector_client, peer(PeerRole::reflector_client, 1))->extended_communities.size() == 2);
}

TEST_CASE("A next hop of the other family only where it can be carried (RFC 8950, RFC 2545)") {
  RibPeer to = peer(PeerRole::ibgp, 1);
  CHECK_FALSE(sent(Attributes{}, PeerRole::ibgp, to, reflector(), true, Afi::v6));
  to.other_local = ip("fd00::1");
  CHECK(sent(Attributes{}, PeerRole::ibgp, to, reflector(), true, Afi::v6)->next_hop == ip("fd00::1"));
  const Attributes six = attributes(ip("fd00::9"));
  CHECK_FALSE(sent(six, PeerRole::reflector_client, to));
  to.traits.extended_next_hop = true;
  CHECK(sent(six, PeerRole::reflector_client, to)->next_hop == ip("fd00::9"));
}

TEST_CASE("Well-known communities (RFC 1997)") {
  Attributes a = attributes(ip("172.16.0.9"));
  const RibPeer inside = peer(PeerRole::reflector_client, 1), outside = peer(PeerRole::ebgp, 1);
  for (const uint32_t community : {kNoExport, kNoExportSubconfed}) {
    a.communities = {community};
    CHECK(sent(a, PeerRole::ibgp, inside));
    CHECK_FALSE(sent(a, PeerRole::ibgp, outside));
  }
  a.communities = {kNoAdvertise};
  CHECK_FALSE(sent(a, PeerRole::ibgp, inside));
  CHECK_FALSE(sent(a, PeerRole::ibgp, outside));
}

TEST_CASE(
    "Long-lived stale routes go as they are to those who know them, crippled to others of our AS (RFC 9494 4.6)") {
  Attributes a = attributes(ip("172.16.0.9"));
  a.communities = {kLlgrStale};
  RibPeer inside = peer(PeerRole::reflector_client, 1), outside = peer(PeerRole::ebgp, 1);
  CHECK_FALSE(sent(a, PeerRole::ibgp, outside));
  const auto out = sent(a, PeerRole::ibgp, inside);
  CHECK(out->local_pref == 0u);
  CHECK(has_community(*out, kNoExport));
  inside.long_lived = outside.long_lived = true;
  CHECK(sent(a, PeerRole::ibgp, outside));
  CHECK(sent(a, PeerRole::ibgp, inside)->local_pref == 100u);
}

TEST_CASE("What has been here is a loop (RFC 4271 9.1.2, RFC 4456 section 8)") {
  const RibSettings settings = reflector();
  RibPeer from = peer(PeerRole::reflector_client, 1);
  Attributes a = attributes(ip("172.16.0.9"));
  CHECK_FALSE(is_loop(a, from, settings));
  a.originator_id = 0x01010102;
  a.cluster_list = {1, 2};
  CHECK_FALSE(is_loop(a, from, settings));
  SECTION("our router id") {
    a.originator_id = settings.id;
    CHECK(is_loop(a, from, settings));
  }
  SECTION("our cluster, not only as the last") {
    a.cluster_list = {1, settings.cluster_id, 2};
    CHECK(is_loop(a, from, settings));
  }
  SECTION("our AS, as often as is allowed") {
    a.as_path = path({65001, 64512, 64512});
    CHECK(is_loop(a, from, settings));
    from.allowed_own_as = 1;
    CHECK(is_loop(a, from, settings));
    from.allowed_own_as = 2;
    CHECK_FALSE(is_loop(a, from, settings));
  }
  SECTION("our address") {
    a.next_hop = from.local;
    CHECK(is_loop(a, from, settings));
  }
}
