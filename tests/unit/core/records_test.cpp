#include "core/records.h"

#include <catch2/catch.hpp>

#include "tests/unit/core/test_modes.h"

using namespace knet;
using knet::test::error_of;

TEST_CASE("a node record is written and read again") {
  NodeRecord node;
  node.name = "n1";
  node.machine_id = "0123abcd";
  node.instance = "00ff";
  node.subnets = {*Prefix::parse("10.244.1.0/24"), *Prefix::parse("fd00:1::/64")};
  node.public_ip = *IpAddr::parse("192.168.77.1");
  node.public_ip6 = *IpAddr::parse("fd00:99::1");
  node.asn = 4200000000;
  node.reflector = "1.0.0.1";
  node.labels = {{"rack", "a \"b\""}, {"zone", "z"}};
  node.version = "1.0.0";
  node.seen_rev = 812;
  const std::string text = format_node(node);
  CHECK(
      text ==
      R"({"schema":1,"name":"n1","machine_id":"0123abcd","instance":"00ff","subnets":["10.244.1.0/24","fd00:1::/64"],"public_ip":"192.168.77.1",)"
      R"("public_ip6":"fd00:99::1","asn":4200000000,"reflector":"1.0.0.1","labels":{"rack":"a \"b\"","zone":"z"},"version":"1.0.0","seen_rev":812})");
  CHECK(parse_node(text) == node);

  NodeRecord bare;
  bare.name = "n2";
  CHECK(format_node(bare) == R"({"schema":1,"name":"n2","machine_id":"","subnets":[],"version":"","seen_rev":0})");
  CHECK(parse_node(format_node(bare)) == bare);
}

TEST_CASE("bytes that are not UTF-8 do not stop a record from being written") {
  NodeRecord node;
  node.name = "n1";
  node.version = "\xff";
  CHECK(parse_node(format_node(node)).version == "\xef\xbf\xbd");
}

TEST_CASE("what is wrong in a record is named; a newer schema is read as far as it is known") {
  const auto error = [](std::string_view json) {
    ErrorKind kind{};
    const std::string text = error_of([&] { parse_node(json); }, &kind);
    if (text != "no error") CHECK(kind == ErrorKind::config);
    return text;
  };
  CHECK(error("x").find("node record: not JSON") == 0);
  CHECK(error("3") == "node record is 3, not an object");
  CHECK(error("{}") == "node record has no schema");
  CHECK(error(R"({"schema":0,"name":"a"})") == "node record: schema is 0, not a number from 1 on");
  CHECK(error(R"({"schema":"1","name":"a"})") == "node record: schema is \"1\", not a number from 1 on");
  CHECK(error(R"({"schema":1})") == "node record: name is missing");
  CHECK(error(R"({"schema":1,"name":"n1 {x"})") == "node record: name is \"n1 {x\", not a node's name");
  CHECK(error(R"({"schema":1,"name":"\u001b[2J"})") == "node record: name is \"\\x1b[2J\", not a node's name");
  CHECK(error(R"({"schema":1,"name":3})") == "node record: name is 3, not a text");
  CHECK(error(R"({"schema":1,"name":"a","subnets":"x"})") == "node record: subnets is \"x\", not a list of subnets");
  CHECK(error(R"({"schema":1,"name":"a","subnets":["10.0.0.0"]})") ==
        "node record: subnets is \"10.0.0.0\", not a subnet");
  CHECK(error(R"({"schema":1,"name":"a","public_ip":"x"})") == "node record: public_ip is \"x\", not an address");
  CHECK(error(R"({"schema":1,"name":"a","asn":-1})") == "node record: asn is -1; give 0 to 4294967295");
  CHECK(error(R"({"schema":1,"name":"a","labels":{"x":1}})") == "node record: labels is 1, not a text");
  CHECK(error(R"({"schema":1,"name":"a","seen_rev":1.5})") == "node record: seen_rev is 1.5, not a whole number");

  const NodeRecord newer = parse_node(
      R"({"schema":9,"name":"a","subnets":[{"v":4},"10.1.0.0/24"],"public_ip":["1.1.1.1"],"labels":3,"seen_rev":"x","version":{"a":1},"novel":[]})");
  CHECK(newer.schema == 9);
  CHECK(newer.subnets == std::vector<Prefix>{*Prefix::parse("10.1.0.0/24")});
  CHECK_FALSE(newer.public_ip);
  CHECK(newer.seen_rev == 0);
}

TEST_CASE("reservations and the schema") {
  CHECK(format_reservation({"n1"}) == R"({"schema":1,"node":"n1"})");
  CHECK(parse_reservation(format_reservation({"n1"})).node == "n1");
  CHECK(error_of([] { parse_reservation(R"({"schema":1,"node":"../n1"})"); }) ==
        "reservation: node is \"../n1\", not a node's name");
  CHECK(error_of([] { parse_reservation(R"({"schema":1})"); }) == "reservation: node is missing");
  CHECK(parse_schema(format_schema(1)) == 1);
  CHECK(parse_schema("7\n") == 7);
  CHECK(error_of([] { parse_schema("one"); }) == "schema is \"one\", not a number from 1 on");
}

TEST_CASE("node names") {
  for (std::string_view good : {"n1", "a", "0", "node-1.example.com", "a--b"}) CHECK_NOTHROW(check_node_name(good));
  CHECK_NOTHROW(check_node_name(std::string(63, 'a') + "." + std::string(63, 'b')));
  const auto error = [](std::string_view name) {
    ErrorKind kind{};
    const std::string text = error_of([&] { check_node_name(name); }, &kind);
    CHECK(kind == ErrorKind::usage);
    return text;
  };
  CHECK(error("") == "the node name is empty; give --node-name");
  CHECK(error("Node_1") ==
        "node name Node_1 has a part that does not begin and end with a letter or digit; give node-1");
  CHECK(error("n/1") == "node name n/1 has a character other than a-z, 0-9, '-' and '.'");
  CHECK(error("a..b") == "node name a..b has an empty part between dots");
  CHECK(error("a.") == "node name a. has an empty part between dots");
  CHECK(error("-a") == "node name -a has a part that does not begin and end with a letter or digit");
  CHECK(error(std::string(64, 'a')).find("has a part longer than 63 bytes") != std::string::npos);
  CHECK(error(std::string(254, 'a')).find("has 254 bytes; at most 253 are allowed") != std::string::npos);
  CHECK(error(std::string_view("a\0b", 3)) == "node name a\\x00b has a character other than a-z, 0-9, '-' and '.'");
}

TEST_CASE("paths in the store") {
  const StorePaths paths{"/coreos.com/network"};
  CHECK(paths.config() == "/coreos.com/network/config");
  CHECK(paths.subnet("10.5.66.0-24") == "/coreos.com/network/subnets/10.5.66.0-24");
  CHECK(paths.node("n1") == "/coreos.com/network/knet/nodes/n1");
  CHECK(paths.reservation("10.5.66.0-24") == "/coreos.com/network/knet/reservations/10.5.66.0-24");
}
