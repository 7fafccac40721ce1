#include "core/endpoint.h"

#include <catch2/catch.hpp>

#include "tests/unit/core/test_modes.h"

using namespace knet;
using knet::test::error_of;

TEST_CASE("an endpoint's id and device are those of sha1") {
  CHECK(endpoint_id("cbr0", "0123", "eth0") == "22d1a092a5f");  // printf cbr0/0123/eth0 | sha1sum
  CHECK(pod_link_name("22d1a092a5f").view() == "knet22d1a092a5f");
}

TEST_CASE("an endpoint is written and read again") {
  Endpoint endpoint;
  endpoint.network = "cbr0";
  endpoint.container = "0123";
  endpoint.ifname = "eth0";
  endpoint.id = endpoint_id("cbr0", "0123", "eth0");
  endpoint.netns = "/run/netns/x";
  endpoint.pod = "default/web";
  endpoint.host_dev = pod_link_name(endpoint.id);
  endpoint.mac = *Mac::parse("02:00:00:00:00:07");
  endpoint.addresses = {*IpAddr::parse("10.244.1.2"), *IpAddr::parse("fd00:1::2")};
  endpoint.labels = {{"app", "web"}};
  const std::string text = format_endpoint(endpoint);
  CHECK(
      text ==
      R"({"schema":1,"id":"22d1a092a5f","network":"cbr0","container":"0123","ifname":"eth0","netns":"/run/netns/x","pod":"default/web",)"
      R"("host_dev":"knet22d1a092a5f","mac":"02:00:00:00:00:07","addresses":["10.244.1.2","fd00:1::2"],"labels":{"app":"web"}})");
  CHECK(parse_endpoint(text) == endpoint);
  endpoint.pod.clear();
  endpoint.labels.clear();
  CHECK(parse_endpoint(format_endpoint(endpoint)) == endpoint);
}

TEST_CASE("what is wrong in an endpoint is named; a newer one is read") {
  const auto error = [](std::string_view json) {
    ErrorKind kind{};
    const std::string text = error_of([&] { parse_endpoint(json); }, &kind);
    CHECK(kind == ErrorKind::config);
    return text;
  };
  CHECK(error("").find("endpoint: not JSON") == 0);
  CHECK(error(R"({"id":"22d1a092a5f"})") == "endpoint has no schema");
  CHECK(error(R"({"schema":1,"id":"../../etc/x","container":"c","ifname":"e","mac":"02:00:00:00:00:07"})") ==
        "endpoint: id is \"../../etc/x\", not 11 hex digits");
  CHECK(
      error(
          R"({"schema":1,"id":"22d1a092a5f","container":"c","ifname":"e","host_dev":"eth0","mac":"02:00:00:00:00:07"})") ==
      "endpoint: host_dev is \"eth0\", not knet22d1a092a5f");
  CHECK(error(R"({"schema":1,"id":"22d1a092a5f","container":"c","ifname":"e","mac":"x"})") ==
        "endpoint: mac is \"x\", not a MAC");
  CHECK(
      error(
          R"({"schema":1,"id":"22d1a092a5f","container":"c","ifname":"e","mac":"02:00:00:00:00:07","addresses":["10.0.0.1/32"]})") ==
      "endpoint: addresses is \"10.0.0.1/32\", not an address");
  const Endpoint newer = parse_endpoint(
      R"({"schema":2,"id":"22d1a092a5f","container":"c","ifname":"e","mac":"02:00:00:00:00:07","addresses":["10.0.0.1",{}],"netns":7})");
  CHECK(newer.host_dev.view() == "knet22d1a092a5f");
  CHECK(newer.addresses.size() == 1);
}

TEST_CASE("the pods' gateways") {
  CHECK(pod_gateway_mac().str() == "ee:ee:ee:ee:ee:ee");
  CHECK(pod_gateway(Family::v4).str() == "169.254.1.1");
  CHECK(pod_gateway(Family::v6).str() == "fe80::ecee:eeff:feee:eeee");
}

TEST_CASE("a record whose host link is not there is out, once links were read") {
  std::vector<Endpoint> pods(2);
  pods[0].id = "00000000001";
  pods[1].id = "00000000002";
  for (Endpoint& pod : pods) pod.host_dev = pod_link_name(pod.id);
  Observed observed;
  Link link;
  link.name = pods[1].host_dev;
  observed.net.links.push_back(link);
  const std::vector<Endpoint> all = pods;
  drop_linkless(pods, observed);  // a dump that was cut short
  CHECK(pods == all);
  observed.complete.set(static_cast<size_t>(Kind::link));
  drop_linkless(pods, observed);
  REQUIRE(pods.size() == 1);
  CHECK(pods[0].id == "00000000002");
}
