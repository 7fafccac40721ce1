#include "base/ip.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

using namespace knet;
using namespace std::string_literals;

template <>
struct Catch::StringMaker<IpAddr> {
  static std::string convert(const IpAddr& value) { return value.str(); }
};
template <>
struct Catch::StringMaker<Prefix> {
  static std::string convert(const Prefix& value) { return value.str(); }
};

namespace {

IpAddr ip(std::string_view text) {
  const auto parsed = IpAddr::parse(text);
  REQUIRE(parsed);
  return *parsed;
}

Prefix prefix(std::string_view text) {
  const auto parsed = Prefix::parse(text);
  REQUIRE(parsed);
  return *parsed;
}

}  // namespace

TEST_CASE("addresses are read and written in their canonical text") {
  for (const char* text : {"0.0.0.0", "10.244.1.7", "255.255.255.255", "::", "::1", "fd00:10:244::1",
                           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:10.0.0.1"}) {
    CHECK(ip(text).str() == text);
  }
  CHECK(ip("FD00:0:0:0:0:0:0:A").str() == "fd00::a");
  CHECK(ip("10.0.0.1") == IpAddr::v4(0x0a000001));
  CHECK(ip("10.0.0.1").v4_value() == 0x0a000001);
  CHECK(IpAddr::from_bytes(Family::v4, ip("10.1.2.3").data()) == ip("10.1.2.3"));
  CHECK(IpAddr::from_bytes(Family::v6, ip("fd00::5").data()) == ip("fd00::5"));
}

TEST_CASE("what is not exactly one address is refused") {
  for (const std::string& text : {""s,
                                  "10.0.0"s,
                                  "10.0.0.256"s,
                                  "10.0.0.1 "s,
                                  " 10.0.0.1"s,
                                  "010.0.0.1"s,
                                  "0x0a.0.0.1"s,
                                  "10.0.0.1/24"s,
                                  "-1.0.0.1"s,
                                  "10.0.0.1\0"s,
                                  "10.0.0.1\0.5"s,
                                  ":"s,
                                  ":::"s,
                                  "1::2::3"s,
                                  "fe80::1%eth0"s,
                                  "[::1]"s,
                                  "::g"s,
                                  "::1\0"s,
                                  std::string(200, '1'),
                                  std::string(45, ':'),
                                  std::string(46, '1')}) {
    CAPTURE(text);
    CHECK_FALSE(IpAddr::parse(text));
  }
}

TEST_CASE("an address that was never set is told from the unspecified ones") {
  CHECK_FALSE(IpAddr{});
  CHECK(IpAddr{}.str() == "-");
  CHECK(IpAddr{}.bits() == 0);
  CHECK_FALSE(IpAddr{}.is_unspecified());
  CHECK(IpAddr{}.plus(1) == IpAddr{});
  CHECK(ip("0.0.0.0"));
  CHECK(ip("0.0.0.0").is_unspecified());
  CHECK(ip("::").is_unspecified());
  CHECK_FALSE(ip("0.0.0.0") == ip("::"));
}

TEST_CASE("addresses know their scope") {
  CHECK(ip("127.3.2.1").is_loopback());
  CHECK(ip("::1").is_loopback());
  CHECK_FALSE(ip("::2").is_loopback());
  CHECK_FALSE(ip("1::1").is_loopback());
  CHECK(ip("169.254.1.1").is_link_local());
  CHECK_FALSE(ip("169.253.1.1").is_link_local());
  CHECK(ip("febf::1").is_link_local());
  CHECK_FALSE(ip("fec0::1").is_link_local());
  CHECK(ip("239.0.0.1").is_multicast());
  CHECK_FALSE(ip("240.0.0.1").is_multicast());
  CHECK(ip("ff02::1").is_multicast());
}

TEST_CASE("plus carries over every byte and wraps in its family") {
  CHECK(ip("10.0.0.255").plus(1) == ip("10.0.1.0"));
  CHECK(ip("10.255.255.255").plus(1) == ip("11.0.0.0"));
  CHECK(ip("255.255.255.255").plus(2) == ip("0.0.0.1"));
  CHECK(ip("0.0.0.0").plus(0x1'0000'0000) == ip("0.0.0.0"));
  CHECK(ip("fd00::ffff").plus(1) == ip("fd00::1:0"));
  CHECK(ip("fd00::ffff:ffff:ffff:ffff").plus(1) == ip("fd00:0:0:1::"));
  CHECK(ip("fd00::1").plus(~uint64_t{0}) == ip("fd00:0:0:1::"));
  CHECK(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").plus(1) == ip("::"));
}

TEST_CASE("plus_shifted walks blocks of every width") {
  CHECK(ip("10.244.0.0").plus_shifted(3, 8) == ip("10.244.3.0"));
  CHECK(ip("10.244.255.0").plus_shifted(1, 8) == ip("10.245.0.0"));
  CHECK(ip("10.0.0.0").plus_shifted(1, 32) == ip("10.0.0.0"));
  CHECK(ip("128.0.0.0").plus_shifted(1, 31) == ip("0.0.0.0"));
  CHECK(ip("fd00::").plus_shifted(5, 64) == ip("fd00:0:0:5::"));
  CHECK(ip("fd00::").plus_shifted(0x12345, 72) == ip("fd00:0:123:4500::"));
  CHECK(ip("fd00::").plus_shifted(0x1'0001, 56) == ip("fd00:0:0:100:100::"));
  CHECK(ip("fd00:0:0:0:ffff::").plus_shifted(1, 48) == ip("fd00:0:0:1::"));
  CHECK(ip("::").plus_shifted(1, 127) == ip("8000::"));
  CHECK(ip("::5").plus_shifted(1, 128) == ip("::5"));
}

TEST_CASE("prefixes are read and written") {
  for (const char* text :
       {"0.0.0.0/0", "10.244.1.0/24", "10.0.0.7/8", "10.0.0.1/32", "::/0", "fd00:10::/56", "::1/128"}) {
    CHECK(prefix(text).str() == text);
  }
  CHECK_FALSE(Prefix{});
  CHECK(Prefix{}.str() == "-");
}

TEST_CASE("what is not exactly one prefix is refused") {
  for (const std::string& text : {""s,
                                  "/"s,
                                  "/24"s,
                                  "10.0.0.0"s,
                                  "10.0.0.0/"s,
                                  "10.0.0.0/33"s,
                                  "10.0.0.0/-0"s,
                                  "10.0.0.0/-1"s,
                                  "10.0.0.0/+8"s,
                                  "10.0.0.0/08"s,
                                  "10.0.0.0/00"s,
                                  "10.0.0.0/8 "s,
                                  "10.0.0.0/ 8"s,
                                  "10.0.0.0/8/8"s,
                                  "10.0.0.0/0x8"s,
                                  "10.0.0.0/256"s,
                                  "10.0.0.0/264"s,
                                  "10.0.0.0/99999999999"s,
                                  "::/129"s,
                                  "fd00::/"s,
                                  "10.0.0/8"s,
                                  "10.0.0.0\0/8"s}) {
    CAPTURE(text);
    CHECK_FALSE(Prefix::parse(text));
  }
}

TEST_CASE("a length outside the family is brought to its nearer end") {
  CHECK(Prefix(ip("10.0.0.1"), 200).length() == 32);
  CHECK(Prefix(ip("10.0.0.1"), -1).length() == 0);
  CHECK(Prefix(ip("10.0.0.1"), 264).length() == 32);
  CHECK(Prefix(ip("::1"), 129).length() == 128);
  CHECK(Prefix(IpAddr{}, 24) == Prefix{});
}

TEST_CASE("masked and last at every length agree with the number") {
  const uint32_t value = 0xac1f'5aa5;
  for (int length = 0; length <= 32; ++length) {
    const uint32_t mask = length == 0 ? 0 : ~uint32_t{0} << (32 - length);
    const Prefix block(IpAddr::v4(value), length);
    CAPTURE(length);
    CHECK(block.masked().addr() == IpAddr::v4(value & mask));
    CHECK(block.last() == IpAddr::v4(value | ~mask));
    CHECK(block.contains(IpAddr::v4(value & mask)));
    CHECK(block.contains(block.last()));
    if (length > 0) {
      CHECK_FALSE(block.contains(block.last().plus(1)));
      CHECK_FALSE(block.contains(IpAddr::v4((value & mask) - 1)));
    }
  }
  CHECK(prefix("fd00:1234:5678:9abc::1/52").masked() == prefix("fd00:1234:5678:9000::/52"));
  CHECK(prefix("fd00::/63").last() == ip("fd00::1:ffff:ffff:ffff:ffff"));
  CHECK(prefix("::1/128").last() == ip("::1"));
}

TEST_CASE("contains and overlaps on odd lengths and across families") {
  const Prefix block = prefix("10.244.2.0/23");
  CHECK(block.contains(ip("10.244.3.255")));
  CHECK_FALSE(block.contains(ip("10.244.4.0")));
  CHECK_FALSE(block.contains(ip("10.244.1.255")));
  CHECK(block.contains(prefix("10.244.3.0/24")));
  CHECK(block.contains(block));
  CHECK_FALSE(block.contains(prefix("10.244.2.0/22")));
  CHECK(block.overlaps(prefix("10.244.0.0/16")));
  CHECK_FALSE(block.overlaps(prefix("10.244.0.0/23")));
  CHECK(prefix("0.0.0.0/0").contains(ip("255.1.2.3")));
  CHECK_FALSE(prefix("0.0.0.0/0").contains(ip("::")));
  CHECK_FALSE(prefix("::/0").contains(ip("1.2.3.4")));
  CHECK(prefix("10.0.0.9/24").contains(ip("10.0.0.200")));  // host bits don't matter
}

TEST_CASE("a prefix that was never set holds nothing and is no host") {
  CHECK_FALSE(Prefix{}.contains(ip("0.0.0.0")));
  CHECK_FALSE(Prefix{}.contains(IpAddr{}));
  CHECK_FALSE(Prefix{}.contains(Prefix{}));
  CHECK_FALSE(Prefix{}.overlaps(prefix("0.0.0.0/0")));
  CHECK_FALSE(prefix("0.0.0.0/0").contains(IpAddr{}));
  CHECK_FALSE(Prefix{}.is_host());
  CHECK(Prefix{}.masked() == Prefix{});
  CHECK(Prefix::host(ip("10.0.0.1")).is_host());
  CHECK(Prefix::host(ip("::1")).str() == "::1/128");
  CHECK(prefix("10.0.0.0/24").is_masked());
  CHECK_FALSE(prefix("10.0.0.1/24").is_masked());
}

TEST_CASE("order is by family, then bytes, then length") {
  const std::vector<Prefix> sorted{Prefix{},
                                   prefix("9.0.0.0/8"),
                                   prefix("10.0.0.0/8"),
                                   prefix("10.0.0.0/24"),
                                   prefix("10.0.1.0/24"),
                                   prefix("200.0.0.0/8"),
                                   prefix("::/0"),
                                   prefix("fd00::/8")};
  std::vector<Prefix> shuffled(sorted.rbegin(), sorted.rend());
  std::sort(shuffled.begin(), shuffled.end());
  CHECK(shuffled == sorted);
  CHECK(ip("255.255.255.255") < ip("::"));
}

TEST_CASE("hardware addresses") {
  const auto mac = Mac::parse("EE:ee:0a:00:fF:09");
  REQUIRE(mac);
  CHECK(mac->str() == "ee:ee:0a:00:ff:09");
  CHECK(Mac::parse("ee-ee-0a-00-ff-09") == mac);
  CHECK(Mac::parse("00:00:00:00:00:00")->is_zero());
  CHECK_FALSE(mac->is_zero());
  for (const std::string& text :
       {""s, "ee:ee:0a:00:ff"s, "ee:ee:0a:00:ff:0"s, "ee:ee:0a:00:ff:0g"s, "ee:ee:0a-00:ff:09"s,
        "ee ee 0a 00 ff 09"s, "ee:ee:-a:00:ff:09"s, "ee:ee:+a:00:ff:09"s, "ee:ee:0x:00:ff:09"s,
        "ee:ee:0a:00:ff:090"s, " e:ee:0a:00:ff:09"s}) {
    CAPTURE(text);
    CHECK_FALSE(Mac::parse(text));
  }
}
