// The bytes are those that flanneld v0.28 was seen to write.
#include "core/lease.h"

#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <chrono>

#include "core/json_scan.h"
#include "tests/unit/core/test_modes.h"

using namespace knet;
using knet::test::error_of;

namespace {

struct Golden {
  std::string_view key, value;
  std::string_view mode, public_ip, public_ip6, data, data6;
  bool implied = false;
};

constexpr Golden kGoldens[]{
    {"10.5.66.0-24",
     R"({"PublicIP":"192.168.77.2","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"fe:0b:bb:72:15:3b"}})",
     "vxlan", "192.168.77.2", "-", R"({"VNI":1,"VtepMAC":"fe:0b:bb:72:15:3b"})", ""},
    {"10.6.85.0-24&2001:cafe:42:2f::-64",
     R"({"PublicIP":"10.199.2.11","PublicIPv6":"fd00:99::11","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"ea:95:8c:96:5f:4b"},"BackendV6Data":{"VNI":1,"VtepMAC":"16:c7:0a:27:51:fd"}})",
     "vxlan", "10.199.2.11", "fd00:99::11", R"({"VNI":1,"VtepMAC":"ea:95:8c:96:5f:4b"})",
     R"({"VNI":1,"VtepMAC":"16:c7:0a:27:51:fd"})"},
    {"0.0.0.0-0&2001:cafe:42:61::-64",
     R"({"PublicIP":"0.0.0.0","PublicIPv6":"fd00:99::12","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"b6:f9:31:07:00:11"}})",
     "vxlan", "-", "fd00:99::12", "", R"({"VNI":1,"VtepMAC":"b6:f9:31:07:00:11"})"},
    {"10.5.66.0-24", R"({"PublicIP":"192.168.77.2","PublicIPv6":null,"BackendType":"host-gw"})", "host-gw",
     "192.168.77.2", "-", "", ""},
    {"10.5.66.0-24", R"({"PublicIP":"192.168.77.2","PublicIPv6":null})", "udp", "192.168.77.2", "-", "", "", true},
    {"10.5.66.0-24", R"({"PublicIP":"192.168.77.2","PublicIPv6":null,"BackendType":"ipip"})", "ipip", "192.168.77.2",
     "-", "", ""},
    {"10.5.66.0-24&2001:cafe:42:2f::-64",
     R"({"PublicIP":"192.168.77.2","PublicIPv6":"fd00::2","BackendType":"wireguard","BackendData":{"PublicKey":"mN5f+a/b=","Port":51820},"BackendV6Data":{"PublicKey":"mN5f+a/b=","Port":51821}})",
     "wireguard", "192.168.77.2", "fd00::2", R"({"PublicKey":"mN5f+a/b=","Port":51820})",
     R"({"PublicKey":"mN5f+a/b=","Port":51821})"},
    {"10.5.66.0-24",
     R"({"PublicIP":"192.168.77.2","PublicIPv6":null,"BackendType":"extension","BackendData":"a \"b\"\n"})",
     "extension", "192.168.77.2", "-", R"("a \"b\"\n")", ""},
};

Lease parse(std::string_view key, std::string_view value, std::string_view mode = "udp") {
  const auto parsed = parse_subnet_key(key);
  REQUIRE(parsed);
  return parse_lease(*parsed, value, mode);
}

std::string error_in(std::string_view value, std::string_view key = "10.5.66.0-24") {
  ErrorKind kind{};
  const std::string text = error_of([&] { parse(key, value); }, &kind);
  if (text != "no error") CHECK(kind == ErrorKind::config);
  return text;
}

}  // namespace

TEST_CASE("every value that flannel writes is read, and written again byte for byte") {
  for (const Golden& golden : kGoldens) {
    CAPTURE(golden.value);
    const Lease lease = parse(golden.key, golden.value);
    CHECK(lease.mode == golden.mode);
    CHECK(lease.mode_implied == golden.implied);
    CHECK(lease.public_ip.str() == golden.public_ip);
    CHECK(lease.public_ip6.str() == golden.public_ip6);
    CHECK(lease.data.v4 == golden.data);
    CHECK(lease.data.v6 == golden.data6);
    CHECK(format_subnet_key(lease.subnet, lease.subnet6) == golden.key);
    if (!golden.implied) CHECK(format_lease(lease) == golden.value);
  }
}

