#include "base/digest.h"

#include <catch2/catch.hpp>
#include <string>

using namespace knet;

TEST_CASE("sha1 of the vectors of FIPS 180 and RFC 3174") {
  CHECK(sha1_hex("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  CHECK(sha1_hex("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d");
  CHECK(sha1_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
  CHECK(sha1_hex(std::string(1'000'000, 'a')) == "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
  CHECK(sha1("abc")[0] == 0xa9);
  CHECK(sha1("abc")[19] == 0x9d);
}

TEST_CASE("sha1_hex gives as many digits as asked for, odd numbers too") {
  CHECK(sha1_hex("abc", 11) == "a9993e36470");
  CHECK(sha1_hex("abc", 0).empty());
  CHECK(sha1_hex("abc", 99).size() == 40);
}

TEST_CASE("fingerprint is FNV-1a 64") {
  CHECK(fingerprint("") == 0xcbf29ce484222325u);
  CHECK(fingerprint("a") == 0xaf63dc4c8601ec8cu);
  CHECK(fingerprint("foobar") == 0x85944171f73967e8u);
  CHECK(fingerprint("bar", fingerprint("foo")) == fingerprint("foobar"));
  CHECK(fingerprint("\xff") != fingerprint("\x7f"));
}
