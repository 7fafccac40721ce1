// Small text functions: split, trim, numbers, durations, the nearest word for "did you mean". Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace knet {

/// Pieces between separators; an empty text gives no pieces, "a,,b" gives an empty one in the middle.
std::vector<std::string_view> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
std::string lower(std::string_view text);
bool equals_ignoring_case(std::string_view a, std::string_view b);
std::string join(std::span<const std::string> parts, std::string_view separator);

/// Decimal, whole text, no sign but '-'; nothing on overflow.
std::optional<int64_t> parse_int(std::string_view text);
std::optional<bool> parse_bool(std::string_view text);  // true/false, yes/no, on/off, 1/0

/// "90", "90s", "5m", "2h", "1500ms"; a bare number is seconds. Nothing if malformed or negative.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
/// For people: "2s", "12m", "3h", "5d"; below one second "0s".
std::string format_age(std::chrono::seconds age);
/// RFC 3339 in UTC with seconds: 2026-01-12T14:02:31Z.
std::string format_time(std::chrono::system_clock::time_point time);
std::optional<std::chrono::system_clock::time_point> parse_time(std::string_view text);

/// The candidate nearest in edit distance (case ignored, transposition counts one) if it is near enough to
/// be a slip of the finger (at most 2, and less than half of the word).
std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates);

/// Printable form of hostile text for messages: control bytes escaped, cut at `limit` with "...".
std::string printable(std::string_view text, size_t limit = 80);

}  // namespace knet
