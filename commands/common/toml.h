// The part of TOML 1.0 that a flags file needs: [sections], key = string, integer, float, boolean or an array of these.
// Pure. Tables in values, dates, dotted keys and multi-line strings are refused by name, with the line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace knet {

struct TomlItem {
  std::string section;              // "" above the first [section]
  std::string key;
  std::vector<std::string> values;  // one, or an array's; as the words a flag would take
  int line = 0;                     // from 1
};

/// Throws Error{config} "FILE line N: what is wrong". A key twice in one section is an error.
std::vector<TomlItem> parse_toml(std::string_view text, std::string_view file);

}  // namespace knet
