#include "core/selector.h"

#include <catch2/catch.hpp>

#include "base/error.h"

using namespace knet;

namespace {
const Labels kNode = {{"gpu", ""}, {"rack", "a"}, {"zone", "east-1"}};
bool says(std::string_view text) { return Selector(text).matches(kNode); }
std::string refused(std::string_view text) {
  try {
    Selector selector(text);
  } catch (const Error& error) {
    return error.text;
  }
  return "";
}
}  // namespace

TEST_CASE("selector: tests of one label") {
  CHECK(says(""));
  CHECK(says("all()"));
  CHECK(says("has(gpu)"));
  CHECK_FALSE(says("has(role)"));
  CHECK(says("!has(role)"));
  CHECK(says("rack == 'a'"));
  CHECK(says("rack==\"a\""));
  CHECK_FALSE(says("rack == 'b'"));
  CHECK(says("rack != 'b'"));
  CHECK(says("role != 'x'"));  // true without the label
  CHECK_FALSE(says("role == 'x'"));
  CHECK(says("rack in {'b', 'a'}"));
  CHECK_FALSE(says("rack not in {'a','b'}"));
  CHECK(says("role not in {'a'}"));
  CHECK(says("zone contains 'ast'"));
  CHECK(says("zone starts with 'east'"));
  CHECK_FALSE(says("zone ends with 'east'"));
  CHECK(says("gpu == ''"));
}

TEST_CASE("selector: && binds more strongly than ||, and ! most") {
  CHECK(says("has(gpu) || has(x) && has(y)"));
  CHECK_FALSE(says("(has(gpu) || has(x)) && has(y)"));
  CHECK_FALSE(says("!has(gpu) && has(rack)"));
  CHECK(says("!(has(gpu) && has(y))"));
  // A label whose name begins like a word of the language.
  CHECK(Selector("index == '1'").matches({{"index", "1"}}));
  CHECK(Selector("all == '1'").matches({{"all", "1"}}));
}

TEST_CASE("selector: one spelling, that means the same") {
  CHECK(Selector("").str() == "all()");
  CHECK(Selector("( rack=='a' )&&(has(x)||!( gpu!='1' && has(y)))").str() ==
        "rack == 'a' && (has(x) || !(gpu != '1' && has(y)))");
  for (const char* text : {"a in {'y', 'x', 'x'}", "a not in {'x'} || b == \"it's\"", "c contains 'd' && e ends with 'f'"}) {
    const std::string once = Selector(text).str();
    CHECK(Selector(once).str() == once);
  }
  CHECK(Selector("a in {'y', 'x', 'x'}").str() == "a in {'x', 'y'}");
}

TEST_CASE("selector: what is wrong is named with its place") {
  CHECK(refused("rack = 'a'") ==
        "selector \"rack = 'a'\": ==, !=, in, not in, contains, starts with or ends with expected at \"= 'a'\"");
  CHECK(refused("rack == a") == "selector \"rack == a\": a value in quotes, like 'a', expected at \"a\"");
  CHECK(refused("rack == 'a") == "selector \"rack == 'a\": a closing quote for what begins expected at \"'a\"");
  CHECK(refused("has(a") == "selector \"has(a\": ) expected at its end");
  CHECK(refused("has(a) has(b)") == "selector \"has(a) has(b)\": &&, || or the end expected at \"has(b)\"");
  CHECK_FALSE(refused("&&").empty());
  CHECK_FALSE(refused("a in {}").empty());
  CHECK_FALSE(refused(std::string(1025, 'a')).empty());
  CHECK_FALSE(refused(std::string(40, '(') + "has(a)" + std::string(40, ')')).empty());
  CHECK_FALSE(refused(std::string(500, '!') + "has(a)").empty());
}

TEST_CASE("labels") {
  CHECK(parse_label("rack=a") == std::pair<std::string, std::string>("rack", "a"));
  CHECK(parse_label("gpu=") == std::pair<std::string, std::string>("gpu", ""));
  for (const char* text : {"rack", "=a", "ra ck=a", "rack=a b"}) CHECK_THROWS_AS(parse_label(text), Error);
}
