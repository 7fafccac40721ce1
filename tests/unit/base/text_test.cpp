#include "base/text.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace knet;
using namespace std::chrono_literals;
using namespace std::string_literals;
using Pieces = std::vector<std::string_view>;

TEST_CASE("split keeps empty pieces, but nothing has none") {
  CHECK(split("", ',').empty());
  CHECK(split("a", ',') == Pieces{"a"});
  CHECK(split("a,,b", ',') == Pieces{"a", "", "b"});
  CHECK(split(",a,", ',') == Pieces{"", "a", ""});
  CHECK(split(",", ',') == Pieces{"", ""});
}

TEST_CASE("trim, lower, compare and join") {
  CHECK(trim(" \t a b\r\n") == "a b");
  CHECK(trim(" \n").empty());
  CHECK(lower("Host-GW\xC3") == "host-gw\xC3");
  CHECK(equals_ignoring_case("VXLAN", "vxlan"));
  CHECK_FALSE(equals_ignoring_case("vxlan", "vxlan6"));
  CHECK_FALSE(equals_ignoring_case("@", "`"));  // 32 apart, but no letters
  const std::vector<std::string> words{"a", "", "c"};
  CHECK(join(words, ", ") == "a, , c");
  CHECK(join({}, ", ").empty());
}

TEST_CASE("integers are whole, decimal and in range") {
  CHECK(parse_int("0") == 0);
  CHECK(parse_int("-17") == -17);
  CHECK(parse_int("9223372036854775807") == INT64_MAX);
  CHECK(parse_int("-9223372036854775808") == INT64_MIN);
  for (const std::string& text :
       {""s, "-"s, "+1"s, " 1"s, "1 "s, "0x10"s, "1.0"s, "9223372036854775808"s, "--1"s, "1\0"s}) {
    CAPTURE(text);
    CHECK_FALSE(parse_int(text));
  }
}

TEST_CASE("booleans") {
  for (const char* text : {"true", "YES", "on", "1"}) CHECK(parse_bool(text) == true);
  for (const char* text : {"false", "No", "off", "0"}) CHECK(parse_bool(text) == false);
  for (const char* text : {"", "2", "tru", "enable"}) CHECK_FALSE(parse_bool(text));
}

TEST_CASE("durations") {
  CHECK(parse_duration("90") == 90s);
  CHECK(parse_duration("90s") == 90s);
  CHECK(parse_duration("5m") == 5min);
  CHECK(parse_duration("2h") == 2h);
  CHECK(parse_duration("1500ms") == 1500ms);
  CHECK(parse_duration("0") == 0ms);
  CHECK(parse_duration("9223372036854775807ms") == std::chrono::milliseconds(INT64_MAX));
  for (const char* text : {"", "s", "-1", "-1s", "+1s", "1.5s", "1 s", "1S", "1h30m", "5x",
                           "9223372036854775807s", "99999999999999999999", "9223372036854775808ms"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_duration(text));
  }
}

TEST_CASE("ages for people") {
  CHECK(format_age(-5s) == "0s");
  CHECK(format_age(0s) == "0s");
  CHECK(format_age(59s) == "59s");
  CHECK(format_age(60s) == "1m");
  CHECK(format_age(59min + 59s) == "59m");
  CHECK(format_age(23h + 59min) == "23h");
  CHECK(format_age(24h) == "1d");
  CHECK(format_age(24h * 400) == "400d");
}

TEST_CASE("times are RFC 3339") {
  // date -u -d @1768226551
  const auto time = std::chrono::system_clock::time_point(1768226551s);
  CHECK(format_time(time) == "2026-01-12T14:02:31Z");
  CHECK(format_time(time + 999ms) == "2026-01-12T14:02:31Z");
  CHECK(format_time(std::chrono::system_clock::time_point(-1ms)) == "1969-12-31T23:59:59Z");
  CHECK(parse_time("2026-01-12T14:02:31Z") == time);
  CHECK(parse_time("2026-01-12t14:02:31z") == time);
  CHECK(parse_time("2026-01-12T14:02:31.25Z") == time + 250ms);
  CHECK(parse_time("2026-01-12T14:02:31.0000000009Z") == time);
  CHECK(parse_time("2026-01-12T16:02:31+02:00") == time);
  CHECK(parse_time("2026-01-12T08:32:31-05:30") == time);
  CHECK(parse_time("2024-02-29T00:00:00Z"));
  CHECK(format_time(*parse_time("2016-12-31T23:59:60Z")) == "2017-01-01T00:00:00Z");
  for (const char* text :
       {"", "2026-01-12", "2026-01-12T14:02:31", "2026-01-12 14:02:31Z", "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-12T24:00:00Z",
        "2026-01-12T14:60:00Z", "2026-01-12T14:02:61Z", "2026-01-12T14:02:31.Z", "2026-01-12T14:02:31Zx",
        "2026-01-12T14:02:31+2:00", "2026-01-12T14:02:31+24:00", "-026-01-12T14:02:31Z",
        "9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_time(text));
  }
}

TEST_CASE("the nearest word is a slip of the finger away") {
  const std::vector<std::string> modes{"vxlan", "host-gw", "alloc", "ipip", "udp", "bgp"};
  CHECK(nearest("vxlna", modes) == "vxlan");
  CHECK(nearest("VXLAM", modes) == "vxlan");
  CHECK(nearest("hostgw", modes) == "host-gw");
  CHECK(nearest("host_gw", modes) == "host-gw");
  CHECK(nearest("ipiip", modes) == "ipip");
  CHECK(nearest("udo", modes) == "udp");
  CHECK_FALSE(nearest("ub", modes));  // one of two letters is no slip
  CHECK_FALSE(nearest("wireguard", modes));
  CHECK_FALSE(nearest("vxyyy", modes));  // three off
  CHECK_FALSE(nearest("", modes));
  CHECK_FALSE(nearest("x", {}));
  CHECK_FALSE(nearest(std::string(100'000, 'v'), modes));
  const std::vector<std::string> close{"routes", "route"};
  CHECK(nearest("rotue", close) == "route");
}

TEST_CASE("hostile text becomes printable and short") {
  CHECK(printable("plain 'text'") == "plain 'text'");
  CHECK(printable("a\nb\tc\r\x1b[31m\x7f"s + '\0') == "a\\nb\\tc\\r\\x1b[31m\\x7f\\x00");
  CHECK(printable("\xC3\xA9") == "\\xc3\\xa9");
  CHECK(printable("abcdef", 6) == "abcdef");
  CHECK(printable("abcdefg", 6) == "abcdef...");
  CHECK(printable("abcd\x01", 6) == "abcd...");  // an escape is never cut in two
}
