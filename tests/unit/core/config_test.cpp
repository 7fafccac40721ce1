#include "core/config.h"

#include <catch2/catch.hpp>

#include "tests/unit/core/test_modes.h"

using namespace knet;
using knet::test::error_of;
using knet::test::modes;

namespace {

NetworkConfig parse(std::string_view json, std::vector<std::string>* notices = nullptr) {
  return parse_network_config(json, modes(), notices);
}

std::string error_in(std::string_view json) {
  ErrorKind kind{};
  const std::string text = error_of([&] { parse(json); }, &kind);
  if (text != "no error") CHECK(kind == ErrorKind::config);
  return text;
}

std::string usage_error(const ConfigWords& words) {
  ErrorKind kind{};
  const std::string text = error_of([&] { make_network_config(words, modes()); }, &kind);
  if (text != "no error") CHECK(kind == ErrorKind::usage);
  return text;
}

ConfigWords words() {
  ConfigWords words;
  words.network = "10.244.0.0/16";
  return words;
}

}  // namespace

TEST_CASE("flannel's defaults") {
  const NetworkConfig config = parse(R"({"Network":"10.3.0.0/16"})");
  CHECK(config.mode == "udp");
  CHECK(config.network.str() == "10.3.0.0/16");
  CHECK(config.subnet_len == 24);
  CHECK(config.subnet_min.str() == "10.3.1.0");
  CHECK(config.subnet_max.str() == "10.3.255.0");
  CHECK(config.enable_v4);
  CHECK_FALSE(config.enable_v6);
  CHECK(config.masquerade);
  CHECK(pool_size(config, Family::v4) == 255);
  CHECK(parse(R"({"Network":"10.3.0.0/22"})").subnet_len == 24);
  CHECK(parse(R"({"Network":"10.3.0.0/23"})").subnet_len == 25);
  CHECK(parse(R"({"Network":"10.3.0.0/28"})").subnet_len == 30);
  CHECK(parse(R"({"Network":"10.3.0.0/16","SubnetLen":0,"SubnetMin":"0.0.0.0"})").subnet_len == 24);
  const NetworkConfig six =
      parse(R"({"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"2001:cafe:42::/56","Backend":{"Type":"vxlan"}})");
  CHECK(six.subnet_len6 == 64);
  CHECK(six.subnet_min6.str() == "2001:cafe:42:1::");
  CHECK(six.subnet_max6.str() == "2001:cafe:42:ff::");
  CHECK(six.networks() == std::vector<Prefix>{*Prefix::parse("2001:cafe:42::/56")});
  CHECK(parse(R"({"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"2001:cafe:42::/63","Backend":{"Type":"vxlan"}})")
            .subnet_len6 == 65);
}

TEST_CASE("keys and options in any case; option types") {
  const NetworkConfig config = parse(
      R"({"network":"10.3.0.0/16","SUBNETLEN":26,"subnetMin":"10.3.7.0","SubnetMAX":"10.3.8.64","enableNFTables":true,
          "backend":{"type":"VXLAN","vni":7,"directrouting":true,"NOTE":"x","Port":null},"knet":{"masquerade":false}})");
  CHECK(config.mode == "vxlan");
  CHECK(config.subnet_len == 26);
  CHECK(config.subnet_min.str() == "10.3.7.0");
  CHECK(config.subnet_max.str() == "10.3.8.64");
  CHECK(config.options == ModeOptions{{"DirectRouting", true}, {"Note", std::string("x")}, {"VNI", int64_t{7}}});
  CHECK(config.option_int("vni", 1) == 7);
  CHECK(config.option_int("Port", 8472) == 8472);
  CHECK(config.option_bool("DirectRouting", false));
  CHECK(config.option_text("Note") == "x");
  CHECK_FALSE(config.masquerade);
}

