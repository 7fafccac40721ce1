#include "agent/view_cache.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "tests/support/make.h"
#include "tests/unit/agent/temporary.h"

using namespace knet;
using namespace knet::test;

namespace {

const std::string kConfig = "{\"Network\":\"10.244.0.0/16\",\n \"Backend\":{\"Type\":\"vxlan\"}}";

ClusterView sample() {
  ClusterView view = view_of("vxlan");
  view.rev = 812;
  view.self.lease.data.v4 = R"({"VNI":1,"VtepMAC":"02:00:00:00:00:01"})";
  view.self.lease.lease_id = 7751717543356786194;
  view.self.lease.rev = 5;
  Lease& peer = add_peer(view, 2, "host-gw");
  peer.subnet6 = prefix("fd10:0:0:2::/64");
  peer.public_ip6 = ip("fd00:77::2");
  peer.rev = 811;
  return view;
}

std::string text_of(const ClusterView& view) { return format_cached_view(kConfig, view); }

}  // namespace

TEST_CASE("a cached view is read as it was written") {
  const ClusterView view = sample();
  const auto read = parse_cached_view(text_of(view));
  REQUIRE(read);
  CHECK(read->config_json == kConfig);
  CHECK(read->node == "n1");
  CHECK(read->rev == 812);
  CHECK(read->own.same_content(view.self.lease));
  CHECK(read->own.lease_id == view.self.lease.lease_id);
  CHECK(read->own.rev == 5);
  REQUIRE(read->peers.size() == 1);
  CHECK(read->peers[0].same_content(view.leases[0]));
  CHECK(read->peers[0].subnet6 == view.leases[0].subnet6);
  CHECK(read->peers[0].rev == 811);
  CHECK(read->names == view.names);
}

TEST_CASE("a cached view that was damaged or cut short is none") {
  const std::string text = text_of(sample());
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

TEST_CASE("a peer's line that can't be read costs that peer alone") {
  ClusterView view = sample();
  add_peer(view, 3, "host-gw");
  view.names[0] = "n2 the second";
  const auto read = parse_cached_view(text_of(view));
  REQUIRE(read);
  REQUIRE(read->peers.size() == 1);
  CHECK(read->peers[0].subnet == view.leases[1].subnet);
  CHECK(read->names == std::vector<std::string>{view.names[1]});
  CHECK(read->own.same_content(view.self.lease));
}

TEST_CASE("the cache file: absent, written, replaced") {
  Temporary dir;
  const auto path = dir.path() / "state" / "view.cache";
  CHECK_FALSE(load_view_cache(path));
  ClusterView view = sample();
  save_view_cache(path, kConfig, view);
  REQUIRE(load_view_cache(path));
  view.rev = 900;
  save_view_cache(path, kConfig, view);
  CHECK(load_view_cache(path)->rev == 900);
  std::ofstream(path) << "not a cache";
  CHECK_FALSE(load_view_cache(path));
}

TEST_CASE("the modes still received are kept; an older version's cache has none") {
  const std::vector<ReceivedMode> received = {{"vxlan", 20, 1'700'000'000}, {"udp", 31, 1'700'000'100}};
  const auto read = parse_cached_view(format_cached_view(kConfig, sample(), received));
  REQUIRE(read);
  CHECK(read->received == received);
  CHECK(read->peers.size() == 1);
  CHECK(parse_cached_view(text_of(sample()))->received.empty());

  Temporary dir;
  NodePaths paths;
  paths.state_dir = dir.path();
  NetworkConfig config;
  config.mode = "host-gw";
  CHECK(received_modes(paths, "n1", config).empty());
  config.earlier = {{"vxlan", {}}, {"alloc", {}}};
  // Nothing is known of this node's past: by any of them somebody may still send.
  CHECK(received_modes(paths, "n1", config) == std::vector<std::string>{"vxlan", "alloc"});
  save_view_cache(paths.view_cache(), kConfig, sample(), received);
  CHECK(received_modes(paths, "n1", config) == std::vector<std::string>{"vxlan"});
}

TEST_CASE("what BGP needs to run with the store away is kept, passwords too") {
  ClusterView view = sample();
  view.bgp.config.asn = 4'200'000'001;
  view.bgp.config.mesh = false;
  view.bgp.config.password = "between us";
  view.bgp.config.import = {prefix("172.16.0.0/12")};
  BgpPeerSpec tor;
  tor.name = "tor1";
  tor.remote = prefix("10.1.0.1/32");
  tor.asn = 65001;
  tor.password = "s3cret with spaces";
  view.bgp.peers = {tor};
  NodeSpec spec;
  spec.node = "n2";
  spec.reflector = 0x01000001;
  spec.labels = {{"rack", "a"}};
  view.bgp.specs = {spec};
  view.bgp.speakers = {{"rr1", ip("192.168.77.9"), ip("fd00:77::9")}};
  view.bgp.joined = {ip("192.168.77.2")};
  const auto read = parse_cached_view(text_of(view));
  REQUIRE(read);
  CHECK(read->bgp == view.bgp);
  CHECK_FALSE(read->no_pods);
  CHECK(read->peers.size() == 1);

  Temporary dir;
  save_view_cache(dir.path() / "view.cache", kConfig, view);
  CHECK((std::filesystem::status(dir.path() / "view.cache").permissions() & std::filesystem::perms::all) ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

TEST_CASE("a node without pods keeps a view without a subnet") {
  ClusterView view = sample();
  view.self.lease = {};
  view.self.runs_pods = false;
  const auto read = parse_cached_view(text_of(view));
  REQUIRE(read);
  CHECK(read->no_pods);
  CHECK_FALSE(read->own.subnet);
}
