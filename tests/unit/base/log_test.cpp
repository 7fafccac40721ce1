#include "base/log.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/log_repeats.h"

using namespace knet;
using namespace std::chrono_literals;
using log::Level;
using log::Repeats;

namespace {

constexpr Repeats::Time kStart{1000s};

std::vector<std::string> texts(const std::vector<Repeats::Line>& lines) {
  std::vector<std::string> result;
  for (const auto& line : lines) result.push_back(line.text);
  return result;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("a repeat within the minute is counted and told when the minute is over") {
  Repeats repeats;
  CHECK(texts(repeats.add(Level::info, "route lost", kStart)) == Texts{"route lost"});
  for (int i = 1; i < 12; ++i) CHECK(repeats.add(Level::info, "route lost", kStart + i * 1s).empty());
  CHECK(repeats.flush(kStart + 59s).empty());
  CHECK(texts(repeats.flush(kStart + 60s)) == Texts{"route lost (12 times in 60 s)"});
}

TEST_CASE("a line said once is not told again") {
  Repeats repeats;
  repeats.add(Level::info, "up", kStart);
  CHECK(repeats.flush(kStart + 60s).empty());
  CHECK(texts(repeats.add(Level::info, "up", kStart + 61s)) == Texts{"up"});
}

TEST_CASE("a line that keeps coming is one line a minute") {
  Repeats repeats;
  Texts written;
  for (int second = 0; second < 300; ++second) {
    for (auto& text : texts(repeats.add(Level::warning, "peer silent", kStart + second * 1s)))
      written.push_back(text);
  }
  CHECK(written == Texts{"peer silent", "peer silent (60 times in 60 s)", "peer silent (60 times in 60 s)",
                         "peer silent (60 times in 60 s)", "peer silent (60 times in 60 s)"});
}

TEST_CASE("after a minute of silence the line is written at once again") {
  Repeats repeats;
  repeats.add(Level::info, "x", kStart);
  repeats.add(Level::info, "x", kStart + 1s);
  CHECK(texts(repeats.flush(kStart + 60s)) == Texts{"x (2 times in 60 s)"});
  CHECK(repeats.flush(kStart + 120s).empty());
  CHECK(texts(repeats.add(Level::info, "x", kStart + 121s)) == Texts{"x"});
}

TEST_CASE("a single repeat in a counting minute is not lost") {
  Repeats repeats;
  repeats.add(Level::info, "x", kStart);
  repeats.add(Level::info, "x", kStart + 1s);
  repeats.flush(kStart + 60s);
  CHECK(repeats.add(Level::info, "x", kStart + 70s).empty());
  CHECK(texts(repeats.flush(kStart + 120s)) == Texts{"x (1 times in 60 s)"});
}

TEST_CASE("other lines and other levels are lines of their own") {
  Repeats repeats;
  repeats.add(Level::info, "a", kStart);
  CHECK(texts(repeats.add(Level::info, "b", kStart)) == Texts{"b"});
  CHECK(texts(repeats.add(Level::error, "a", kStart)) == Texts{"a"});
  CHECK(repeats.add(Level::info, "a", kStart + 1s).empty());
  const auto out = repeats.add(Level::info, "c", kStart + 60s);
  CHECK(texts(out) == Texts{"a (2 times in 60 s)", "c"});
  CHECK(out[0].level == Level::info);
}

TEST_CASE("before the end everything counted so far is told") {
  Repeats repeats;
  repeats.add(Level::info, "a", kStart);
  repeats.add(Level::info, "a", kStart + 4s);
  CHECK(texts(repeats.flush(kStart + 5s, true)) == Texts{"a (2 times in 5 s)"});
  CHECK(repeats.flush(kStart + 200s, true).empty());
}

TEST_CASE("the memory of lines is bounded and what falls out is told") {
  Repeats repeats;
  repeats.add(Level::info, "first", kStart);
  repeats.add(Level::info, "first", kStart);
  for (size_t i = 1; i < Repeats::kMostLines; ++i) {
    CHECK(repeats.add(Level::info, std::to_string(i), kStart).size() == 1);
  }
  CHECK(texts(repeats.add(Level::info, "one more", kStart + 10s)) ==
        Texts{"first (2 times in 10 s)", "one more"});
  CHECK(texts(repeats.add(Level::info, "first", kStart + 10s)) == Texts{"first"});
}

TEST_CASE("the log filters by level, counts repeats and keeps a line one line") {
  Texts seen;
  log::set_sink([&](Level, std::string_view line) { seen.emplace_back(line); });
  const Undo restore([] {
    log::flush_repeats(true);
    log::set_sink({});
    log::set_level(Level::info);
  });
  REQUIRE(log::set_level("warning"));
  CHECK_FALSE(log::set_level("loud"));
  CHECK_FALSE(log::enabled(Level::info));
  log::info("unseen {}", 1);
  log::warning("peer {} is gone", "n2\nforged line\x1b[0m \xC3\xA9");
  log::warning("peer {} is gone", "n2\nforged line\x1b[0m \xC3\xA9");
  log::error("x");
  CHECK(seen == Texts{"peer n2\\nforged line\\x1b[0m \xC3\xA9 is gone", "x"});
  log::flush_repeats(true);
  REQUIRE(seen.size() == 3);
  CHECK(seen[2].find("is gone (2 times in ") != std::string::npos);
}
