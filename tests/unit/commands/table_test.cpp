// The table printer: alignment, free text, hostile cells, colour; relative times.
#include "commands/common/table.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>

using namespace knet;

TEST_CASE("columns are aligned, free text is last and whole, no blanks at line ends") {
  Table table({{"NODE"}, {"PEERS", Column::Kind::right}, {"WHY", Column::Kind::free}});
  table.add({"n1", "3", ""});
  table.add({"a-longer-name", "12", "fdb: no buffer space; retry in 1s, and this text is never cut however long it may become"});
  CHECK(table.render(false) ==
        "NODE           PEERS  WHY\n"
        "n1                 3\n"
        "a-longer-name     12  fdb: no buffer space; retry in 1s, and this text is never cut however long it may become\n");
}

TEST_CASE("an empty cell is a dash, but free text is nothing") {
  Table table({{"A"}, {"B"}, {"C", Column::Kind::free}});
  table.add({"x"});
  table.add({"", "", "why"});
  CHECK(table.render(false) == "A  B  C\nx  -\n-  -  why\n");
}

TEST_CASE("without titles there is no head line") {
  Table table({{""}, {"", Column::Kind::free}});
  table.add({"store", "http://10.0.0.1:2379"});
  table.add({"mode", "vxlan"});
  CHECK(table.render(false) == "store  http://10.0.0.1:2379\nmode   vxlan\n");
}

TEST_CASE("control bytes from a peer's name can't drive the terminal or break a row") {
  Table table({{"NODE"}, {"WHY", Column::Kind::free}});
  table.add({"n\x1b[31m", "a\nb"});
  CHECK(table.render(false) == "NODE       WHY\nn\\x1b[31m  a\\x0ab\n");
}

TEST_CASE("colour is put around the text, not around the padding, and changes no alignment") {
  Table table({{"STATE"}, {"X"}});
  table.add({Cell("BROKEN", Tone::bad), "1"});
  table.add({"ok", "2"});
  CHECK(table.render(true) == "STATE   X\n\x1b[1;31mBROKEN\x1b[0m  1\nok      2\n");
}

TEST_CASE("width counts characters, not bytes") {
  Table table({{"N"}, {"X"}});
  table.add({"kn\xc3\xb6tchen", "1"});
  table.add({"abc", "2"});
  CHECK(table.render(false) == "N         X\nkn\xc3\xb6tchen  1\nabc       2\n");
}

TEST_CASE("no colour where nobody looks or it is not wanted") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  ::setenv("TERM", "xterm", 1);
  CHECK_FALSE(wants_colour(ends[1]));
  ::setenv("NO_COLOR", "1", 1);
  CHECK_FALSE(wants_colour(ends[1]));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("times and counts for people") {
  CHECK(since(0, 1000) == "-");
  CHECK(since(998, 1000) == "2s");
  CHECK(since(1005, 1000) == "0s");  // a clock that went back
  CHECK(since(1000 - 3 * 3600, 1000) == "3h");
  CHECK(rfc3339(0) == "-");
  CHECK(rfc3339(1768226551) == "2026-01-12T14:02:31Z");
  CHECK(count_of(1, "peer") == "1 peer");
  CHECK(count_of(0, "peer") == "0 peers");
  CHECK(count_of(3, "entry", "entries") == "3 entries");
}

TEST_CASE("long text is broken at blanks and aligned") {
  CHECK(wrap("one two three four", 0, 9) == "one two\nthree\nfour");
  CHECK(wrap("one two three", 4, 12) == "one two\n    three");
  CHECK(wrap("averylongword x", 0, 5) == "averylongword\nx");
  CHECK(wrap("") == "");
}