TEST_CASE("parse, format, parse gives the same") {
  for (
      std::string_view json : {
          R"({"Network":"10.3.0.0/16"})",
          R"({"Network":"10.3.0.0/23","Backend":{"Type":"host-gw"}})",
          R"({"Network":"10.3.0.0/16","SubnetLen":26,"SubnetMin":"10.3.0.0","SubnetMax":"10.3.8.64","Backend":{"Type":"vxlan","VNI":7,"Note":"\"é\n"}})",
          R"({"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"2001:cafe:42::/56","Backend":{"Type":"alloc"},"Knet":{"Masquerade":false}})",
          R"({"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"2001::/8","IPv6SubnetLen":126,"IPv6SubnetMin":"20ff::4","Backend":{"Type":"vxlan","DirectRouting":true}})",
      }) {
    CAPTURE(json);
    const NetworkConfig config = parse(json);
    const std::string text = format_network_config(config);
    CAPTURE(text);
    CHECK(parse(text) == config);
    CHECK(format_network_config(parse(text)) == text);
  }
  CHECK(format_network_config(make_network_config(words(), modes())) ==
        R"({"Network":"10.244.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}})");
}

TEST_CASE("bad config: one message naming key and value") {
  CHECK(error_in("").find("network config: not JSON at byte") == 0);
  CHECK(error_in("[1]") == "the network config is [1], not a JSON object");
  CHECK(error_in("{}") == "Network is missing; give a network such as 10.244.0.0/16");
  CHECK(error_in(R"({"Network":7})") == "Network is 7; give a network such as 10.244.0.0/16 in quotes");
  CHECK(error_in(R"({"Network":"10.3.0.0"})") == "Network \"10.3.0.0\" is not a network such as 10.244.0.0/16");
  CHECK(error_in(R"({"Network":"fd00::/48"})") == "Network fd00::/48 is not an IPv4 network");
  CHECK(error_in(R"({"Network":"10.3.0.0/29"})") ==
        "Network 10.3.0.0/29 is too small to be cut into subnets; give /28 or wider");
  CHECK(error_in(R"({"Network":"0.0.0.0/0"})") ==
        "Network 0.0.0.0/0 holds the unspecified addresses; give a private network such as 10.244.0.0/16");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","SubnetLen":31})") ==
        "SubnetLen 31 is out of range; give 18 to 30 for 10.3.0.0/16");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","SubnetLen":17})") ==
        "SubnetLen 17 is out of range; give 18 to 30 for 10.3.0.0/16");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","SubnetLen":-1})") ==
        "SubnetLen -1 is not a prefix length; give 18 to 30 for 10.3.0.0/16");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","SubnetLen":18446744073709551615})") ==
        "SubnetLen is 18446744073709551615; give a whole number");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","SubnetLen":"24"})") == "SubnetLen is \"24\"; give a whole number");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","SubnetLen":24.5})") == "SubnetLen is 24.5; give a whole number");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","SubnetMin":"10.4.0.0"})") == "SubnetMin 10.4.0.0 is not in 10.3.0.0/16");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","SubnetMin":"10.3.5.7"})") ==
        "SubnetMin 10.3.5.7 is not the beginning of a /24; give 10.3.5.0");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","SubnetMin":"10.3.5.0","SubnetMax":"10.3.4.0"})") ==
        "SubnetMin 10.3.5.0 is above SubnetMax 10.3.4.0: no subnet is left");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","SubnetMax":"fd00::"})") == "SubnetMax \"fd00::\" is not an IPv4 address");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","EnableIPv6":"yes"})") == "EnableIPv6 is \"yes\"; give true or false");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","EnableIPv6":true})") ==
        "IPv6Network is missing; give a network such as fd00:10:244::/56");
  CHECK(error_in(R"({"EnableIPv4":false})") == "EnableIPv4 and EnableIPv6 are both false; no network is left");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","network":"10.4.0.0/16"})") ==
        "Network is given twice, in different cases");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/125"})") ==
        "IPv6Network fd00::/125 is too small to be cut into subnets; give /124 or wider");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48"})") ==
        "mode udp does not carry IPv6");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","Backend":"vxlan"})") ==
        R"(Backend is "vxlan"; give an object such as {"Type": "vxlan"})");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","Backend":{}})") ==
        "Backend.Type is missing; give a mode such as \"vxlan\"");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","Backend":{"Type":3}})") ==
        "Backend.Type is 3; give a mode such as vxlan in quotes");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","Backend":{"Type":"vxlam"}})").find("did you mean vxlan?") !=
        std::string::npos);
  CHECK(error_in(R"({"Network":"10.3.0.0/16","Backend":{"Type":"vxlan","VNI":0}})") ==
        "Backend.VNI: 0 is out of range; give 1 to 16777215");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","Backend":{"Type":"vxlan","VNI":"7"}})") ==
        "Backend.VNI is \"7\"; give a whole number");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","Backend":{"Type":"vxlan","Note":[]}})") ==
        "Backend.Note is []; give a text in quotes");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","Backend":{"Type":"vxlan","DirectRouting":1}})") ==
        "Backend.DirectRouting is 1; give true or false");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","Backend":{"Type":"vxlan","Directrotuing":true}})") ==
        "Backend.Directrotuing is true: mode vxlan has no option Directrotuing; did you mean DirectRouting? it has "
        "DirectRouting, MTU, Note, Port, VNI");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","Backend":{"Type":"vxlan","MTU":666}})") == "MTU 666 is cursed");
  CHECK(error_in(R"({"Network":"10.3.0.0/16","Knet":true})") ==
        "Knet is true; give an object such as {\"Masquerade\": false}");
}

