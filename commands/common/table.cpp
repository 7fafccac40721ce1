#include "commands/common/table.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"

namespace knet {
namespace {

/// Code points, near enough to columns for what we print.
size_t width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

/// A cell stays one line and can't drive the terminal, whatever a peer put into the store.
std::string harmless(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (unsigned char c : text) {
    if (c < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", c);
    } else {
      out += static_cast<char>(c);
    }
  }
  return out;
}

}  // namespace

void Table::add(std::vector<Cell> row) {
  row.resize(columns_.size(), Cell(""));
  for (size_t i = 0; i < row.size(); ++i) {
    row[i].text = harmless(row[i].text);
    if (row[i].text.empty() && columns_[i].kind != Column::Kind::free) row[i].text.push_back('-');
  }
  rows_.push_back(std::move(row));
}

std::string Table::render(bool colour) const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(width(column.title));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i].text));
  }
  std::string out;
  auto line = [&](auto&& cell_at) {
    std::string text;
    size_t gap = 0;  // blanks owed before the next cell that is not empty
    for (size_t i = 0; i < columns_.size(); ++i) {
      const Cell cell = cell_at(i);
      const size_t pad = widths[i] - width(cell.text);
      const bool right = columns_[i].kind == Column::Kind::right;
      if (right) gap += pad;
      if (!cell.text.empty()) {
        text.append(gap, ' ');
        text += paint(cell.text, cell.tone, colour);
        gap = 0;
      }
      if (!right) gap += pad;
      gap += 2;
    }
    out += text + '\n';
  };
  if (std::any_of(columns_.begin(), columns_.end(), [](const Column& column) { return !column.title.empty(); })) {
    line([&](size_t i) { return Cell(columns_[i].title); });
  }
  for (const auto& row : rows_) line([&](size_t i) { return row[i]; });
  return out;
}

bool wants_colour(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  if (no_color && *no_color) return false;
  if (!term || std::string_view(term) == "dumb") return false;
  return ::isatty(fd) == 1;
}

std::string paint(std::string_view text, Tone tone, bool colour) {
  if (!colour || tone == Tone::plain) return std::string(text);
  const char* code = tone == Tone::bad ? "1;31" : tone == Tone::warn ? "33" : "2";
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

std::string wrap(std::string_view text, size_t indent, size_t width) {
  std::string out;
  size_t at = indent;
  for (std::string_view word : split(text, ' ')) {
    if (at > indent && at + 1 + word.size() > width) {
      while (out.ends_with(' ')) out.pop_back();
      out += '\n' + std::string(indent, ' ');
      at = indent;
    } else if (!out.empty()) {
      out += ' ';
      ++at;
    }
    out += word;
    at += word.size();
  }
  return out;
}

void print(const Table& table) { print(table.render(wants_colour(STDOUT_FILENO))); }

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

std::string since(int64_t then, int64_t now) {
  if (then == 0) return "-";
  return format_age(std::chrono::seconds(std::max<int64_t>(0, now - then)));
}

int64_t unix_now() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

std::string rfc3339(int64_t when) {
  if (when == 0) return "-";
  return format_time(std::chrono::system_clock::time_point(std::chrono::seconds(when)));
}

std::string count_of(uint64_t count, std::string_view one, std::string_view many) {
  if (count == 1) return fmt::format("1 {}", one);
  return many.empty() ? fmt::format("{} {}s", count, one) : fmt::format("{} {}", count, many);
}

}  // namespace knet
