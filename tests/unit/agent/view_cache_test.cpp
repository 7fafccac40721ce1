#include "agent/view_cache.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "tests/unit/agent/temporary.h"

using namespace knet;

namespace {

CachedView sample() {
  CachedView view;
  view.config_json = "{\"Network\":\"10.244.0.0/16\",\n \"Backend\":{\"Type\":\"vxlan\"}}";
  view.node = "n1";
  view.rev = 812;
  view.own.subnet = Prefix::parse("10.244.1.0/24").value();
  view.own.public_ip = IpAddr::parse("192.168.77.1").value();
  view.own.mode = "vxlan";
  view.own.data.v4 = R"({"VNI":1,"VtepMAC":"02:00:00:00:00:01"})";
  view.own.lease_id = 7751717543356786194;
  view.own.rev = 5;
  Lease peer;
  peer.subnet = Prefix::parse("10.244.2.0/24").value();
  peer.subnet6 = Prefix::parse("fd10:0:0:2::/64").value();
  peer.public_ip = IpAddr::parse("192.168.77.2").value();
  peer.public_ip6 = IpAddr::parse("fd00:77::2").value();
  peer.mode = "host-gw";
  peer.rev = 811;
  view.peers.push_back(peer);
  view.names.push_back("n2");
  return view;
}

}  // namespace

TEST_CASE("a cached view is read as it was written") {
  const CachedView view = sample();
  const auto read = parse_cached_view(format_cached_view(view));
  REQUIRE(read);
  CHECK(read->config_json == view.config_json);
  CHECK(read->node == "n1");
  CHECK(read->rev == 812);
  CHECK(read->own.same_content(view.own));
  CHECK(read->own.lease_id == view.own.lease_id);
  CHECK(read->own.rev == 5);
  REQUIRE(read->peers.size() == 1);
  CHECK(read->peers[0].same_content(view.peers[0]));
  CHECK(read->peers[0].subnet6 == view.peers[0].subnet6);
  CHECK(read->peers[0].rev == 811);
  CHECK(read->names == view.names);
}

TEST_CASE("a cached view that was damaged or cut short is none") {
  const std::string text = format_cached_view(sample());
  REQUIRE(parse_cached_view(text));
  for (size_t cut : {size_t{0}, size_t{5}, text.size() / 2, text.size() - 2})
    CHECK_FALSE(parse_cached_view(std::string_view(text).substr(0, cut)));
  for (size_t at = 0; at < text.size() - 1; at += 7) {
    std::string damaged = text;
    damaged[at] ^= 0x01;
    CHECK_FALSE(parse_cached_view(damaged));
  }
  CHECK_FALSE(parse_cached_view("knet view 2\n{}\nend 0000000000000000\n"));
}

TEST_CASE("the cache file: absent, written, replaced") {
  test::Temporary dir;
  const auto path = dir.path() / "state" / "view.cache";
  CHECK_FALSE(load_view_cache(path));
  CachedView view = sample();
  save_view_cache(path, view);
  REQUIRE(load_view_cache(path));
  view.rev = 900;
  save_view_cache(path, view);
  CHECK(load_view_cache(path)->rev == 900);
  std::ofstream(path) << "not a cache";
  CHECK_FALSE(load_view_cache(path));
}
