// The figures of a bench: what is measured, in which unit, and ratios between paths. A ratio is taken within a round,
// where both were measured one after the other, and only then the median is taken over the rounds. Pure values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace knet {

enum class Figure : uint8_t { tcp, tcp4, datagrams, loss, trip, trip99, cpu };
inline constexpr size_t kFigures = 7;
/// One stream (rate and cpu), four streams, datagrams (rate and loss), round trips (median and p99).
inline constexpr size_t kBenchTests = 4;

struct FigureInfo {
  Figure figure;
  std::string_view key;    // in JSON, with its unit: "tcp_gbit_per_s"
  std::string_view title;  // of a column: "TCP GBIT/S"
  std::string_view words;  // of the picture: "TCP, one stream"
  int decimals;            // shown
  bool more_is_better;
  bool has_ratio;
};
const std::array<FigureInfo, kFigures>& figures();

struct Spread {
  double min = 0, median = 0, max = 0;
};
/// Nothing of nothing. The median of an even number is the mean of the middle two.
std::optional<Spread> spread(std::vector<double> values);

/// What was measured on one path: for each figure one value a round, in the order of the rounds.
struct BenchSeries {
  std::array<std::vector<double>, kFigures> values;
  std::vector<double>& of(Figure figure) { return values[static_cast<size_t>(figure)]; }
  const std::vector<double>& of(Figure figure) const { return values[static_cast<size_t>(figure)]; }
};

/// values[i] / reference[i], of the rounds that both have and whose reference is not 0.
std::vector<double> ratios(const std::vector<double>& values, const std::vector<double>& reference);

}  // namespace knet
