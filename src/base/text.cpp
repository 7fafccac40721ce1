#include "base/text.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace knet {
namespace {

constexpr std::string_view kSpace = " \t\r\n\f\v";

// Locale-free: what the C library's tolower does to bytes over 127 depends on the machine.
constexpr char lower_char(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::optional<uint64_t> parse_digits(std::string_view digits) {
  uint64_t value = 0;
  const char* last = digits.data() + digits.size();
  const auto [end, error] = std::from_chars(digits.data(), last, value);
  if (error != std::errc{} || end != last) return std::nullopt;
  return value;
}

/// Optimal string alignment: insert, delete, replace and the swap of two neighbours cost one each.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

/// Takes exactly `width` digits off the front of `text`.
std::optional<int> take_number(std::string_view& text, size_t width) {
  if (text.size() < width) return std::nullopt;
  int value = 0;
  for (size_t i = 0; i < width; ++i) {
    if (!is_digit(text[i])) return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(width);
  return value;
}

bool take_char(std::string_view& text, char wanted) {
  if (text.empty() || lower_char(text.front()) != lower_char(wanted)) return false;
  text.remove_prefix(1);
  return true;
}

/// "Z", "+01:00", "-05:30" (RFC 3339 section 5.6, time-offset).
std::optional<std::chrono::minutes> parse_offset(std::string_view text) {
  if (text == "Z" || text == "z") return std::chrono::minutes{0};
  if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
  const int sign = text.front() == '-' ? -1 : 1;
  text.remove_prefix(1);
  const auto hours = take_number(text, 2);
  if (!hours || *hours > 23 || !take_char(text, ':')) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!minutes || *minutes > 59 || !text.empty()) return std::nullopt;
  return std::chrono::minutes{sign * (*hours * 60 + *minutes)};
}

}  // namespace

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  if (text.empty()) return pieces;
  for (size_t at = text.find(separator); at != std::string_view::npos; at = text.find(separator)) {
    pieces.push_back(text.substr(0, at));
    text.remove_prefix(at + 1);
  }
  pieces.push_back(text);
  return pieces;
}

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), lower_char);
  return result;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower_char(x) == lower_char(y); });
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string result;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) result += separator;
    result += parts[i];
  }
  return result;
}

std::optional<int64_t> parse_int(std::string_view text) {
  int64_t value = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (text.empty() || error != std::errc{} || end != last) return std::nullopt;
  return value;
}

std::optional<bool> parse_bool(std::string_view text) {
  for (std::string_view word : {"true", "yes", "on", "1"}) {
    if (equals_ignoring_case(text, word)) return true;
  }
  for (std::string_view word : {"false", "no", "off", "0"}) {
    if (equals_ignoring_case(text, word)) return false;
  }
  return std::nullopt;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const size_t unit_at = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto count = parse_digits(text.substr(0, unit_at));
  if (!count) return std::nullopt;
  const std::string_view unit = text.substr(unit_at);
  uint64_t factor = 0;
  if (unit == "ms") factor = 1;
  if (unit.empty() || unit == "s") factor = 1000;
  if (unit == "m") factor = 60'000;
  if (unit == "h") factor = 3'600'000;
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  if (factor == 0 || *count > kMost / factor) return std::nullopt;
  return std::chrono::milliseconds{static_cast<int64_t>(*count * factor)};
}

std::string format_age(std::chrono::seconds age) {
  const int64_t seconds = std::max<int64_t>(age.count(), 0);
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m", seconds / 60);
  if (seconds < 86'400) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{}d", seconds / 86'400);
}

std::string format_time(std::chrono::system_clock::time_point time) {
  using namespace std::chrono;
  const auto seconds_point = floor<seconds>(time);
  const auto day = floor<days>(seconds_point);
  const year_month_day date{day};
  const hh_mm_ss clock{seconds_point - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

std::optional<std::chrono::system_clock::time_point> parse_time(std::string_view text) {
  using namespace std::chrono;
  std::array<int, 6> field{};  // year month day hour minute second
  constexpr std::array<char, 6> kAfter{'-', '-', 'T', ':', ':', '\0'};
  for (size_t i = 0; i < field.size(); ++i) {
    const auto number = take_number(text, i == 0 ? 4 : 2);
    if (!number || (kAfter[i] != '\0' && !take_char(text, kAfter[i]))) return std::nullopt;
    field[i] = *number;
  }
  nanoseconds fraction{0};
  if (take_char(text, '.')) {
    int64_t scale = 100'000'000;  // digits past the ninth say nothing that a time_point can hold
    if (text.empty() || !is_digit(text.front())) return std::nullopt;
    for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1), scale /= 10) {
      fraction += nanoseconds{(text.front() - '0') * scale};
    }
  }
  const auto offset = parse_offset(text);
  const year_month_day date{year{field[0]}, month{static_cast<unsigned>(field[1])},
                            day{static_cast<unsigned>(field[2])}};
  // A system_clock count of nanoseconds ends in 2262; second 60 is a leap second (RFC 3339 section 5.7).
  if (!offset || !date.ok() || field[0] < 1678 || field[0] > 2261) return std::nullopt;
  if (field[3] > 23 || field[4] > 59 || field[5] > 60) return std::nullopt;
  return sys_days{date} + hours{field[3]} + minutes{field[4]} + seconds{field[5]} + fraction - *offset;
}

std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates) {
  constexpr size_t kLongest = 64;  // no word of ours is longer; hostile input must not cost a big table
  if (word.size() > kLongest) return std::nullopt;
  const std::string wanted = lower(word);
  const std::string* best = nullptr;
  size_t best_distance = 3;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongest + 2) continue;
    const size_t distance = edit_distance(wanted, lower(candidate));
    if (distance < best_distance && distance * 2 < word.size()) {
      best = &candidate;
      best_distance = distance;
    }
  }
  if (best == nullptr) return std::nullopt;
  return *best;
}

std::string printable(std::string_view text, size_t limit) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    std::string piece;
    if (c == '\n')
      piece = "\\n";
    else if (c == '\t')
      piece = "\\t";
    else if (c == '\r')
      piece = "\\r";
    else if (byte < 0x20 || byte > 0x7e)
      piece = fmt::format("\\x{:02x}", byte);
    else
      piece = std::string(1, c);
    if (result.size() + piece.size() > limit) return result + "...";
    result += piece;
  }
  return result;
}

}  // namespace knet