TEST_CASE("what is ignored is said") {
  std::vector<std::string> notices;
  const NetworkConfig config = parse(
      R"({"Network":"10.3.1.5/16","IPv6Network":"fd00::/48","SubnetLenn":24,"Whatever":1,"Backend":{"Type":"vxlan","GBP":true},"Knet":{"New":1}})",
      &notices);
  CHECK(config.network.str() == "10.3.0.0/16");
  CHECK(config.options.empty());
  CHECK(notices ==
        std::vector<std::string>{"Network 10.3.1.5/16 has host bits; taken as 10.3.0.0/16",
                                 "IPv6Network is given but EnableIPv6 is not true: ignored",
                                 "Backend.GBP is flannel's alone: ignored", "Knet.New is not known here: ignored",
                                 "SubnetLenn is not a key of the network config; did you mean SubnetLen?: ignored",
                                 "Whatever is not a key of the network config: ignored"});
}

TEST_CASE("the words of init") {
  ConfigWords all = words();
  all.network6 = "fd00:10:244::/56";
  all.subnet_len = 26;
  all.subnet_min = "10.244.4.0";
  all.options = {"vni=7", "directrouting=yes"};
  all.masquerade = false;
  const NetworkConfig config = make_network_config(all, modes());
  CHECK(config.enable_v6);
  CHECK(config.subnet_min.str() == "10.244.4.0");
  CHECK(config.options == ModeOptions{{"DirectRouting", true}, {"VNI", int64_t{7}}});
  CHECK(parse(format_network_config(config)) == config);

  const auto with = [](auto change) {
    ConfigWords changed = words();
    change(changed);
    return usage_error(changed);
  };
  CHECK(with([](auto& w) { w.subnet_len = 33; }) ==
        "--subnet-len 33 is not a prefix length; give 18 to 30 for 10.244.0.0/16");
  CHECK(with([](auto& w) { w.subnet_len = 0; }) ==
        "--subnet-len 0 is not a prefix length; give 18 to 30 for 10.244.0.0/16");
  CHECK(with([](auto& w) { w.subnet_len = 31; }) == "--subnet-len 31 is out of range; give 18 to 30 for 10.244.0.0/16");
  CHECK(with([](auto& w) { w.network = "10.244.0.0"; }) ==
        "--network 10.244.0.0 is not a network; give an address and a length such as 10.244.0.0/16");
  CHECK(with([](auto& w) { w.network = "10.244.1.0/16"; }) ==
        "--network 10.244.1.0/16 has host bits; give 10.244.0.0/16");
  CHECK(with([](auto& w) { w.network = "fd00::/48"; }) == "--network fd00::/48 is not an IPv4 network");
  CHECK(with([](auto& w) { w.network.reset(); }) ==
        "no network; give --network such as 10.244.0.0/16, --network6 such as fd00:10:244::/56, or both");
  CHECK(with([](auto& w) { w.subnet_len6 = 64; }) ==
        "--subnet-len6 needs --network6; give for example --network6 fd00:10:244::/56");
  CHECK(with([](auto& w) { w.subnet_max = "x"; }) ==
        "--subnet-max x is not an IPv4 address; give the network address of a subnet");
  CHECK(with([](auto& w) { w.mode = "vxlam"; }).find("--mode: ") == 0);
  CHECK(with([](auto& w) { w.options = {"VNI"}; }) == "--opt VNI is not Key=Value");
  CHECK(with([](auto& w) { w.options = {"VNI=99999999"}; }) ==
        "--opt VNI: 99999999 is out of range; give 1 to 16777215");
  CHECK(with([](auto& w) { w.options = {"VNI=x"}; }) == "--opt VNI: \"x\" is not a number; give 1 to 16777215");
  CHECK(with([](auto& w) { w.options = {"VNI=1", "vni=2"}; }) == "--opt vni=2: VNI is given twice");
  CHECK(with([](auto& w) { w.options = {"Type=udp"}; }) == "--opt Type=udp: the type is given by --mode");
  CHECK(with([](auto& w) { w.options = {"Note=\xff"}; }) == "--opt Note: \"\\xff\" is not UTF-8 text");
  CHECK(with([](auto& w) { w.options = {"Prot=1"}; }).find("did you mean Port?") != std::string::npos);
  CHECK(with([](auto& w) {
          w.mode = "host-gw";
          w.options = {"Port=1"};
        }) == "--opt Port=1: mode host-gw has no option Port; it has none");
  CHECK(with([](auto& w) {
          w.mode = "udp";
          w.network6 = "fd00::/48";
        }) == "--mode udp: mode udp does not carry IPv6");
}

