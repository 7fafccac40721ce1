#include "lab/bench_figures.h"

#include <algorithm>

namespace knet {

const std::array<FigureInfo, kFigures>& figures() {
  static constexpr std::array<FigureInfo, kFigures> table{{
      {Figure::tcp, "tcp_gbit_per_s", "TCP GBIT/S", "TCP, one stream", 2, true, true},
      {Figure::tcp4, "tcp4_gbit_per_s", "4 TCP GBIT/S", "TCP, four streams", 2, true, true},
      {Figure::datagrams, "udp_packets_per_s", "UDP PACKETS/S", "UDP packets received", 0, true, true},
      {Figure::loss, "udp_loss_percent", "LOSS %", "UDP packets lost", 1, false, false},
      {Figure::trip, "round_trip_us", "TRIP US", "round trip, median", 1, false, true},
      {Figure::trip99, "round_trip_p99_us", "P99 US", "round trip, 99th percentile", 1, false, true},
      {Figure::cpu, "cpu_s_per_gb", "CPU S/GB", "CPU for a byte, TCP, one stream", 2, false, true},
  }};
  return table;
}

std::optional<Spread> spread(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return Spread{values.front(), median, values.back()};
}

std::vector<double> ratios(const std::vector<double>& values, const std::vector<double>& reference) {
  std::vector<double> out;
  for (size_t i = 0; i < std::min(values.size(), reference.size()); ++i)
    if (reference[i] > 0) out.push_back(values[i] / reference[i]);
  return out;
}

}  // namespace knet