TEST_CASE("a lease without a type has the config's, and is written with it") {
  const Lease lease = parse("10.5.1.0-24", R"({"PublicIP":"192.168.77.1","PublicIPv6":null})", "alloc");
  CHECK(lease.mode == "alloc");
  CHECK(lease.mode_implied);
  CHECK(format_lease(lease) == R"({"PublicIP":"192.168.77.1","PublicIPv6":null,"BackendType":"alloc"})");
  CHECK(parse("10.5.1.0-24", R"({"PublicIP":"192.168.77.1","BackendType":""})").mode == "udp");
}

TEST_CASE("keys match as Go matches them, and white space and unknown keys do no harm") {
  const Lease lease =
      parse("10.5.1.0-24",
            " { \"publicip\" : \"1.2.3.4\" ,\n\"BACKENDTYPE\":\"VXLAN\", \"Future\": [1, {\"a\": null}],"
            " \"backenddata\" : { \"VNI\" : 1 , \"x\": \"a b\\\" c\" } } ");
  CHECK(lease.public_ip.str() == "1.2.3.4");
  CHECK(lease.mode == "vxlan");
  CHECK(lease.data.v4 == R"({"VNI":1,"x":"a b\" c"})");
  CHECK(parse("10.5.1.0-24", R"({"PublicIP":"1.1.1.1","publicIP":"2.2.2.2"})").public_ip.str() == "2.2.2.2");
}

TEST_CASE("what is wrong in a value is named") {
  CHECK(error_in("") == "empty, not a JSON object");
  CHECK(error_in("x") == "not JSON at byte 1: a value expected");
  CHECK(error_in("[]") == "not a JSON object");
  CHECK(error_in("{") == "not JSON at byte 2: it ends too early");
  CHECK(error_in(R"({"PublicIP":"1.2.3.4"} x)") == "not JSON at byte 24: something follows the object");
  CHECK(error_in(R"({"PublicIP":"1.2.3.4",})") == "not JSON at byte 23: a key in quotes expected");
  CHECK(error_in(R"({"PublicIP":"1.2.3.4","a":01})") == "not JSON at byte 29: a number begins with 0");
  CHECK(error_in(R"({"PublicIP":7})") == "PublicIP is a number, not an address");
  CHECK(error_in(R"({"PublicIP":"300.1.1.1"})") == "PublicIP is \"300.1.1.1\", not an IPv4 address");
  CHECK(error_in(R"({"PublicIP":"fd00::1"})") == "PublicIP is \"fd00::1\", not an IPv4 address");
  CHECK(error_in(R"({"PublicIP":"127.0.0.1"})") == "PublicIP is 127.0.0.1, which no node can have");
  CHECK(error_in(R"({"PublicIP":"1.2.3.4","BackendType":4})") == "BackendType is a number, not a string");
  CHECK(error_in(R"({"PublicIP":"1.2.3.4","BackendType":"a b"})") == "BackendType is \"a b\", not a mode's name");
  CHECK(error_in(R"({"PublicIP":"1.2.3.4","BackendType":"vx\u0000lan"})") ==
        "BackendType is \"vx\\x00lan\", not a mode's name");
  CHECK(error_in("{}") == "PublicIP is missing, but the key has the subnet 10.5.66.0/24");
  CHECK(error_in(R"({"PublicIP":"0.0.0.0","BackendType":"vxlan"})") ==
        "PublicIP is missing, but the key has the subnet 10.5.66.0/24");
  CHECK(error_in(R"({"PublicIP":"1.2.3.4"})", "10.6.85.0-24&fd00::-64") ==
        "PublicIPv6 is missing, but the key has the subnet fd00::/64");
  CHECK(error_in("{\"PublicIP\":\"1.2.3.4\",\"a\":" + std::string(100, '[') + std::string(100, ']') + "}")
            .find("nested too deep") != std::string::npos);
  CHECK(error_in("{\"PublicIP\":\"1.2.3.4\",\"BackendData\":\"" + std::string(20000, 'x') + "\"}") ==
        "BackendData has 20002 bytes; at most 16384 are read");
}

