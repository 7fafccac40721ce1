#include "bgp/attributes.h"

#include <catch2/catch.hpp>
#include <unordered_set>

#include "tests/unit/bgp/wire_bytes.h"

using namespace knet;
using namespace knet::bgp;

namespace {
using Type = AsSegment::Type;
}

TEST_CASE("a path's length, its neighbour, who is in it") {
  Attributes a;
  CHECK(a.path_length() == 0);
  CHECK(a.neighbor_as() == 0);
  a.as_path = {{Type::confed_sequence, {64600, 64601}},
               {Type::sequence, {65001, 65002, 65001}},
               {Type::set, {1, 2, 3}},
               {Type::confed_set, {7}}};
  CHECK(a.path_length() == 4);
  CHECK(a.neighbor_as() == 65001);
  CHECK(a.path_has(65002));
  CHECK(a.path_has(3));
  CHECK(a.path_has(64601));
  CHECK_FALSE(a.path_has(65003));
  a.as_path = {{Type::set, {1, 2}}, {Type::sequence, {3}}};
  CHECK(a.neighbor_as() == 0);
}

TEST_CASE("equal sets are one, and go when nobody holds them") {
  AttributeTable table;
  Attributes a;
  a.communities = {1, 2};
  a.next_hop = *IpAddr::parse("10.0.0.1");
  AttrRef first = table.intern(a), second = table.intern(a);
  CHECK(first == second);
  CHECK(*first == a);
  CHECK(table.size() == 1);
  a.med = 0;  // not the same as none
  AttrRef third = table.intern(a);
  CHECK(third != first);
  CHECK(table.size() == 2);
  first.reset();
  CHECK(table.size() == 2);
  second.reset();
  CHECK(table.size() == 1);
  third.reset();
  CHECK(table.size() == 0);
  CHECK(table.intern(a)->med == 0u);  // held by nobody at the end of this line
  CHECK(table.size() == 0);
}

TEST_CASE("every field makes a difference") {
  AttributeTable table;
  const IpAddr v4 = *IpAddr::parse("10.0.0.1"), v6 = *IpAddr::parse("fe80::1");
  std::vector<Attributes> sets(1);
  const auto with = [&](auto change) {
    Attributes a;
    change(a);
    sets.push_back(a);
  };
  with([](auto& a) { a.origin = OriginCode::egp; });
  with([](auto& a) { a.as_path = {{Type::sequence, {1, 2}}}; });
  with([](auto& a) { a.as_path = {{Type::set, {1, 2}}}; });
  with([](auto& a) { a.as_path = {{Type::sequence, {1}}, {Type::sequence, {2}}}; });
  with([&](auto& a) { a.next_hop = v4; });
  with([&](auto& a) { a.link_local = v6; });
  with([&](auto& a) { a.next_hop = v6; });
  with([](auto& a) { a.med = 0; });
  with([](auto& a) { a.local_pref = 0; });
  with([](auto& a) { a.atomic_aggregate = true; });
  with([](auto& a) { a.aggregator = Aggregator{}; });
  with([](auto& a) { a.communities = {5}; });
  with([](auto& a) { a.large_communities = {{5, 0, 0}}; });
  with([](auto& a) { a.extended_communities = {{5, 0, 0, 0, 0, 0, 0, 0}}; });
  with([](auto& a) { a.originator_id = 0; });
  with([](auto& a) { a.cluster_list = {5}; });
  with([](auto& a) { a.unknown = {{0xe0, 99, {}}}; });
  with([](auto& a) { a.unknown = {{0xe0, 98, {}}}; });
  with([](auto& a) { a.unknown = {{0xc0, 99, {}}}; });
  std::vector<AttrRef> held;
  for (const Attributes& a : sets) held.push_back(table.intern(a));
  CHECK(table.size() == sets.size());
  for (size_t i = 0; i < sets.size(); ++i) CHECK(table.intern(sets[i]) == held[i]);
}

TEST_CASE("sets outlive the table") {
  auto table = std::make_unique<AttributeTable>();
  Attributes a;
  a.med = 7;
  AttrRef held = table->intern(a);
  table.reset();
  CHECK(held->med == 7u);
  held.reset();
}

TEST_CASE("many sets come and go; those that are held stay found") {
  AttributeTable table;
  test::Dice dice(5);
  const SessionTraits traits;
  std::vector<Attributes> values;
  std::vector<AttrRef> held;
  for (int i = 0; i < 2000; ++i) {
    values.push_back(dice.attributes(traits, dice.often()));
    held.push_back(table.intern(values.back()));
  }
  for (size_t i = 0; i < held.size(); ++i) {
    if (table.intern(values[i]) != held[i]) FAIL("set " << i);
  }
  std::unordered_set<const Attributes*> alive;
  for (size_t i = 0; i < held.size(); ++i) {
    if (dice.often()) held[i].reset();
  }
  for (const AttrRef& ref : held) {
    if (ref) alive.insert(ref.get());
  }
  CHECK(table.size() == alive.size());
}