TEST_CASE("what a change means") {
  const auto changes = [](std::string_view from, std::string_view to) {
    std::vector<std::string> lines;
    for (const ConfigChange& change : compare(parse(from), parse(to), modes())) {
      CHECK(change.live == change.steps.empty());
      lines.push_back((change.live ? "live " : "not live ") + change.what);
    }
    return lines;
  };
  using Lines = std::vector<std::string>;
  constexpr std::string_view kBase = R"({"Network":"10.3.0.0/16","Backend":{"Type":"vxlan"}})";
  CHECK(changes(kBase, kBase).empty());
  CHECK(changes(kBase, R"({"Network":"10.3.0.0/16","Backend":{"Type":"vxlan","VNI":1,"Port":8472}})").empty());
  CHECK(changes(kBase, R"({"Network":"10.3.0.0/16","Backend":{"Type":"vxlan","VNI":7,"MTU":1400,"Note":"x"}})") ==
        Lines{"live Backend.MTU 0 -> 1400", "live Backend.Note \"\" -> x", "not live Backend.VNI 1 -> 7"});
  CHECK(changes(kBase, R"({"Network":"10.3.0.0/16","Backend":{"Type":"host-gw"},"Knet":{"Masquerade":false}})") ==
        Lines{"not live Backend.Type vxlan -> host-gw", "live Knet.Masquerade true -> false"});
  CHECK(changes(kBase, R"({"Network":"10.4.0.0/16","Backend":{"Type":"vxlan"}})") ==
        Lines{"not live Network 10.3.0.0/16 -> 10.4.0.0/16"});
  CHECK(changes(kBase, R"({"Network":"10.2.0.0/15","SubnetLen":24,"Backend":{"Type":"vxlan"}})") ==
        Lines{"live Network 10.3.0.0/16 -> 10.2.0.0/15"});
  CHECK(changes(kBase, R"({"Network":"10.3.0.0/16","SubnetLen":25,"Backend":{"Type":"vxlan"}})") ==
        Lines{"not live SubnetLen 24 -> 25"});
  CHECK(changes(
            kBase,
            R"({"Network":"10.3.0.0/16","SubnetMin":"10.3.0.0","SubnetMax":"10.3.9.0","Backend":{"Type":"vxlan"}})") ==
        Lines{"live SubnetMin 10.3.1.0 -> 10.3.0.0", "not live SubnetMax 10.3.255.0 -> 10.3.9.0"});
  CHECK(
      changes(kBase,
              R"({"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48","Backend":{"Type":"vxlan"}})") ==
      Lines{"not live IPv6 off -> on"});
}

TEST_CASE("the type of leases that name none") {
  CHECK(implied_mode(R"({"Backend":{"Type":"alloc"}})") == "alloc");
  CHECK(implied_mode(R"({"backend":{"type":"AWS-VPC"}})") == "aws-vpc");
  CHECK(implied_mode(R"({"Backend":{"Type":"vxlan"}})") == "udp");
  for (std::string_view bad : {"", "{", "[]", "{}", R"({"Backend":3})", R"({"Backend":{"Type":3}})"})
    CHECK(implied_mode(bad) == "udp");
}
