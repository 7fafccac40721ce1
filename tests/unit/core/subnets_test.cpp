#include "core/subnets.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <limits>
#include <random>
#include <set>

#include "tests/unit/core/test_modes.h"

using namespace knet;

namespace {

Prefix prefix(std::string_view text) { return *Prefix::parse(text); }

NetworkConfig config(std::string_view json) { return parse_network_config(json, test::modes()); }

NetworkConfig small() {
  return config(R"({"Network":"10.5.0.0/20","SubnetLen":24,"Backend":{"Type":"vxlan"}})");
}  // 15 subnets

}  // namespace

TEST_CASE("the last free subnet is found whatever the random number") {
  const NetworkConfig net = small();
  REQUIRE(pool_size(net, Family::v4) == 15);
  for (int free = 1; free < 16; ++free) {
    std::vector<Prefix> taken;
    for (int i = 1; i < 16; ++i) {
      if (i != free) taken.push_back(Prefix{IpAddr::v4(0x0a050000u + (static_cast<uint32_t>(i) << 8)), 24});
    }
    CHECK(free_subnets(net, taken, Family::v4) == 1);
    for (uint64_t random : {uint64_t{0}, uint64_t{1}, uint64_t{14}, std::numeric_limits<uint64_t>::max()}) {
      const auto choice = choose_subnet(net, taken, {}, random);
      REQUIRE(choice);
      CHECK(choice->subnet == Prefix{IpAddr::v4(0x0a050000u + (static_cast<uint32_t>(free) << 8)), 24});
      CHECK(fits(net, *choice));
    }
    taken.push_back(Prefix{IpAddr::v4(0x0a050000u + (static_cast<uint32_t>(free) << 8)), 24});
    CHECK_FALSE(choose_subnet(net, taken, {}, 7));
    CHECK(free_subnets(net, taken, Family::v4) == 0);
  }
}

TEST_CASE("a choice never overlaps what is taken, at any length, and every free subnet can come") {
  const NetworkConfig net = small();
  const std::vector<Prefix> taken{prefix("10.5.2.64/26"), prefix("10.5.2.128/25"), prefix("10.5.4.0/22"),
                                  prefix("10.5.12.0/22"), prefix("10.5.14.0/24"),  prefix("10.9.0.0/16"),
                                  prefix("fd00::/64"),    prefix("10.5.1.7/32")};
  CHECK(free_subnets(net, taken, Family::v4) == 15 - 1 - 1 - 4 - 4);
  std::set<std::string> seen;
  for (uint64_t random = 0; random < 500; ++random) {
    const auto choice = choose_subnet(net, taken, {}, random);
    REQUIRE(choice);
    for (const Prefix& other : taken) REQUIRE_FALSE(other.overlaps(choice->subnet));
    seen.insert(choice->subnet.str());
  }
  CHECK(seen == std::set<std::string>{"10.5.3.0/24", "10.5.8.0/24", "10.5.9.0/24", "10.5.10.0/24", "10.5.11.0/24"});
  CHECK_FALSE(choose_subnet(net, std::vector{prefix("0.0.0.0/0")}, {}, 1));
}

TEST_CASE("the preferred subnet is kept if it fits and is free") {
  const NetworkConfig net = small();
  const std::vector<Prefix> taken{prefix("10.5.3.0/24")};
  const auto chosen = [&](std::string_view wanted) {
    return choose_subnet(net, taken, {prefix(wanted), {}}, 3)->subnet.str();
  };
  CHECK(chosen("10.5.9.0/24") == "10.5.9.0/24");
  CHECK(chosen("10.5.3.0/24") != "10.5.3.0/24");
  CHECK(chosen("10.5.0.0/24") != "10.5.0.0/24");  // below SubnetMin
  CHECK(chosen("10.5.9.0/25") != "10.5.9.0/25");
  CHECK(chosen("10.6.9.0/24") != "10.6.9.0/24");
  CHECK_FALSE(fits(net, {prefix("10.5.9.1/24"), {}}));
  CHECK_FALSE(fits(net, {prefix("10.5.9.0/24"), prefix("fd00::/64")}));
  CHECK_FALSE(fits(net, {}));
}

TEST_CASE("pools that can't be enumerated") {
  const NetworkConfig net = config(
      R"({"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"2001:db8::/8","IPv6SubnetLen":126,"Backend":{"Type":"vxlan"}})");
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  CHECK(pool_size(net, Family::v6) == kMost);
  CHECK(free_subnets(net, {}, Family::v6) == kMost);
  CHECK(pool_size(net, Family::v4) == 0);
  // All but one subnet in the middle, said in prefixes of every length.
  const Prefix hole = prefix("20ab:cdef:1234:5678:9abc:def0:1234:5678/126").masked();
  std::vector<Prefix> taken{Prefix{net.subnet_min6, 126}};
  for (int length = 9; length <= 126; ++length) {
    IpAddr sibling = hole.addr();
    sibling.data()[(length - 1) / 8] ^= static_cast<uint8_t>(0x80 >> ((length - 1) % 8));
    taken.push_back(Prefix{sibling, length}.masked());
  }
  CHECK(free_subnets(net, taken, Family::v6) == 1);
  for (uint64_t random : {uint64_t{0}, uint64_t{12345}, std::numeric_limits<uint64_t>::max()}) {
    CHECK(choose_subnet(net, taken, {}, random)->subnet6 == hole);
  }
  taken.push_back(hole);
  CHECK_FALSE(choose_subnet(net, taken, {}, 5));
  std::set<Prefix> seen;
  for (uint64_t random = 0; random < 100; ++random) seen.insert(choose_subnet(net, {}, {}, random)->subnet6);
  CHECK(seen.size() == 100);
}

TEST_CASE("dual stack: each family by itself; one exhausted pool is none") {
  const NetworkConfig net = config(
      R"({"Network":"10.5.0.0/20","EnableIPv6":true,"IPv6Network":"fd00:5::/60","IPv6SubnetLen":64,"Backend":{"Type":"vxlan"}})");
  const auto choice = choose_subnet(net, {}, {prefix("10.5.2.0/24"), prefix("fd00:5:0:7::/64")}, 9);
  REQUIRE(choice);
  CHECK(choice->subnet.str() == "10.5.2.0/24");
  CHECK(choice->subnet6.str() == "fd00:5:0:7::/64");
  CHECK(fits(net, *choice));
  CHECK_FALSE(choose_subnet(net, std::vector{prefix("fd00:5::/60")}, {prefix("10.5.2.0/24"), {}}, 9));
}

TEST_CASE("a pool of 65,536 with 30,000 taken takes milliseconds") {
  const NetworkConfig net =
      config(R"({"Network":"10.0.0.0/8","SubnetLen":24,"SubnetMin":"10.0.0.0","Backend":{"Type":"vxlan"}})");
  std::vector<Prefix> taken;
  for (uint32_t i = 0; i < 30000; ++i) taken.push_back(Prefix{IpAddr::v4(0x0a000000u + (i * 2 << 8)), 24});
  std::shuffle(taken.begin(), taken.end(), std::mt19937{7});
  const auto start = std::chrono::steady_clock::now();
  CHECK(free_subnets(net, taken, Family::v4) == 35536);
  const auto choice = choose_subnet(net, taken, {}, 123456789);
  const auto spent =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
  REQUIRE(choice);
  CHECK(std::find(taken.begin(), taken.end(), choice->subnet) == taken.end());
  INFO("ms: " << spent);
#ifndef KNET_SANITIZED
  CHECK(spent < 200);  // 9 ms on a busy machine
#endif
}
