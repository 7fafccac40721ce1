// The log: one line per change of state on stderr: which object, which peer. Thread-safe, never throws.
// A line that repeats within a minute is counted, not repeated ("... (12 times in 60 s)"). Secrets never come here.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <string_view>

namespace knet::log {

enum class Level { debug, info, warning, error };

/// From KNET_LOG or --log: debug, info, warning, error; info until told otherwise. Under systemd (JOURNAL_STREAM)
/// lines carry <N> priorities and no time; else RFC 3339 time.
void set_level(Level level);
/// False if there is no level of that name; the level stays as it was.
bool set_level(std::string_view name);
bool enabled(Level level);
void write(Level level, std::string_view line);

/// Writes the counts of repeats whose minute is over; the agent calls it from its timer so that they show in silence
/// too. With `all` those still being counted as well: before the process ends.
void flush_repeats(bool all = false);

/// Where finished lines (counted, not yet stamped with time or priority) go instead of stderr; empty puts stderr back.
void set_sink(std::function<void(Level, std::string_view)> sink);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::warning)) write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::error)) write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace knet::log
