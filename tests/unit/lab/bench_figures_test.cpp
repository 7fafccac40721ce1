#include "lab/bench_figures.h"

#include <catch2/catch.hpp>

using namespace knet;

TEST_CASE("a spread is the smallest, the middle and the largest") {
  CHECK_FALSE(spread({}));
  const Spread one = *spread({4});
  CHECK((one.min == 4 && one.median == 4 && one.max == 4));
  const Spread odd = *spread({9, 1, 5});
  CHECK((odd.min == 1 && odd.median == 5 && odd.max == 9));
  CHECK(spread({4, 1, 2, 100})->median == 3);
}

TEST_CASE("a ratio is taken within its round, not between medians") {
  CHECK(ratios({5, 3.5, 6}, {10, 14, 12}) == std::vector<double>{0.5, 0.25, 0.5});
  CHECK(ratios({1, 2}, {0, 4}) == std::vector<double>{0.5});
  CHECK(ratios({1, 2, 3}, {2}) == std::vector<double>{0.5});
  CHECK(ratios({}, {1}).empty());
}

TEST_CASE("each figure has its place in the table") {
  for (size_t i = 0; i < kFigures; ++i) CHECK(static_cast<size_t>(figures()[i].figure) == i);
}
