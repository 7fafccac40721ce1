#include "base/log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <optional>

#include "base/log_repeats.h"
#include "base/text.h"

namespace knet::log {
namespace {

struct LevelRow {
  Level level;
  std::string_view name;
  int priority;  // syslog(3)
};

constexpr std::array kLevels{
    LevelRow{Level::debug, "debug", 7},
    LevelRow{Level::info, "info", 6},
    LevelRow{Level::warning, "warning", 4},
    LevelRow{Level::error, "error", 3},
};

const LevelRow& row(Level level) { return kLevels[static_cast<size_t>(level)]; }

std::optional<Level> level_named(std::string_view name) {
  for (const LevelRow& candidate : kLevels) {
    if (candidate.name == name) return candidate.level;
  }
  return std::nullopt;
}

/// systemd.exec(5), JOURNAL_STREAM: "device:inode" of the journal's socket; stderr may have been redirected
/// since.
bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat info {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &info) != 0) return false;
  return std::string_view(stream) == fmt::format("{}:{}", info.st_dev, info.st_ino);
}

void write_stderr(Level level, std::string_view line) {
  static const bool journal = stderr_is_journal();
  std::string text =
      journal ? fmt::format("<{}>", row(level).priority)
              : fmt::format("{} {}: ", format_time(std::chrono::system_clock::now()), row(level).name);
  text += line;
  text += '\n';
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t count = ::write(STDERR_FILENO, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // nobody reads: the log must not stop the agent
    rest.remove_prefix(static_cast<size_t>(count));
  }
}

/// One line stays one line, whatever a peer put into its name.
std::string one_line(std::string_view line) {
  std::string result;
  result.reserve(line.size());
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f)
      result += c;
    else
      result += printable(std::string_view(&c, 1));
  }
  return result;
}

struct Output {
  std::mutex mutex;
  Repeats repeats;
  std::function<void(Level, std::string_view)> sink;

  void put(const std::vector<Repeats::Line>& lines) {
    for (const Repeats::Line& line : lines) {
      if (sink)
        sink(line.level, line.text);
      else
        write_stderr(line.level, line.text);
    }
  }
};

// Never destroyed: threads may log while the process ends.
Output& output() {
  static Output& instance = *new Output;
  return instance;
}

std::atomic<Level>& threshold() {
  static std::atomic<Level> level = [] {
    const char* name = std::getenv("KNET_LOG");
    return name == nullptr ? Level::info : level_named(name).value_or(Level::info);
  }();
  return level;
}

}  // namespace

std::vector<Repeats::Line> Repeats::add(Level level, std::string_view line, Time now) {
  std::vector<Line> out = flush(now);
  const auto known = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.level == level && entry.text == line;
  });
  if (known != entries_.end()) {
    ++known->times;
    return out;
  }
  if (entries_.size() == kMostLines) {
    report(entries_.front(), now, out);
    entries_.erase(entries_.begin());
  }
  entries_.push_back({level, std::string(line), now, 1, true});
  out.push_back({level, std::string(line)});
  return out;
}

std::vector<Repeats::Line> Repeats::flush(Time now, bool all) {
  std::vector<Line> out;
  std::vector<Entry> again;
  const auto over = [&](const Entry& entry) { return all || now - entry.since >= kWindow; };
  for (Entry& entry : entries_) {
    if (!over(entry)) continue;
    report(entry, now, out);
    // Still coming: goes on being counted, so that a steady repeat is one line a minute and not two.
    if (!all && entry.times > (entry.written ? 1u : 0u))
      again.push_back({entry.level, std::move(entry.text), now, 0, false});
  }
  std::erase_if(entries_, over);
  std::move(again.begin(), again.end(), std::back_inserter(entries_));
  return out;
}

void Repeats::report(const Entry& entry, Time now, std::vector<Line>& out) {
  if (entry.times <= (entry.written ? 1u : 0u)) return;
  const auto span = std::min(std::chrono::ceil<std::chrono::seconds>(now - entry.since), kWindow);
  out.push_back({entry.level, fmt::format("{} ({} times in {} s)", entry.text, entry.times,
                                          std::max<int64_t>(span.count(), 1))});
}

void set_level(Level level) { threshold() = level; }

bool set_level(std::string_view name) {
  const auto level = level_named(name);
  if (level) set_level(*level);
  return level.has_value();
}

bool enabled(Level level) { return level >= threshold().load(std::memory_order_relaxed); }

void write(Level level, std::string_view line) {
  try {
    const std::lock_guard lock(output().mutex);
    output().put(output().repeats.add(level, one_line(line), std::chrono::steady_clock::now()));
  } catch (...) {  // no memory for a line: the line is lost, the agent goes on
  }
}

void flush_repeats(bool all) {
  try {
    const std::lock_guard lock(output().mutex);
    output().put(output().repeats.flush(std::chrono::steady_clock::now(), all));
  } catch (...) {
  }
}

void set_sink(std::function<void(Level, std::string_view)> sink) {
  const std::lock_guard lock(output().mutex);
  output().sink = std::move(sink);
}

}  // namespace knet::log
