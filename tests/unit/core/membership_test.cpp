#include "core/membership.h"

#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <chrono>

#include "tests/unit/core/test_modes.h"

using namespace knet;
using Lines = std::vector<std::string>;

namespace {

const std::string kPrefix = "/coreos.com/network/";

StoreEvent put(std::string key, std::string value, Revision rev, LeaseId lease = 7) {
  return {kPrefix + std::move(key), std::move(value), false, lease, rev};
}
StoreEvent del(std::string key, Revision rev) { return {kPrefix + std::move(key), "", true, 0, rev}; }

std::string host_gw(std::string_view ip) {
  return fmt::format(R"({{"PublicIP":"{}","PublicIPv6":null,"BackendType":"host-gw"}})", ip);
}
std::string node(std::string_view name, std::string_view subnet, int seen = 0) {
  return fmt::format(R"({{"schema":1,"name":"{}","subnets":["{}"],"seen_rev":{}}})", name, subnet, seen);
}

std::string bgp_config() {
  BgpConfig config;
  config.asn = 65010;
  config.mesh = false;
  return format_bgp_config(config);
}
std::string asn_of(std::string_view name, uint32_t asn) {
  NodeSpec spec;
  spec.node = name;
  spec.asn = asn;
  return format_node_spec(spec);
}

struct Fixture {
  Membership members{StorePaths{}, test::modes()};
  Lease own;
  Membership::Change replace(std::vector<StoreEvent> all, Revision rev) {
    return members.replace(std::move(all), rev, own);
  }
  Membership::Change apply(const StoreEvent& event) { return members.apply(event, own); }
  std::string subnets() const {
    std::string text;
    for (const Lease& lease : members.leases())
      text += (text.empty() ? "" : " ") + subnets_text(lease) + "=" + lease.public_ip.str();
    return text;
  }
  void be(std::string_view key, std::string_view value, Revision rev, LeaseId lease) {
    own = parse_lease(*parse_subnet_key(key), value, "udp");
    own.rev = rev;
    own.lease_id = lease;
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a listing becomes leases sorted by subnet, config, nodes and reservations") {
  const auto change = replace(
      {put("config", R"({"Network":"10.5.0.0/16","Backend":{"Type":"alloc"}})", 1),
       put("subnets/10.5.10.0-24", host_gw("1.1.1.10"), 2), put("subnets/10.5.9.0-24", R"({"PublicIP":"1.1.1.9"})", 3),
       put("subnets/10.5.9.0-24&fd00:9::-64",
           R"({"PublicIP":"1.1.1.8","PublicIPv6":"fd00::8","BackendType":"host-gw"})", 3),
       put("knet/nodes/n9", node("n9", "10.5.9.0/24"), 4),
       put("knet/reservations/10.5.20.0-24", R"({"schema":1,"node":"n20"})", 5), put("knet/schema", "1", 5),
       put("knet/policies/a/b", "anything", 5)},
      6);
  CHECK(change.leases);
  CHECK(change.config);
  CHECK(change.nodes);
  CHECK(change.reservations);
  CHECK_FALSE(change.schema);
  CHECK_FALSE(change.own_lease);
  CHECK(change.problems.empty());
  CHECK(subnets() == "10.5.9.0/24=1.1.1.9 10.5.9.0/24 fd00:9::/64=1.1.1.8 10.5.10.0/24=1.1.1.10");
  CHECK(members.leases()[0].mode == "alloc");
  CHECK(members.leases()[2].lease_id == 7);
  CHECK(members.leases()[2].rev == 2);
  CHECK(members.rev() == 6);
  CHECK(members.reservations().at("10.5.20.0-24").node == "n20");

  SECTION("the same listing again is no change") {
    const auto again =
        replace({put("config", members.config_json(), 1), put("subnets/10.5.10.0-24", host_gw("1.1.1.10"), 8),
                 put("subnets/10.5.9.0-24", R"({"PublicIP":"1.1.1.9"})", 3),
                 put("subnets/10.5.9.0-24&fd00:9::-64",
                     R"({"PublicIP":"1.1.1.8","PublicIPv6":"fd00::8","BackendType":"host-gw"})", 3),
                 put("knet/nodes/n9", node("n9", "10.5.9.0/24"), 4),
                 put("knet/reservations/10.5.20.0-24", R"({"schema":1,"node":"n20"})", 5)},
                9);
    CHECK_FALSE(again.leases);
    CHECK_FALSE(again.config);
    CHECK_FALSE(again.nodes);
    CHECK_FALSE(again.reservations);
    CHECK(members.leases()[2].rev == 8);
  }
  SECTION("a fresh listing notices changed values and what is gone") {
    const auto fresh =
        replace({put("config", members.config_json(), 1), put("subnets/10.5.10.0-24", host_gw("1.1.1.77"), 9)}, 9);
    CHECK(fresh.leases);
    CHECK(fresh.nodes);
    CHECK(fresh.reservations);
    CHECK_FALSE(fresh.config);
    CHECK(subnets() == "10.5.10.0/24=1.1.1.77");
    CHECK(members.nodes().empty());
    CHECK(replace({}, 10).config);
    CHECK(subnets().empty());
  }
  SECTION("another config changes what a lease without a type is") {
    const auto other = apply(put("config", R"({"Network":"10.5.0.0/16"})", 10));
    CHECK(other.config);
    CHECK(other.leases);
    CHECK(members.leases()[0].mode == "udp");
    CHECK_FALSE(apply(put("config", R"({"Network":"10.5.0.0/16"})", 11)).config);
    CHECK(apply(del("config", 12)).config);
    CHECK(members.config_json().empty());
  }
}

TEST_CASE_METHOD(Fixture, "events: added, changed, renewed, gone") {
  CHECK(apply(put("subnets/10.5.2.0-24", host_gw("1.1.1.2"), 5)).leases);
  CHECK(apply(put("subnets/10.5.1.0-24", host_gw("1.1.1.1"), 6)).leases);
  CHECK(subnets() == "10.5.1.0/24=1.1.1.1 10.5.2.0/24=1.1.1.2");
  CHECK_FALSE(apply(put("subnets/10.5.1.0-24", host_gw("1.1.1.1"), 7, 8)).leases);  // flanneld's renewal
  CHECK(members.leases()[0].rev == 7);
  CHECK(members.leases()[0].lease_id == 8);
  CHECK(apply(put("subnets/10.5.1.0-24", host_gw("1.1.1.99"), 8)).leases);
  CHECK(apply(del("subnets/10.5.1.0-24", 9)).leases);
  CHECK_FALSE(apply(del("subnets/10.5.1.0-24", 10)).leases);
  CHECK(subnets() == "10.5.2.0/24=1.1.1.2");
  CHECK(members.rev() == 10);
  CHECK(apply(put("knet/nodes/n2", node("n2", "10.5.2.0/24", 5), 11)).nodes);
  CHECK_FALSE(apply(put("knet/nodes/n2", node("n2", "10.5.2.0/24", 5), 12)).nodes);
  CHECK(apply(put("knet/nodes/n2", node("n2", "10.5.2.0/24", 6), 13)).nodes);
  CHECK(apply(del("knet/nodes/n2", 14)).nodes);
  CHECK(apply(put("knet/schema", "2", 15)).schema);
  CHECK(members.schema() == 2);
  CHECK_FALSE(apply(put("knet/schema", "2", 16)).schema);
  CHECK(apply({"/coreos.com/network2/subnets/10.5.7.0-24", host_gw("1.1.1.7"), false, 1, 17}).problems.empty());
  CHECK(members.leases().size() == 1);
}

TEST_CASE_METHOD(Fixture, "foreign and corrupt keys are told once and never stop the others") {
  const std::vector<StoreEvent> all{
      put("subnets/10.5.1.0-24", "{", 1),
      put("subnets/10.5.2.0-24", host_gw("1.1.1.2"), 1),
      put("subnets/10.5.3.0-24", R"({"PublicIP":"1.1.1.3","BackendType":"vxlan","BackendData":{}})", 1),
      put("subnets/10.5.x", "?", 1),
      put("subnets/\x01", "?", 1),
      put("knet/nodes/n1", node("n2", "10.5.1.0/24"), 1),
      put("knet/reservations/x", "?", 1),
      put("notes", "mine", 1),
      put("config", "?", 1)};
  const auto change = replace(all, 2);
  CHECK(subnets() == "10.5.2.0/24=1.1.1.2");
  CHECK(change.problems ==
        Lines{"knet/nodes/n1: node record: name is \"n2\", the key says otherwise",
              "knet/reservations/x: not a subnet key; ignored", "notes: neither flannel's key nor knet's; ignored",
              "subnets/\\x01: not a subnet key; ignored", "subnets/10.5.1.0-24: not JSON at byte 2: it ends too early",
              "subnets/10.5.3.0-24: BackendData has no VtepMAC", "subnets/10.5.x: not a subnet key; ignored"});
  CHECK(members.problems().size() == 7);
  CHECK(replace(all, 3).problems.empty());
  CHECK(apply(put("subnets/10.5.1.0-24", "{", 4)).problems.empty());
  CHECK(apply(put("subnets/10.5.1.0-24", "[]", 5)).problems.size() == 1);
  // Even a corrupt value's subnet is not given out.
  CHECK(members.taken("n7") == std::vector<Prefix>{*Prefix::parse("10.5.2.0/24"), *Prefix::parse("10.5.1.0/24"),
                                                   *Prefix::parse("10.5.3.0/24")});
  CHECK(apply(put("subnets/10.5.1.0-24", host_gw("1.1.1.1"), 6)).leases);
  CHECK(apply(del("subnets/10.5.x", 7)).problems.empty());
  CHECK(members.problems().size() == 5);
  CHECK(apply(put("subnets/10.5.2.0-24", "corrupt", 8)).leases);
  CHECK(subnets() == "10.5.1.0/24=1.1.1.1");
  // A corrupt schema key must not make us write as if the schema were ours.
  CHECK(apply(put("knet/schema", "3", 9)).schema);
  CHECK_FALSE(apply(put("knet/schema", "x", 10)).schema);
  CHECK(members.schema() == 3);
  CHECK_FALSE(replace({put("knet/schema", "x", 10)}, 11).schema);
  CHECK(members.schema() == 3);
  CHECK(replace({}, 12).schema);
  CHECK(members.problems().empty());
}

TEST_CASE_METHOD(Fixture, "a reservation's placeholder is taken but no peer") {
  const std::string value = format_lease(placeholder(*parse_subnet_key("10.5.4.0-24")));
  CHECK_FALSE(apply(put("subnets/10.5.4.0-24", value, 2, 0)).leases);
  apply(put("knet/reservations/10.5.4.0-24", format_reservation({"n4"}), 2, 0));
  CHECK(members.leases().empty());
  CHECK(members.problems().empty());
  CHECK(members.taken("n1").front().str() == "10.5.4.0/24");
  CHECK(members.taken("n4").empty());
  // Its node comes: the key gets its lease; leaves: the placeholder is put back.
  CHECK(apply(put("subnets/10.5.4.0-24", host_gw("1.1.1.4"), 3)).leases);
  CHECK(members.leases().size() == 1);
  CHECK(apply(put("subnets/10.5.4.0-24", value, 4, 0)).leases);
  CHECK(members.leases().empty());
  CHECK(apply(del("knet/reservations/10.5.4.0-24", 5)).reservations);
  CHECK(members.taken("n4").size() == 1);
  apply(del("subnets/10.5.4.0-24", 6));
  CHECK(members.taken("n4").empty());
}

TEST_CASE_METHOD(Fixture, "what others do to our lease is noticed, what we did ourselves is not") {
  be("10.5.1.0-24", host_gw("1.1.1.1"), 10, 7);
  CHECK_FALSE(apply(put("subnets/10.5.1.0-24", host_gw("1.1.1.50"), 9)).own_lease);  // before our write
  CHECK_FALSE(apply(put("subnets/10.5.1.0-24", host_gw("1.1.1.1"), 10, 7)).own_lease);
  CHECK_FALSE(apply(put("subnets/10.5.1.0-24", host_gw("1.1.1.1"), 11, 7)).own_lease);
  CHECK_FALSE(apply(del("subnets/10.5.2.0-24", 11)).own_lease);
  CHECK(apply(put("subnets/10.5.1.0-24", host_gw("1.1.1.1"), 12, 8)).own_lease);
  CHECK(apply(put("subnets/10.5.1.0-24", host_gw("1.1.1.2"), 13, 7)).own_lease);
  CHECK(apply(put("subnets/10.5.1.0-24", "corrupt", 14, 7)).own_lease);
  CHECK(apply(del("subnets/10.5.1.0-24", 15)).own_lease);
  CHECK_FALSE(apply(del("subnets/10.5.1.0-24", 8)).own_lease);

  CHECK_FALSE(replace({put("subnets/10.5.1.0-24", host_gw("1.1.1.1"), 10, 7)}, 20).own_lease);
  CHECK(replace({put("subnets/10.5.1.0-24", host_gw("1.1.1.2"), 16, 7)}, 20).own_lease);
  CHECK(replace({}, 20).own_lease);
  CHECK_FALSE(replace({}, 10).own_lease);  // a listing as old as our write
}

TEST_CASE_METHOD(Fixture, "the view gets the peers and their names, without us") {
  be("10.5.1.0-24", host_gw("1.1.1.1"), 1, 7);
  replace({put("subnets/10.5.1.0-24", host_gw("1.1.1.1"), 1), put("subnets/10.5.2.0-24", host_gw("1.1.1.2"), 2),
           put("subnets/10.5.3.0-24", host_gw("1.1.1.3"), 3),
           put("subnets/0.0.0.0-0&fd00:4::-64",
               R"({"PublicIP":"0.0.0.0","PublicIPv6":"fd00::4","BackendType":"host-gw"})", 3),
           put("knet/nodes/n1", node("n1", "10.5.1.0/24"), 4), put("knet/nodes/n3", node("n3", "10.5.3.0/24"), 4)},
          9);
  ClusterView view;
  view.self.lease = own;
  std::vector<std::string> dropped;
  members.fill(view, &dropped);
  CHECK(dropped.empty());
  CHECK(view.rev == 9);
  REQUIRE(view.leases.size() == 3);
  CHECK(view.names == Lines{"fd00::4", "1.1.1.2", "n3"});
  CHECK(view.leases[1].subnet.str() == "10.5.2.0/24");

  SECTION("a peer that clashes with us is put out with a line") {
    apply(put("subnets/10.5.7.0-24", host_gw("1.1.1.1"), 10));
    members.fill(view, &dropped);
    CHECK(view.leases.size() == 3);
    CHECK(view.names.size() == 3);
    CHECK(dropped.size() == 1);
  }
}

TEST_CASE_METHOD(Fixture, "5,000 peers are listed and followed in a moment") {
  std::vector<StoreEvent> all;
  for (int i = 0; i < 5000; ++i) {
    all.push_back(put(fmt::format("subnets/10.{}.{}.0-24", i / 256, i % 256),
                      host_gw(fmt::format("192.168.{}.{}", i / 250, i % 250 + 1)), i + 1));
  }
  const auto start = std::chrono::steady_clock::now();
  CHECK(replace(all, 5000).leases);
  for (int i = 0; i < 500; ++i) apply(del(fmt::format("subnets/10.{}.{}.0-24", i / 256, i % 256), 5001 + i));
  ClusterView view;
  members.fill(view);
  const auto spent =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
  CHECK(view.leases.size() == 4500);
  INFO("ms: " << spent);
#ifndef KNET_SANITIZED
  CHECK(spent < 400);
#endif
}

TEST_CASE_METHOD(Fixture, "BGP's records come into the view, and an unreadable one leaves the last good one") {
  const auto change = replace({put("knet/bgp/config", bgp_config(), 1, 0),
                               put("knet/specs/n2", asn_of("n2", 65002), 2, 0),
                               put("knet/speakers/rr1", R"({"schema":1,"name":"rr1","public_ip":"1.1.1.1"})", 3),
                               put("knet/speakers/rr2", R"({"schema":1,"name":"rr9"})", 3)},
                              4);
  CHECK(change.bgp);
  REQUIRE(change.problems.size() == 1);
  CHECK_THAT(change.problems[0], Catch::StartsWith("knet/speakers/rr2: "));
  ClusterView view;
  members.fill(view);
  CHECK(view.bgp.config.asn == 65010);
  CHECK_FALSE(view.bgp.config.mesh);
  REQUIRE(view.bgp.specs.size() == 1);
  REQUIRE(view.bgp.speakers.size() == 1);
  CHECK(view.bgp.speakers[0].public_ip == IpAddr::parse("1.1.1.1"));

  BgpPeerSpec tor;
  tor.name = "tor1";
  tor.remote = Prefix::parse("10.1.0.1/32").value();
  tor.asn = 65001;
  CHECK(apply(put("knet/bgp/peers/tor1", format_bgp_peer(tor), 5, 0)).bgp);
  CHECK_FALSE(apply(put("knet/bgp/peers/tor1", format_bgp_peer(tor), 6, 0)).bgp);
  const auto odd = apply(put("knet/bgp/config", "{", 7, 0));
  CHECK_FALSE(odd.bgp);
  CHECK(odd.problems.size() == 1);
  CHECK_FALSE(apply(put("knet/bgp/peers/tor1", R"({"schema":1,"remote":7})", 8, 0)).bgp);
  CHECK(members.bgp().config.asn == 65010);
  CHECK(members.bgp().peers.size() == 1);
  CHECK(members.problems().size() == 3);

  SECTION("also in a whole listing, while what is not in it is gone") {
    const auto again = replace({put("knet/bgp/config", "{", 7, 0), put("knet/specs/n3", asn_of("n3", 7), 9, 0)}, 10);
    CHECK(again.bgp);
    CHECK(members.bgp().config.asn == 65010);
    CHECK(members.bgp().peers.empty());
    CHECK(members.bgp().speakers.empty());
    REQUIRE(members.bgp().specs.size() == 1);
    CHECK(members.bgp().specs[0].node == "n3");
    CHECK(members.problems().size() == 1);
    CHECK_FALSE(replace({put("knet/bgp/config", "{", 7, 0), put("knet/specs/n3", asn_of("n3", 7), 9, 0)}, 11).bgp);
  }
  SECTION("what is deleted is as never set") {
    CHECK(apply(del("knet/bgp/config", 9)).bgp);
    CHECK(apply(del("knet/specs/n2", 9)).bgp);
    CHECK(apply(del("knet/bgp/peers/tor1", 9)).bgp);
    CHECK(apply(del("knet/speakers/rr1", 9)).bgp);
    CHECK_FALSE(apply(del("knet/speakers/rr1", 10)).bgp);
    CHECK(members.bgp() == BgpView{});
  }
}

TEST_CASE_METHOD(Fixture, "a peer's name is its lease holder's, though its presence be gone") {
  replace({put("subnets/10.5.2.0-24", host_gw("1.1.1.2"), 2, 7), put("subnets/10.5.3.0-24", host_gw("1.1.1.3"), 2, 8),
           put("subnets/10.5.10.0-24", host_gw("1.1.1.10"), 2, 9),
           put("knet/holders/10.5.2.0-24", node("n2", "10.5.2.0/24"), 2, 7),
           put("knet/holders/10.5.10.0-24", node("n10", "10.5.10.0/24"), 2, 9),
           put("knet/holders/10.5.3.0-24", node("before", "10.5.3.0/24"), 2, 6),  // under another lease: an earlier one
           put("knet/nodes/n3", node("n3", "10.5.3.0/24"), 4)},
          6);
  ClusterView view;
  members.fill(view);
  CHECK(view.names == Lines{"n2", "n3", "n10"});
  CHECK(apply(del("knet/nodes/n3", 7)).nodes);
  CHECK(apply(put("knet/holders/10.5.2.0-24", node("n2b", "10.5.2.0/24"), 8, 7)).bgp);
  CHECK(apply(del("knet/holders/10.5.10.0-24", 9)).bgp);
  members.fill(view);
  CHECK(view.names == Lines{"n2b", "1.1.1.3", "1.1.1.10"});
}
