#include "view/route_filter.h"

#include <catch2/catch.hpp>

using namespace knet;

namespace {

RouteRow row(const char* dst, const char* dev, RowState state, int64_t since = 100) {
  RouteRow out;
  out.dst = *Prefix::parse(dst);
  out.dev = dev;
  out.mode = "vxlan";
  out.node = "n2";
  out.source = "lease";
  out.state = state;
  out.since = since;
  return out;
}

}  // namespace

TEST_CASE("a filter lets through what fits each of its lists") {
  const std::vector<RouteRow> rows{row("10.244.2.0/24", "knet.1", RowState::ok), row("10.244.3.0/24", "eth0", RowState::broken)};
  CHECK(pick(rows, {}).size() == 2);
  CHECK(pick(rows, {.states = {"broken", "stale"}, .devs = {}, .nodes = {}}).front().dev == "eth0");
  CHECK(pick(rows, {.states = {}, .devs = {"knet.1"}, .nodes = {"n2"}}).size() == 1);
  CHECK(pick(rows, {.states = {"broken"}, .devs = {"knet.1"}, .nodes = {}}).empty());
}

TEST_CASE("ip -batch text holds the wanted routes and has the others as comments") {
  RouteRow tunnel = row("10.244.2.0/24", "knet.1", RowState::broken);
  tunnel.via = *IpAddr::parse("10.244.2.0");
  tunnel.onlink = true;
  RouteRow own = row("10.244.1.0/24", "blackhole", RowState::ok);
  own.metric = 65535;
  RouteRow foreign = row("10.244.7.0/24", "eth1", RowState::foreign);
  foreign.why = "not ours, left alone";
  CHECK(ip_batch({own, tunnel, foreign}) ==
        "route replace blackhole 10.244.1.0/24 proto 107 metric 65535\n"
        "route replace 10.244.2.0/24 via 10.244.2.0 dev knet.1 proto 107 onlink\n"
        "# foreign 10.244.7.0/24: not ours, left alone\n");
}

TEST_CASE("changes tell what came, went, turned, and what was mended between two looks") {
  const std::vector<RouteRow> before{row("10.244.1.0/24", "knet.1", RowState::ok), row("10.244.2.0/24", "knet.1", RowState::ok),
                                     row("10.244.3.0/24", "knet.1", RowState::ok), row("10.244.4.0/24", "knet.1", RowState::ok)};
  const std::vector<RouteRow> after{row("10.244.1.0/24", "knet.1", RowState::ok), row("10.244.2.0/24", "knet.1", RowState::broken, 160),
                                    row("10.244.4.0/24", "knet.1", RowState::ok, 170), row("10.244.5.0/24", "knet.1", RowState::pending)};
  const std::vector<RowChange> found = changes(before, after);
  REQUIRE(found.size() == 4);
  CHECK(found[0].text() == "ok -> BROKEN");
  CHECK(found[1].row.dst.str() == "10.244.3.0/24");
  CHECK(found[1].text() == "gone");
  CHECK(found[2].text() == "ok, mended meanwhile");
  CHECK(found[3].text() == "new, pending");
  CHECK(changes(after, after).empty());
}

TEST_CASE("two rows of one destination are told apart") {
  RouteRow ours = row("10.244.2.0/24", "knet.1", RowState::ok);
  RouteRow theirs = row("10.244.2.0/24", "eth1", RowState::foreign);
  theirs.source = "bird";
  theirs.metric = 32;
  const auto found = changes({ours}, {ours, theirs});
  REQUIRE(found.size() == 1);
  CHECK(found[0].row.source == "bird");
}

TEST_CASE("several next hops as ip -batch text, and found by each of their devices") {
  RouteRow wide = row("10.244.5.0/24", "eth0", RowState::ok);
  wide.via = *IpAddr::parse("192.168.77.5");
  wide.metric = 50;
  wide.others = {{DevName("eth1"), *IpAddr::parse("10.9.0.7"), true}, {DevName("eth1"), *IpAddr::parse("fe80::7"), false}};
  CHECK(ip_batch({wide}) ==
        "route replace 10.244.5.0/24 proto 107 metric 50 nexthop via 192.168.77.5 dev eth0 "
        "nexthop via 10.9.0.7 dev eth1 onlink nexthop via inet6 fe80::7 dev eth1\n");
  CHECK(pick({wide}, {.states = {}, .devs = {"eth1"}, .nodes = {}}).size() == 1);
  CHECK(pick({wide}, {.states = {}, .devs = {"eth2"}, .nodes = {}}).empty());
}
