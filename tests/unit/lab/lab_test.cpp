#include "lab/lab.h"

#include <catch2/catch.hpp>

#include "base/error.h"

using namespace knet;

TEST_CASE("nodes get the addresses and subnets of their number") {
  const Lab lab = plan_lab({});
  REQUIRE(lab.nodes.size() == 3);
  CHECK(lab.nodes[1].name == "n2");
  CHECK(lab.nodes[1].ip.str() == "192.168.77.2");
  CHECK(lab.nodes[1].ip6.str() == "fd00:77::2");
  CHECK(lab.nodes[1].subnet.str() == "10.244.2.0/24");
  CHECK_FALSE(lab.nodes[1].subnet6);
  CHECK(lab.nodes[2].pods.at(1).name == "n3-p2");
  CHECK(describe(lab) == "lab: 3 nodes x 2 pods, vxlan, store sqlite, one switch 192.168.77.0/24");
}

TEST_CASE("with routers every other node is in the second segment") {
  LabWords words;
  words.routers = true;
  words.v6 = true;
  const Lab lab = plan_lab(words);
  CHECK(lab.nodes[0].ip.str() == "192.168.77.1");
  CHECK(lab.nodes[1].ip.str() == "192.168.78.2");
  CHECK(lab.nodes[1].ip6.str() == "fd00:78::2");
  CHECK(lab.nodes[1].subnet6.str() == "fd00:244:0:2::/64");
  CHECK(lab_gateway(1, Family::v4).str() == "192.168.78.254");
}

TEST_CASE("words that make no lab are refused by the name of their flag") {
  LabWords words;
  words.nodes = 0;
  CHECK_THROWS_WITH(plan_lab(words), Catch::Contains("--nodes 0"));
  words = {};
  words.pods = 1000;
  CHECK_THROWS_WITH(plan_lab(words), Catch::Contains("--pods 1000"));
  words = {};
  for (const char* name : {"", "../x", "A", "-x", "a b", "a/b", "waytoolongforasocketbelowarundirectory"}) {
    words.name = name;
    CHECK_THROWS_WITH(plan_lab(words), Catch::Contains("--name"));
  }
  words = {};
  words.mode = "vxlam";
  CHECK_THROWS_AS(lab_network(words), Error);
}

TEST_CASE("a lab's state is read as it was written") {
  LabWords words;
  words.name = "demo-1";
  words.options = {"VNI=7"};
  words.routers = true;
  Lab lab = plan_lab(words);
  lab.unprivileged = true;
  lab.since = 1700000000;
  lab.store_url = "sqlite:///x/knet.db";
  lab.holder = {41, 1234567890123};
  lab.nodes[0].agent = {42, 7};
  lab.nodes[0].pods[0].addresses = {*IpAddr::parse("10.244.1.2")};
  lab.nodes[0].pods[0].host_dev = "knet0123456789a";
  const std::string text = format_lab(lab);
  const Lab read = parse_lab(text, "lab.json");
  CHECK(format_lab(read) == text);
  CHECK(read.words.nodes == 3);
  CHECK(read.holder.started == 1234567890123);
  CHECK(read.find_pod("n1-p1").first->name == "n1");
  CHECK(read.find_pod("n9-p1").second == nullptr);
  CHECK_THROWS_WITH(parse_lab("{}", "lab.json"), Catch::Contains("lab.json"));
  CHECK_THROWS_AS(parse_lab("{", "lab.json"), Error);
}
