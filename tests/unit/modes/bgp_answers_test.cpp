#include "modes/common/bgp_answers.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace knet;
using nlohmann::json;

TEST_CASE("communities and paths as people write them") {
  CHECK(format_community(64512u << 16 | 7) == "64512:7");
  CHECK(format_community(bgp::kNoExport) == "no-export");
  using Type = bgp::AsSegment::Type;
  CHECK(format_as_path({}) == "");
  CHECK(format_as_path({{Type::sequence, {65001, 65002}}, {Type::set, {1, 2}}}) == "65001 65002 {1 2}");
  CHECK(format_as_path({{Type::confed_sequence, {3}}, {Type::confed_set, {4}}}) == "(3) ({4})");
}

TEST_CASE("answer: peers") {
  bgp::PeerStatus peer;
  peer.name = "tor1";
  peer.type = "global";
  peer.address = *IpAddr::parse("10.0.0.1");
  peer.asn = 65001;
  peer.state = bgp::SessionState::established;
  peer.counts.received = 4;
  peer.families[0] = false;
  peer.families[1] = true;
  peer.last_error = "they say: \xff";  // a peer's own bytes
  BgpFacts facts{"n1", 64512, IpAddr::parse("192.168.77.1")->v4_value(), 0, true, {"0.0.0.0:179"}};
  const json answer = json::parse(format_peers_answer(facts, {"tcp 179 is taken"}, {peer}));
  CHECK(answer["schema"] == 1);
  CHECK(answer["router_id"] == "192.168.77.1");
  CHECK(answer["cluster_id"].is_null());
  CHECK(answer["troubles"] == json::array({"tcp 179 is taken"}));
  REQUIRE(answer["peers"].size() == 1);
  const json& row = answer["peers"][0];
  CHECK(row["address"] == "10.0.0.1");
  CHECK(row["router_id"].is_null());
  CHECK(row["state"] == "established");
  CHECK(row["received"] == 4);
  CHECK(row["families"].dump() == R"(["ipv6"])");
}

TEST_CASE("answer: routes") {
  bgp::AttributeTable table;
  bgp::Attributes attributes;
  attributes.next_hop = *IpAddr::parse("192.168.77.2");
  attributes.as_path = {{bgp::AsSegment::Type::sequence, {65001}}};
  attributes.med = 5;
  attributes.communities = {64512u << 16 | 7};
  attributes.large_communities = {{64512, 1, 2}};
  attributes.cluster_list = {0x01000001};
  bgp::RouteStatus route;
  route.prefix = *Prefix::parse("10.244.2.0/24");
  route.peer = "n2";
  route.peer_address = *IpAddr::parse("192.168.77.2");
  route.attributes = table.intern(attributes);
  route.loss = "local-pref";
  const json row = json::parse(format_routes_answer({}, {route}))["routes"][0];
  CHECK(row["prefix"] == "10.244.2.0/24");
  CHECK(row["next_hop"] == "192.168.77.2");
  CHECK(row["as_path"] == "65001");
  CHECK(row["origin"] == "igp");
  CHECK(row["local_pref"].is_null());
  CHECK(row["med"] == 5);
  CHECK(row["communities"] == json::array({"64512:7"}));
  CHECK(row["large_communities"] == json::array({"64512:1:2"}));
  CHECK(row["cluster_list"] == json::array({"1.0.0.1"}));
  CHECK(row["best"] == false);
  CHECK(row["loss"] == "local-pref");
}
