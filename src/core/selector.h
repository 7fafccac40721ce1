// Label selectors: "rack == 'a' && has(gpu) && !(zone in {'x', 'y'})". Parsed once, then asked. Pure; the text may come
// from the store: length (1,024 bytes) and depth (32) are limited.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace knet {

using Labels = std::vector<std::pair<std::string, std::string>>;  // sorted by name

/// all(), has(k), !has(k), k == 'v', k != 'v' (true without k), k in {'a','b'}, k not in {...}, k contains / starts with /
/// ends with 'v', !, &&, ||, parentheses. "" is all().
class Selector {
 public:
  Selector();
  /// Throws Error{usage}: names the place and what was expected there.
  explicit Selector(std::string_view text);
  bool matches(const Labels& labels) const;
  /// In one canonical spelling.
  std::string str() const;
  struct Node;

 private:
  std::shared_ptr<const Node> root_;  // null: everything
};

/// "rack=a". Throws Error{usage} for what is no label (name: 1 to 63 of [A-Za-z0-9._/-], value: up to 63).
std::pair<std::string, std::string> parse_label(std::string_view text);

}  // namespace knet
