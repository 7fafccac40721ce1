#include "base/base64.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <utility>

using namespace knet;
using namespace std::string_literals;

TEST_CASE("the vectors of RFC 4648 section 10 go both ways") {
  const std::array<std::pair<std::string, std::string>, 7> vectors{{{"", ""},
                                                                    {"f", "Zg=="},
                                                                    {"fo", "Zm8="},
                                                                    {"foo", "Zm9v"},
                                                                    {"foob", "Zm9vYg=="},
                                                                    {"fooba", "Zm9vYmE="},
                                                                    {"foobar", "Zm9vYmFy"}}};
  for (const auto& [bytes, text] : vectors) {
    CHECK(base64_encode(bytes) == text);
    CHECK(base64_decode(text) == bytes);
  }
}

TEST_CASE("every byte value at every position survives") {
  std::string bytes;
  for (int shift = 0; shift < 3; ++shift) {
    for (int value = 0; value < 256; ++value) bytes += static_cast<char>(value);
    bytes += 'x';
    CHECK(base64_decode(base64_encode(bytes)) == bytes);
  }
  CHECK(base64_encode("\xfb\xff\xbf") == "+/+/");
}

TEST_CASE("what is not canonical is refused") {
  for (const std::string& text : {"Z"s, "Zg"s, "Zg="s, "Zg==="s, "Zh=="s, "Zm9="s, "Zm9v\n"s, "Zm 9"s,
                                  "Z==="s, "===="s, "=Zg="s, "Zg==Zg=="s, "Zm-_"s, "Zm9\0"s, "Zm9\xff"s}) {
    CAPTURE(text);
    CHECK_FALSE(base64_decode(text));
  }
}
