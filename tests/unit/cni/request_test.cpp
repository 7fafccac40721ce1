#include "cni/request.h"

#include <catch2/catch.hpp>

#include "cni/plugin.h"
#include "cni/result.h"

using namespace knet;

namespace {

const CniEnvironment kAdd{{"CNI_COMMAND", "ADD"}, {"CNI_CONTAINERID", "c1"}, {"CNI_IFNAME", "eth0"}, {"CNI_NETNS", "/run/netns/x"}};
const std::string kConfig = R"({"cniVersion":"1.0.0","name":"knet","type":"knet"})";

CniEnvironment with(CniEnvironment environment, const std::string& key, const std::string& value) {
  environment[key] = value;
  return environment;
}

int code_of(const CniEnvironment& environment, const std::string& config) {
  try {
    parse_cni_request(environment, config);
  } catch (const CniError& error) {
    return error.code;
  }
  return 0;
}

}  // namespace

TEST_CASE("a request carries what the runtime said") {
  const auto request = parse_cni_request(
      with(kAdd, "CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;IP=10.244.1.9/32"),
      R"({"cniVersion":"0.4.0","name":"knet","type":"knet","mtu":1400,"stateDir":"/s","runDir":"/r","dns":{"nameservers":["10.0.0.1"]},"runtimeConfig":{"ips":["fd00::9"]}})");
  CHECK(request.version == "0.4.0");
  CHECK(request.pod == "default/web-0");
  CHECK(request.mtu == 1400);
  CHECK(request.state_dir == "/s");
  CHECK(request.run_dir == "/r");
  CHECK(request.wanted == std::vector<IpAddr>{*IpAddr::parse("fd00::9"), *IpAddr::parse("10.244.1.9")});
  CHECK(request.dns == R"({"nameservers":["10.0.0.1"]})");
  CHECK(request.id().size() == 11);
}

TEST_CASE("names that would become paths or devices are held to the spec") {
  CHECK(code_of(kAdd, kConfig) == 0);
  for (const char* bad : {"", "../x", "a/b", "-a", "a b", ".hidden", "a\nb"}) {
    CHECK(code_of(with(kAdd, "CNI_CONTAINERID", bad), kConfig) == kCniInvalidEnvironment);
  }
  for (const char* bad : {"", ".", "..", "a/b", "a:b", "a b", "sixteen-bytes-xx"}) {
    CHECK(code_of(with(kAdd, "CNI_IFNAME", bad), kConfig) == kCniInvalidEnvironment);
  }
  CHECK(code_of(with(kAdd, "CNI_NETNS", ""), kConfig) == kCniInvalidEnvironment);
  CHECK(code_of(with(with(kAdd, "CNI_NETNS", ""), "CNI_COMMAND", "DEL"), kConfig) == 0);
  CHECK(code_of(with(kAdd, "CNI_COMMAND", "FROB"), kConfig) == kCniInvalidEnvironment);
  CHECK(code_of(kAdd, R"({"cniVersion":"1.0.0","name":"../x"})") == kCniInvalidConfig);
}

TEST_CASE("configs that make no sense get the spec's codes") {
  CHECK(code_of(kAdd, "") == kCniDecodingFailure);
  CHECK(code_of(kAdd, "{") == kCniDecodingFailure);
  CHECK(code_of(kAdd, "[]") == kCniDecodingFailure);
  CHECK(code_of(kAdd, R"({"cniVersion":"9.0.0","name":"knet"})") == kCniIncompatibleVersion);
  CHECK(code_of(kAdd, R"({"cniVersion":"1.0.0","name":7})") == kCniInvalidConfig);
  CHECK(code_of(kAdd, R"({"cniVersion":"1.0.0","name":"knet","mtu":12})") == kCniInvalidConfig);
  CHECK(code_of(kAdd, R"({"cniVersion":"1.0.0","name":"knet","mtu":"1500"})") == kCniInvalidConfig);
  CHECK(code_of(kAdd, R"({"cniVersion":"1.0.0","name":"knet","stateDir":"relative"})") == kCniInvalidConfig);
  CHECK(code_of(kAdd, R"({"cniVersion":"1.0.0","name":"knet","runtimeConfig":{"ips":["x"]}})") == kCniInvalidConfig);
  CHECK(code_of(with(kAdd, "CNI_COMMAND", "CHECK"), kConfig) == kCniInvalidConfig);
  CHECK(code_of(with(kAdd, "CNI_COMMAND", "GC"), kConfig) == kCniInvalidConfig);
}

TEST_CASE("versions are ordered by the list") {
  CHECK(cni_older("0.4.0", "1.0.0"));
  CHECK_FALSE(cni_older("1.0.0", "1.0.0"));
  CHECK_FALSE(cni_older("1.1.0", "1.0.0"));
}

TEST_CASE("results have the shape of the asked version") {
  CniRequest request;
  CniResult result;
  result.endpoint.ifname = "eth0";
  result.endpoint.netns = "/run/netns/x";
  result.endpoint.host_dev = DevName("knet0123456789a");
  result.endpoint.mac = *Mac::parse("02:00:00:00:00:01");
  result.endpoint.addresses = {*IpAddr::parse("10.244.1.2"), *IpAddr::parse("fd00:1::2")};
  result.host_mac = pod_gateway_mac();

  request.version = "1.0.0";
  CHECK(format_cni_result(request, result) ==
        R"({"cniVersion":"1.0.0","interfaces":[{"name":"knet0123456789a","mac":"ee:ee:ee:ee:ee:ee"},{"name":"eth0","mac":"02:00:00:00:00:01","sandbox":"/run/netns/x"}],"ips":[{"interface":1,"address":"10.244.1.2/32"},{"interface":1,"address":"fd00:1::2/128"}],"routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"},{"dst":"::/0","gw":"fe80::ecee:eeff:feee:eeee"}],"dns":{}})"
        "\n");
  request.version = "0.4.0";
  CHECK(format_cni_result(request, result).find(R"({"version":"4","interface":1,"address":"10.244.1.2/32"})") != std::string::npos);
  request.version = "0.2.0";
  CHECK(format_cni_result(request, result).find(R"("ip4":{"ip":"10.244.1.2/32","gateway":"169.254.1.1")") != std::string::npos);
}

TEST_CASE("the plugin answers with JSON whatever comes") {
  std::string out;
  CHECK(run_cni({{"CNI_COMMAND", "VERSION"}}, R"({"cniVersion":"1.0.0"})", out) == 0);
  CHECK(out == R"({"cniVersion":"1.0.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]})" "\n");
  CHECK(run_cni({}, "\xff\xfe", out) == 1);
  CHECK(out.find(R"("code":4)") != std::string::npos);
  CHECK(run_cni({{"CNI_COMMAND", "STATUS"}}, R"({"cniVersion":"1.1.0","name":"knet","runDir":"/nonexistent/knet"})", out) == 1);
  CHECK(out.find(R"("cniVersion":"1.1.0","code":50)") != std::string::npos);
  CHECK(run_cni(kAdd, R"({"cniVersion":"1.0.0","name":"knet","runDir":"/nonexistent/knet"})", out) == 1);
  CHECK(out.find(R"("code":11)") != std::string::npos);
}
