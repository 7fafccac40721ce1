#include <catch2/catch.hpp>

#include "bgp/message.h"
#include "tests/unit/bgp/wire_bytes.h"

using namespace knet;
using namespace knet::bgp;
using namespace knet::bgp::test;

namespace {

Octets text(std::string_view words) { return {words.begin(), words.end()}; }
Octets counted(std::string_view words) { return join({{static_cast<uint8_t>(words.size())}, text(words)}); }

}  // namespace

TEST_CASE("notifications there and back") {
  for (const Notification& n : {Notification{6, 2, {}}, Notification{4, 0, {}}, Notification{3, 5, {0x40, 1, 0}},
                                cease(2, "upgrading"), Notification{255, 255, Octets(4075, 9)}}) {
    CHECK(std::get<Notification>(decode(encode(n), {})) == n);
  }
  CHECK(encode(cease(2, "maintenance till noon")) == message(3, join({{6, 2}, counted("maintenance till noon")})));
  CHECK(encode(Notification{3, 1, Octets(70000)}).size() == kMaxMessage);
}

TEST_CASE("cease with words (RFC 9003)") {
  CHECK(cease(4) == (Notification{6, 4, {}}));
  CHECK(cease(7, "not of this one") == (Notification{6, 7, {}}));
  const std::string long_text(300, 'x');
  CHECK(cease(2, long_text).data == counted(long_text.substr(0, 255)));
  // 254 bytes and a character of two: it does not fit, and is not halved.
  CHECK(cease(2, std::string(254, 'x') + "\xc3\xa9").data.size() == 1 + 254);
  CHECK(cease(2, std::string(253, 'x') + "\xc3\xa9").data.size() == 1 + 255);
}

TEST_CASE("notifications in words") {
  const struct {
    Notification notification;
    const char* words;
  } cases[] = {
      {{1, 1, {}}, "message header error, connection not synchronized"},
      {{1, 2, {0, 18}}, "message header error, bad message length: 18 bytes"},
      {{1, 3, {9}}, "message header error, bad message type: type 9"},
      {{2, 0, {}}, "OPEN message error"},
      {{2, 1, {0, 4}}, "OPEN message error, unsupported version: it speaks version 4"},
      {{2, 2, {0xfd, 0xe9}}, "OPEN message error, bad peer AS"},
      {{2, 6, {}}, "OPEN message error, unacceptable hold time"},
      {{2, 9, {}}, "OPEN message error, subcode 9"},
      {{2, 11, {}}, "OPEN message error, role mismatch"},
      {{3, 3, {1}}, "UPDATE message error, missing well-known attribute: ORIGIN"},
      {{3, 5, {0x40, 5, 1, 0}}, "UPDATE message error, attribute length error: LOCAL_PREF"},
      {{3, 9, {0x80, 14}}, "UPDATE message error, optional attribute error"},
      {{3, 11, {}}, "UPDATE message error, malformed AS_PATH"},
      {{4, 0, {}}, "hold timer expired"},
      {{4, 7, {}}, "hold timer expired, subcode 7"},
      {{5, 3, {}}, "state machine error, unexpected message in Established"},
      {{6, 1, {0, 1, 1, 0, 0, 3, 232}}, "cease, maximum number of prefixes reached: limit 1000 of family 1/1"},
      {{6, 2, {}}, "cease, administrative shutdown"},
      {{6, 2, {0}}, "cease, administrative shutdown"},
      {{6, 2, counted("upgrading")}, "cease, administrative shutdown: upgrading"},
      {{6, 4,
        counted("gr\xc3\xbc\xc3\x9f"
                "e")},
       "cease, administrative reset: gr\xc3\xbc\xc3\x9f"
       "e"},
      {{6, 6, counted("upgrading")}, "cease, other configuration change"},
      {{6, 7, {}}, "cease, connection collision resolution"},
      {{6, 10, {}}, "cease, BFD down"},
      {{7, 1, {}}, "ROUTE-REFRESH message error, invalid message length"},
      {{99, 3, {}}, "error 99, subcode 3"},
      {{0, 0, {}}, "error 0"},
      {{6, 9, join({{6, 2}, counted("bye")})}, "cease, hard reset: cease, administrative shutdown: bye"},
      {{6, 9, {6, 9, 6, 9, 6, 9}}, "cease, hard reset: cease, hard reset"},
      {{6, 9, {4}}, "cease, hard reset"},
  };
  for (const auto& c : cases) CHECK(describe(c.notification) == c.words);
}

TEST_CASE("a peer's words cannot do harm") {
  const auto words = [](Octets data) {
    const std::string all = describe({6, 2, std::move(data)});
    return all.substr(all.find(": ") + 2);
  };
  CHECK(words(counted("a\nb\x1b[2J\x7f")) == "a?b?[2J?");
  CHECK(words(counted("\xc2\x9b"
                      "31m")) == "?31m");                              // a C1 control
  CHECK(words(counted("x\xe2\x80\xaey")) == "x?y");                    // turns the direction of writing
  CHECK(words(counted("\xff\xc0\x80\xed\xa0\x80\xc3")) == "???????");  // no UTF-8
  CHECK(words(counted("\xf0\x9f\x98\x80\xe2\x82\xac")) == "\xf0\x9f\x98\x80\xe2\x82\xac");
  CHECK(words(join({{200}, text("short")})) == "short");  // longer by its own word than it is
  CHECK(words(join({{3}, text("longer")})) == "lon");
  for (int code = 0; code < 256; ++code) {
    for (int subcode = 0; subcode < 256; ++subcode) {
      const std::string told = describe({static_cast<uint8_t>(code), static_cast<uint8_t>(subcode), {1, '\n', 3}});
      if (told.empty() || told.find('\n') != std::string::npos) FAIL(code << "/" << subcode);
    }
  }
}
