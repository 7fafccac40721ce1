#include "base/json.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"

using namespace knet;

namespace {

std::string refusal(std::string_view text) {
  try {
    const auto parsed = parse_json(text, "config");
    return "parsed: " + parsed.dump();
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::config);
    return error.text;
  }
}

std::string nested(size_t depth, char open, char close) {
  return std::string(depth, open) + std::string(depth, close);
}

}  // namespace

TEST_CASE("whole texts are parsed") {
  CHECK(parse_json(R"( {"Network":"10.244.0.0/16","n":[1,2.5,null,true]} )", "config")["n"][0] == 1);
  CHECK(parse_json("\"\xC3\xA9\"", "x") == "\xC3\xA9");
}

TEST_CASE("a refusal names the text and the place") {
  const std::string text = refusal(R"({"Network": ,})");
  CHECK(text.starts_with("config: not JSON at byte 13: syntax error"));
  CHECK(text.find("json.exception") == std::string::npos);
  for (const char* bad :
       {"", "  ", "{", "{} {}", "{'a':1}", "[1,]", "nul", "\"\xff\"", "// x\n1", "1e999", "\"a\nb\""}) {
    CAPTURE(bad);
    CHECK(refusal(bad).starts_with("config: not JSON"));
  }
}

TEST_CASE("a refusal shows hostile bytes escaped and cut") {
  const std::string text = refusal("[" + std::string(1000, 'x') + "\x1b]");
  CHECK(text.size() < 250);
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(refusal("\"" + std::string(5000, 'y')).size() < 250);
}

TEST_CASE("depth is limited at 64 for arrays, objects and both") {
  CHECK_NOTHROW(parse_json(nested(64, '[', ']'), "config"));
  CHECK(refusal(nested(65, '[', ']')) == "config: JSON nested deeper than 64 levels");
  CHECK(refusal(std::string(1'000'000, '[')) == "config: JSON nested deeper than 64 levels");
  std::string text = "1";
  for (int i = 0; i < 32; ++i) text = "{\"a\":[" + text + "]}";
  CHECK_NOTHROW(parse_json(text, "config"));
  CHECK(refusal("[" + text + "]") == "config: JSON nested deeper than 64 levels");
  CHECK_NOTHROW(
      parse_json("\"" + std::string(100, '[') + "\"", "config"));  // brackets in a string nest nothing
}
