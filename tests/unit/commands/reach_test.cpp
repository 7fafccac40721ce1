// Who would be cut off without the mesh: by reflectors, their clients, hierarchies, and peers outside.
#include "commands/bgp/reach.h"

#include <catch2/catch.hpp>

#include "base/error.h"

using namespace knet;

namespace {

using Names = std::vector<std::string>;

const Names kNodes{"n1", "n2", "n3", "n4"};

BgpConfig without_mesh() {
  BgpConfig config;
  config.mesh = false;
  return config;
}

NodeSpec reflector(const std::string& node, uint32_t cluster, const std::string& clients = "") {
  NodeSpec spec;
  spec.node = node;
  spec.reflector = cluster;
  spec.clients = clients;
  return spec;
}

NodeSpec labelled(const std::string& node, const std::string& key, const std::string& value) {
  NodeSpec spec;
  spec.node = node;
  spec.labels = {{key, value}};
  return spec;
}

}  // namespace

TEST_CASE("a mesh reaches all, and one node misses nobody") {
  CHECK(cut_off(BgpConfig{}, kNodes, {}, {}).empty());
  CHECK(cut_off(without_mesh(), {"n1"}, {}, {}).empty());
}

TEST_CASE("without mesh and reflectors all are cut off; one reflector serves all") {
  CHECK(cut_off(without_mesh(), kNodes, {}, {}) == kNodes);
  CHECK(cut_off(without_mesh(), kNodes, {reflector("n2", 1)}, {}).empty());
}

TEST_CASE("whom no reflector's selector matches is cut off") {
  const std::vector<NodeSpec> specs{labelled("n1", "rack", "a"), labelled("n2", "rack", "a"), reflector("n3", 1, "rack == 'a'")};
  CHECK(cut_off(without_mesh(), kNodes, specs, {}) == Names{"n4"});
}

TEST_CASE("another AS is no client, unless it has a peer outside as others have") {
  NodeSpec other;
  other.node = "n4";
  other.asn = 65001;
  CHECK(cut_off(without_mesh(), kNodes, {reflector("n1", 1), other}, {}) == Names{"n4"});
  BgpPeerSpec tor;
  tor.remote = Prefix::host(*IpAddr::parse("10.0.0.1"));
  tor.asn = 65002;
  CHECK(cut_off(without_mesh(), kNodes, {reflector("n1", 1), other}, {tor}).empty());
  tor.node = "n4";
  CHECK(cut_off(without_mesh(), kNodes, {reflector("n1", 1), other}, {tor}) == Names{"n4"});
}

TEST_CASE("reflectors of two clusters are joined at the top, or one below the other") {
  std::vector<NodeSpec> specs{reflector("n1", 1, "side == 'x'"), reflector("n2", 2, "side == 'y'"), labelled("n3", "side", "x"),
                              labelled("n4", "side", "y")};
  CHECK(cut_off(without_mesh(), kNodes, specs, {}).empty());
  // n2 below n1: its labels match; still one tree.
  specs[1].labels = {{"side", "x"}};
  CHECK(cut_off(without_mesh(), kNodes, specs, {}).empty());
}

TEST_CASE("what was cut off before is no reason to refuse; what is new is, and is named") {
  Names notices;
  refuse_cut_off({"n1"}, {"n1"}, true, false, notices);
  CHECK(notices.empty());
  CHECK_THROWS_WITH(refuse_cut_off({}, {"n3", "n4"}, true, false, notices), Catch::Contains("n3, n4") && Catch::Contains("--force"));
  CHECK_THROWS_WITH(refuse_cut_off({}, kNodes, false, false, notices), Catch::Contains("knet node set n1 --reflector 1.0.0.1"));
  refuse_cut_off({}, kNodes, false, true, notices);
  REQUIRE(notices.size() == 1);
  CHECK(notices[0].find("cut off") != std::string::npos);
}
