// What of a stream of log lines is to be written now: a line said before within the last minute is only
// counted, and its count is written when the minute is over. A plain value: no clock (the time is given), no
// lock, no output.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"

namespace knet::log {

class Repeats {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Line {
    Level level;
    std::string text;
  };
  static constexpr std::chrono::seconds kWindow{60};
  static constexpr size_t kMostLines = 256;

  /// The lines to write now, in order: counts that fell due, then this line unless it is a repeat. A line
  /// that keeps coming is written once at first and then as one count a minute.
  std::vector<Line> add(Level level, std::string_view line, Time now);
  /// The counts that fell due; with `all`, every count so far.
  std::vector<Line> flush(Time now, bool all = false);

 private:
  struct Entry {
    Level level;
    std::string text;
    Time since;
    size_t times;  // in this window; includes the written one if `written`
    bool written;  // the line itself stands in the log within this window
  };
  static void report(const Entry& entry, Time now, std::vector<Line>& out);

  std::vector<Entry> entries_;  // oldest window first
};

}  // namespace knet::log
