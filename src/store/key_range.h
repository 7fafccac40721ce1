// The half-open range [prefix, prefix_end) of all keys that begin with a prefix.
#pragma once

#include <string>

namespace knet {

/// The least key above all keys with this prefix. Keys are UTF-8 text, so "\xff" stands above each of them.
inline std::string prefix_end(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
  if (prefix.empty()) return "\xff";
  prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

}  // namespace knet
