// What commands print for people: aligned columns, free text last and whole, `-` for none, colour only on a terminal.
// Values and text; nothing here knows a command. ANSI colour is left out when NO_COLOR is set or TERM is dumb.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace knet {

enum class Tone : uint8_t { plain, warn, bad, dim };

struct Cell {
  std::string text;
  Tone tone = Tone::plain;
  Cell(const char* text, Tone tone = Tone::plain) : text(text), tone(tone) {}
  Cell(std::string_view text, Tone tone = Tone::plain) : text(text), tone(tone) {}
  Cell(std::string text, Tone tone = Tone::plain) : text(std::move(text)), tone(tone) {}
};

struct Column {
  enum class Kind : uint8_t { left, right, free };
  std::string title;
  Kind kind = Kind::left;  // free: unbounded text, last; an empty one prints nothing rather than '-'
};

class Table {
 public:
  /// Without any title there is no head line: labelled lines.
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// A row shorter than the columns is filled up with empty cells.
  void add(std::vector<Cell> row);
  bool empty() const { return rows_.empty(); }
  size_t size() const { return rows_.size(); }
  /// Lines with '\n', no blanks at their ends; control bytes in cells are escaped.
  std::string render(bool colour) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

/// Whether `fd` is a terminal that wants colour.
bool wants_colour(int fd);
std::string paint(std::string_view text, Tone tone, bool colour);

/// Broken at blanks into lines of at most `width`; every line but the first begins with `indent` blanks, and the first
/// is taken to begin there.
std::string wrap(std::string_view text, size_t indent = 0, size_t width = 100);

/// To stdout.
void print(const Table& table);
void print(std::string_view text);

/// "2s", "3h"; "-" for 0. Both in Unix seconds.
std::string since(int64_t then, int64_t now);
int64_t unix_now();
/// RFC 3339 of Unix seconds; "-" for 0.
std::string rfc3339(int64_t when);

/// "1 peer", "3 peers".
std::string count_of(uint64_t count, std::string_view one, std::string_view many = {});

}  // namespace knet
