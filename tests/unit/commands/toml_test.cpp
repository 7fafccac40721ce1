// knet.toml's syntax: what is taken, and that each mistake names its line.
#include "commands/common/toml.h"

#include <catch2/catch.hpp>

#include "base/error.h"

using namespace knet;
using Catch::Matchers::Contains;

namespace {

std::string message(std::string_view text) {
  try {
    parse_toml(text, "f.toml");
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::config);
    return error.text;
  }
  return "no error";
}

}  // namespace

TEST_CASE("sections, strings, numbers, booleans, arrays, comments") {
  const auto items = parse_toml(
      "\xef\xbb\xbf# all of it\r\n"
      "store = \"http://a:2379\"  # etcd\r\n"
      "\n"
      "[init]\n"
      "subnet-len = 2_4\n"
      "force = true\n"
      "opt = [ 'A=1', # first\n"
      "  \"B=\\\"2\\\"\",\n"
      "]\n"
      "[ agent ]\n"
      "\"iface\" = ''\n"
      "x = -1.5",
      "f.toml");
  REQUIRE(items.size() == 6);
  CHECK(items[0].section.empty());
  CHECK(items[0].key == "store");
  CHECK(items[0].values == std::vector<std::string>{"http://a:2379"});
  CHECK(items[0].line == 2);
  CHECK(items[1].section == "init");
  CHECK(items[1].values == std::vector<std::string>{"24"});
  CHECK(items[2].values == std::vector<std::string>{"true"});
  CHECK(items[3].values == std::vector<std::string>{"A=1", "B=\"2\""});
  CHECK(items[3].line == 7);
  CHECK(items[4].section == "agent");
  CHECK(items[4].key == "iface");
  CHECK(items[4].values == std::vector<std::string>{""});
  CHECK(items[4].line == 11);
  CHECK(items[5].values == std::vector<std::string>{"-1.5"});
}

TEST_CASE("an empty file has nothing") {
  CHECK(parse_toml("", "f").empty());
  CHECK(parse_toml("\n  # only this\n\n", "f").empty());
}

TEST_CASE("each mistake has its line and says what is wrong") {
  CHECK_THAT(message("a = 1\nstore http://x\n"), Contains("f.toml line 2") && Contains("'=' is missing after store"));
  CHECK_THAT(message("store = http://x\n"), Contains("line 1") && Contains("quotes") && Contains("\"http://x\""));
  CHECK_THAT(message("a = \"x\nb = 1\n"), Contains("line 1") && Contains("closing"));
  CHECK_THAT(message("[init\nb = 1\n"), Contains("line 1") && Contains("']'"));
  CHECK_THAT(message("a = 1\n\na = 2\n"), Contains("line 3") && Contains("line 1"));
  CHECK_THAT(message("[x]\n[x]\n"), Contains("line 2") && Contains("twice"));
  CHECK_THAT(message("[[x]]\n"), Contains("line 1"));
  CHECK_THAT(message("a.b = 1\n"), Contains("dotted"));
  CHECK_THAT(message("a = {b = 1}\n"), Contains("inline tables"));
  CHECK_THAT(message("a = [[1]]\n"), Contains("arrays in arrays"));
  CHECK_THAT(message("a = [1\n"), Contains("']'"));
  CHECK_THAT(message("a = [1 2]\n"), Contains("','"));
  CHECK_THAT(message("a = \"\"\"x\"\"\"\n"), Contains("multi-line"));
  CHECK_THAT(message("a = \"\\d\"\n"), Contains("escape") && Contains("\\d"));
  CHECK_THAT(message("a = 1 2\n"), Contains("more text"));
  CHECK_THAT(message("a =\n"), Contains("no value"));
  CHECK_THAT(message("a = 2026-01-01\n"), Contains("quotes"));
  CHECK_THAT(message("= 1\n"), Contains("expected"));
}
