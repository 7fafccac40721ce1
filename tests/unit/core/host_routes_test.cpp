#include "core/host_routes.h"

#include <catch2/catch.hpp>

#include <algorithm>

#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

namespace {

Route foreign(const std::string& dst, const std::string& device, const std::string& via = "", uint8_t protocol = 4) {
  Route made = route(dst, device, via);
  made.protocol = protocol;
  return made;
}

}  // namespace

TEST_CASE("host routes are the host's own, alive, outside of the cluster") {
  Observed seen;
  seen.net.links = {nic("eth0"), nic("eth1"), nic("eth2", false)};
  Route dead = foreign("10.3.0.0/16", "eth1", "192.168.78.9");
  dead.dead = true;
  Route other_table = foreign("10.4.0.0/16", "eth0", "192.168.77.9");
  other_table.table = 99;
  Route nothing = blackhole("10.5.0.0/16");
  nothing.protocol = 4;
  seen.net.routes = {
      foreign("0.0.0.0/0", "eth0", "192.168.77.254", 16),
      foreign("192.168.77.0/24", "eth0", "", 2),
      with_hop(foreign("10.1.0.0/16", "eth1", "192.168.78.3"), "eth0", "192.168.77.7"),
      foreign("fd00:9::/48", "eth0", "fe80::1"),
      route("10.2.0.0/16", "eth0", "192.168.77.2"),               // ours
      foreign("10.244.7.0/24", "eth0", "192.168.77.7", 12),       // inside the cluster
      foreign("10.240.0.0/12", "eth0", "192.168.77.8"),           // wider than the cluster
      foreign("10.6.0.0/16", "eth2", "192.168.79.1"),             // its device is down
      dead, other_table, nothing};
  sort_by_key(seen.net);
  const auto found = host_routes(seen, {prefix("10.244.0.0/16"), prefix("fd10::/48")});
  std::vector<HostRoute> wanted = {{prefix("0.0.0.0/0"), dev("eth0"), ip("192.168.77.254"), 0},
                                   {prefix("192.168.77.0/24"), dev("eth0"), {}, 0},
                                   {prefix("10.1.0.0/16"), dev("eth0"), ip("192.168.77.7"), 0},
                                   {prefix("10.240.0.0/12"), dev("eth0"), ip("192.168.77.8"), 0},
                                   {prefix("fd00:9::/48"), dev("eth0"), ip("fe80::1"), 1024}};
  std::sort(wanted.begin(), wanted.end());
  CHECK(found == wanted);
}

TEST_CASE("of too many host routes the widest are kept") {
  Observed seen;
  seen.net.links = {nic("eth0")};
  for (int i = 0; i < 6000; ++i)
    seen.net.routes.push_back(
        foreign("20." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ".0/24", "eth0", "192.168.77.9"));
  seen.net.routes.push_back(foreign("99.0.0.0/8", "eth0", "192.168.77.9"));
  seen.net.routes.push_back(foreign("0.0.0.0/0", "eth0", "192.168.77.254"));
  sort_by_key(seen.net);
  const auto found = host_routes(seen, {});
  CHECK(found.size() == kMaxHostRoutes);
  CHECK(std::is_sorted(found.begin(), found.end()));
  for (const char* wide : {"99.0.0.0/8", "0.0.0.0/0"})
    CHECK(std::any_of(found.begin(), found.end(), [&](const HostRoute& r) { return r.dst == prefix(wide); }));
}