TEST_CASE("subnet keys") {
  CHECK(parse_subnet_key("10.5.66.0-24")->subnet.str() == "10.5.66.0/24");
  CHECK(parse_subnet_key("0.0.0.0-0&2001:cafe:42:61::-64")->subnet6.str() == "2001:cafe:42:61::/64");
  CHECK_FALSE(parse_subnet_key("0.0.0.0-0&2001:cafe:42:61::-64")->subnet);
  for (std::string_view bad : {"",
                               "-",
                               "&",
                               "10.5.66.0",
                               "10.5.66.0/24",
                               "10.5.66.0-024",
                               "10.5.66.1-24",
                               "10.5.66.0-33",
                               "10.5.066.0-24",
                               "10.5.x",
                               "0.0.0.0-0",
                               "0.0.0.0-0&::-0",
                               "10.5.66.0-24&",
                               "10.5.66.0-24&10.5.67.0-24",
                               "fd00::-64",
                               "10.5.66.0-24&FD00::-64",
                               "10.5.66.0-24&fd00:0::-64",
                               "10.5.66.0-24 ",
                               "x10.5.66.0-24",
                               "10.5.66.0-24-24",
                               "10.5.66.0-24&fd00::-64&fd01::-64"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_subnet_key(bad));
  }
}

TEST_CASE("the placeholder of a reservation is a value that flannel can read, and no peer") {
  const auto key = parse_subnet_key("10.5.9.0-24&fd00:9::-64");
  const std::string value = format_lease(placeholder(*key));
  CHECK(value == R"({"PublicIP":"0.0.0.0","PublicIPv6":null,"BackendType":"alloc"})");
  CHECK(parse_lease(*key, value, "udp").is_placeholder());
  CHECK_FALSE(parse("10.5.9.0-24", R"({"PublicIP":"1.2.3.4","BackendType":"alloc"})").is_placeholder());
}

TEST_CASE("5,000 leases are read in a moment") {
  std::vector<std::pair<std::string, std::string>> all;
  for (int i = 0; i < 5000; ++i) {
    all.emplace_back(
        fmt::format("10.{}.{}.0-24", i / 256, i % 256),
        fmt::format(
            R"({{"PublicIP":"192.168.{}.{}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{{"VNI":1,"VtepMAC":"fe:0b:bb:72:{:02x}:{:02x}"}}}})",
            i / 250, i % 250 + 1, i / 256, i % 256));
  }
  const auto start = std::chrono::steady_clock::now();
  size_t sum = 0;
  for (const auto& [key, value] : all) sum += parse(key, value).data.v4.size();
  const auto spent =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
  CHECK(sum == 5000 * 39);
  INFO("ms: " << spent);
#ifndef KNET_SANITIZED
  CHECK(spent < 200);  // 5 ms on a quiet machine
#endif
}

TEST_CASE("JSON texts") {
  CHECK(json_unquote(R"("a\u00e9\ud83d\ude00\n\/\ud800x")") == "a\xc3\xa9\xf0\x9f\x98\x80\n/\xef\xbf\xbdx");
  CHECK(json_quote("a\"\\\n") == "\"a\\\"\\\\\\u000a\"");
  CHECK(json_compact("{ \"a b\" : [ 1 , \"\\\" \" ] }") == "{\"a b\":[1,\"\\\" \"]}");
  JsonMembers members(R"({"a":true,"b":-1.5e+3,"c":[],"d":{},"e":null})");
  std::string seen;
  while (const auto member = members.next())
    seen += fmt::format("{}={} {};", member->key, member->text, to_string(member->type));
  CHECK(seen == "a=true a boolean;b=-1.5e+3 a number;c=[] an array;d={} an object;e=null null;");
}
