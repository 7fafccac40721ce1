// The bgp mode's service over a real speaker, which has nobody to speak to.
#include <nlohmann/json.hpp>
#include <arpa/inet.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "modes/common/bgp_service.h"
#include "tests/unit/modes/bgp_cases.h"

using namespace knet;
using namespace knet::test;
using nlohmann::json;

namespace {

uint16_t free_port() {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t length = sizeof address;
  REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
  REQUIRE(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  return ntohs(address.sin_port);
}

std::string usage(Service& service, const ServiceQuestion& question) {
  try {
    service.answer(question);
  } catch (const Error& error) {
    return error.text;
  }
  return "no error";
}

}  // namespace

TEST_CASE("bgp's service: begins with the first view, follows, answers, parts") {
  const auto service = make_bgp_service({[](auto, bool) {}});
  CHECK(usage(*service, {"bgp/peers", {}}) == "bgp has not begun on this node yet");
  CHECK_FALSE(service->answer({"policy/rules", {}}));
  CHECK(service->troubles().empty());

  ClusterView view = bgp_cluster(1);
  view.bgp.config.port = free_port();
  BgpPeerSpec peer;
  peer.name = "tor";
  peer.remote = prefix("127.0.0.9/32");
  peer.asn = 65001;
  peer.passive = true;
  view.bgp.peers = {peer};
  service->follow(view, {});
  json answer = json::parse(*service->answer({"bgp/peers", {}}));
  CHECK(answer["node"] == "n1");
  CHECK(answer["asn"] == 64512);
  CHECK(answer["listen"] == json::array({"0.0.0.0:" + std::to_string(view.bgp.config.port)}));
  REQUIRE(answer["peers"].size() == 1);
  CHECK(answer["peers"][0]["name"] == "tor");
  CHECK(answer["peers"][0]["state"] != "established");

  const json routes = json::parse(*service->answer({"bgp/routes", {{"prefix", "10.244.1.7"}}}));
  REQUIRE(routes["routes"].size() == 1);
  CHECK(routes["routes"][0]["prefix"] == "10.244.1.0/24");
  CHECK(routes["routes"][0]["best"] == true);

  spec(view, "n1").asn = 65000;
  view.bgp.peers.clear();
  service->follow(view, {});
  answer = json::parse(*service->answer({"bgp/peers", {}}));
  CHECK(answer["asn"] == 65000);
  CHECK(answer["peers"].empty());
  CHECK(service->counters().size() == 2);
  service->part();
}

TEST_CASE("bgp's service: wrong words are named") {
  const auto service = make_bgp_service({[](auto, bool) {}});
  ClusterView view = bgp_cluster(1);
  view.bgp.config.port = free_port();
  service->follow(view, {});
  CHECK(usage(*service, {"bgp/routes", {{"received", "nobody"}}}) == "received nobody is no IP address");
  CHECK(usage(*service, {"bgp/routes", {{"received", "10.0.0.1"}}}) != "no error");  // no such peer
  CHECK(usage(*service, {"bgp/routes", {{"received", "10.0.0.1"}, {"advertised", "10.0.0.1"}}}) ==
        "received and advertised exclude each other");
  CHECK(usage(*service, {"bgp/routes", {{"prefix", "x"}}}) == "prefix x is neither a prefix nor an address");
  CHECK(usage(*service, {"bgp/routes", {{"limit", "0"}}}) != "no error");
  CHECK(usage(*service, {"bgp/reset", {}}) == "bgp/reset takes either a peer or all");
  CHECK(usage(*service, {"bgp/reset", {{"peer", "10.0.0.1"}}}) != "no error");
  CHECK(usage(*service, {"bgp/reset", {{"all", "1"}, {"kind", "soft"}}}) == "kind soft is none of hard, in, out");
  CHECK(json::parse(*service->answer({"bgp/reset", {{"all", "1"}, {"kind", "in"}}}))["reset"].empty());
}
