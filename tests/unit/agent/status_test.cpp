#include "agent/status.h"

#include <catch2/catch.hpp>

#include "base/error.h"

using namespace knet;

namespace {

StatusSnapshot sample() {
  StatusSnapshot s;
  s.node = "n1";
  s.version = "1.0.0";
  s.pid = 4711;
  s.since = 1768226551;
  s.at = 1768226600;
  s.store = "http://192.168.77.1:2379";
  s.store_connected = true;
  s.from_cache = false;
  s.store_since = 1768226552;
  s.store_error = "connection refused";
  s.revision = 812;
  s.mode = "vxlan";
  s.network = "10.244.0.0/16";
  s.subnet = "10.244.1.0/24";
  s.address = "192.168.77.1";
  s.uplink = "eth0";
  s.mtu_v4 = 1450;
  s.lease_until = 1768312951;
  s.peers = 2;
  s.peers_silent = 1;
  s.pods = 3;
  s.objects = 17;
  s.failing = 1;
  s.wanted = {{"link", 1}, {"route", 4}};
  s.ready = false;
  s.unready = {"link knet.1: operation not supported"};
  s.degraded = {"n3 gives no sign of life"};
  s.problems = {"subnets/10.5.x: not a subnet key"};
  s.notices = {"n3 is not on link"};
  s.foreign = {"route 10.244.9.0/24 via 10.9.0.1 proto bird"};
  s.fought_over = {"route 10.244.2.0/24"};
  s.failures = {{"link knet.1", "operation not supported"}};
  s.turns = 9;
  s.applied = 20;
  s.repairs = 2;
  s.failed_ops = 3;
  s.first_route_seconds = 0.042;
  s.last_turn_ms = 3;
  return s;
}

}  // namespace

TEST_CASE("a status is read as it was written") { CHECK(parse_status(format_status(sample())) == sample()); }

TEST_CASE("an empty status too") { CHECK(parse_status(format_status(StatusSnapshot{})) == StatusSnapshot{}); }

TEST_CASE("a newer status is read as far as it is known") {
  const StatusSnapshot s =
      parse_status(R"({"schema":7,"node":"n1","peers":"many","store":{"where":"x","planets":3},"new":[1]})");
  CHECK(s.schema == 7);
  CHECK(s.node == "n1");
  CHECK(s.store == "x");
  CHECK(s.peers == 0);
}

TEST_CASE("what is no status is refused") {
  CHECK_THROWS_AS(parse_status("nonsense"), Error);
  CHECK_THROWS_AS(parse_status("[]"), Error);
  CHECK_THROWS_AS(parse_routes("{}"), Error);
  CHECK_THROWS_AS(parse_routes(R"({"routes":[{"destination":"x"}]})"), Error);
}

TEST_CASE("text that is not UTF-8 does not stop a status") {
  StatusSnapshot s = sample();
  s.problems = {"subnets/\xff\xfe: not a subnet key"};
  CHECK(parse_status(format_status(s)).problems.size() == 1);
}

TEST_CASE("rows are read as they were written") {
  RouteRow row;
  row.dst = Prefix::parse("10.244.3.0/24").value();
  row.via = IpAddr::parse("10.244.3.0").value();
  row.dev = "knet.1";
  row.mode = "vxlan";
  row.node = "n3";
  row.source = "lease";
  row.state = RowState::pending;
  row.why = "fdb: no buffer space; retry in 1s";
  row.since = 1768226551;
  row.mtu = 1450;
  row.onlink = true;
  row.part_nexthop = "ok";
  row.part_neighbor = "ok";
  row.part_fdb = "missing";
  RouteRow own;
  own.dst = Prefix::parse("fd10::/64").value();
  own.dev = "blackhole";
  own.metric = 65535;
  row.others = {{DevName("eth1"), IpAddr::parse("10.9.0.7").value(), true}, {DevName("eth2"), {}, false}};
  const auto rows = parse_routes(format_routes("n1", {row, own}));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].dst == row.dst);
  CHECK(rows[0].others == row.others);
  CHECK(rows[1].others.empty());
  CHECK(rows[0].via == row.via);
  CHECK(rows[0].dev == row.dev);
  CHECK(rows[0].mode == row.mode);
  CHECK(rows[0].node == row.node);
  CHECK(rows[0].source == row.source);
  CHECK(rows[0].state == row.state);
  CHECK(rows[0].why == row.why);
  CHECK(rows[0].since == row.since);
  CHECK(rows[0].mtu == row.mtu);
  CHECK(rows[0].onlink);
  CHECK(rows[0].part_fdb == "missing");
  CHECK_FALSE(rows[1].via);
  CHECK(rows[1].metric == 65535);
  CHECK(rows[1].since == 0);
}

TEST_CASE("metrics are Prometheus text, with labels escaped") {
  StatusSnapshot s = sample();
  s.node = "n\"1\\";
  const std::string text = format_metrics(s);
  CHECK(text.find("knet_info{node=\"n\\\"1\\\\\",version=\"1.0.0\",mode=\"vxlan\",subnet=\"10.244.1.0/24\"} 1\n") !=
        std::string::npos);
  CHECK(text.find("# TYPE knet_ready gauge\nknet_ready 0\n") != std::string::npos);
  CHECK(text.find("knet_objects{kind=\"route\"} 4\n") != std::string::npos);
  CHECK(text.find("# TYPE knet_repairs_total counter\nknet_repairs_total 2\n") != std::string::npos);
  CHECK(text.back() == '\n');
}

TEST_CASE("what the modes' services count: counters and gauges have their own names and types") {
  StatusSnapshot status;
  status.mode_counters = {{"bgp_messages{direction=\"in\"}", 7}, {"bgp_messages{direction=\"out\"}", 8}};
  status.mode_gauges = {{"bgp_peers{state=\"established\"}", 3}};
  const std::string text = format_metrics(status);
  CHECK_THAT(text, Catch::Contains("# TYPE knet_bgp_messages_total counter\nknet_bgp_messages_total{direction=\"in\"} 7\n"
                                   "knet_bgp_messages_total{direction=\"out\"} 8\n"));
  CHECK_THAT(text, Catch::Contains("# TYPE knet_bgp_peers gauge\nknet_bgp_peers{state=\"established\"} 3\n"));
  CHECK(parse_status(format_status(status)).mode_gauges == status.mode_gauges);
}
