// Reads the members of one JSON object in place, strictly (RFC 8259), without building a tree: for the records of which
// there are thousands. Any thread; nothing is owned: the text must outlive what is handed out. Not for nested reading:
// a member's value comes as its text.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace knet {

enum class JsonType { null, boolean, number, string, array, object };
std::string_view to_string(JsonType type);  // with its article: "a number", "an array"

struct JsonMember {
  std::string key;  // decoded
  JsonType type = JsonType::null;
  std::string_view text;  // the value as it stands: "\"x\"", "{ \"a\": 1 }"
};

class JsonMembers {
 public:
  /// Throws Error{config} if the text does not begin with '{'.
  explicit JsonMembers(std::string_view text);
  /// The next member in the text's order (a key may come twice); nothing after the last. Throws Error{config} "not JSON
  /// at byte N: ...", also for what follows the object, and for nesting deeper than 64.
  std::optional<JsonMember> next();

 private:
  [[noreturn]] void bad(std::string_view why) const;
  void skip_space();
  void expect(char wanted, std::string_view why);
  JsonType skip_value(int depth);
  void skip_word(std::string_view word);
  void skip_number();
  void skip_digits();
  void skip_string();
  void skip_nested(char close, int depth);

  std::string_view text_;
  size_t at_ = 0;
  bool first_ = true;
  bool done_ = false;
};

/// The bytes of a JSON string given with its quotes, as JsonMember::text has it. Lone surrogates become U+FFFD.
std::string json_unquote(std::string_view quoted);
/// With quotes, escaped as RFC 8259 asks; other bytes as they are.
std::string json_quote(std::string_view bytes);
/// The same JSON without white space between tokens. The text must be JSON.
std::string json_compact(std::string_view text);

}  // namespace knet
