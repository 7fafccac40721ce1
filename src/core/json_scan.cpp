#include "core/json_scan.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include "base/error.h"

namespace knet {
namespace {

constexpr int kDeepest = 64;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

uint32_t hex4(std::string_view digits) {
  uint32_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  return value;
}

char unescaped(char c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return c;
  }
}

}  // namespace

std::string_view to_string(JsonType type) {
  constexpr std::array<std::string_view, 6> kNames{"null",     "a boolean", "a number",
                                                   "a string", "an array",  "an object"};
  return kNames[static_cast<size_t>(type)];
}

JsonMembers::JsonMembers(std::string_view text) : text_(text) {
  skip_space();
  if (at_ == text_.size()) fail(ErrorKind::config, "empty, not a JSON object");
  if (text_[at_] != '{') {
    skip_value(0);
    fail(ErrorKind::config, "not a JSON object");
  }
  ++at_;
}

void JsonMembers::bad(std::string_view why) const {
  fail(ErrorKind::config, "not JSON at byte {}: {}", at_ + 1, at_ < text_.size() ? why : "it ends too early");
}

void JsonMembers::skip_space() {
  while (at_ < text_.size() && is_space(text_[at_])) ++at_;
}

void JsonMembers::expect(char wanted, std::string_view why) {
  skip_space();
  if (at_ >= text_.size() || text_[at_] != wanted) bad(why);
  ++at_;
}

std::optional<JsonMember> JsonMembers::next() {
  if (done_) return std::nullopt;
  skip_space();
  if (at_ < text_.size() && text_[at_] == '}') {
    ++at_;
    done_ = true;
    skip_space();
    if (at_ != text_.size()) bad("something follows the object");
    return std::nullopt;
  }
  if (!first_) {
    expect(',', "',' or '}' expected");
    skip_space();
  }
  first_ = false;
  const size_t key_at = at_;
  if (at_ >= text_.size() || text_[at_] != '"') bad("a key in quotes expected");
  skip_string();
  JsonMember member;
  member.key = json_unquote(text_.substr(key_at, at_ - key_at));
  expect(':', "':' expected");
  skip_space();
  const size_t value_at = at_;
  member.type = skip_value(1);
  member.text = text_.substr(value_at, at_ - value_at);
  return member;
}

JsonType JsonMembers::skip_value(int depth) {
  if (at_ >= text_.size()) bad("a value expected");
  switch (text_[at_]) {
    case '"':
      skip_string();
      return JsonType::string;
    case '{':
      skip_nested('}', depth);
      return JsonType::object;
    case '[':
      skip_nested(']', depth);
      return JsonType::array;
    case 't':
      skip_word("true");
      return JsonType::boolean;
    case 'f':
      skip_word("false");
      return JsonType::boolean;
    case 'n':
      skip_word("null");
      return JsonType::null;
    default:
      skip_number();
      return JsonType::number;
  }
}

void JsonMembers::skip_word(std::string_view word) {
  if (text_.substr(at_, word.size()) != word) bad("a value expected");
  at_ += word.size();
}

void JsonMembers::skip_digits() {
  if (at_ >= text_.size() || !is_digit(text_[at_])) bad("a value expected");
  while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
}

void JsonMembers::skip_number() {
  if (text_[at_] == '-') ++at_;
  const bool zero = at_ < text_.size() && text_[at_] == '0';
  const size_t from = at_;
  skip_digits();
  if (zero && at_ - from > 1) bad("a number begins with 0");
  if (at_ < text_.size() && text_[at_] == '.') {
    ++at_;
    skip_digits();
  }
  if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
    ++at_;
    if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
    skip_digits();
  }
}

void JsonMembers::skip_string() {
  for (++at_; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c == '"') {
      ++at_;
      return;
    }
    if (static_cast<unsigned char>(c) < 0x20) bad("a control character in a string");
    if (c != '\\') continue;
    if (++at_ >= text_.size()) break;
    if (text_[at_] == 'u') {
      const std::string_view digits = text_.substr(at_ + 1, 4);
      if (digits.size() < 4 || !std::all_of(digits.begin(), digits.end(), is_hex)) bad("\\u without four hex digits");
      at_ += 4;
    } else if (std::string_view{"\"\\/bfnrt"}.find(text_[at_]) == std::string_view::npos) {
      bad("an unknown escape");
    }
  }
  bad("a string without its end");
}

void JsonMembers::skip_nested(char close, int depth) {
  if (depth >= kDeepest) bad("nested too deep");
  ++at_;
  skip_space();
  if (at_ < text_.size() && text_[at_] == close) {
    ++at_;
    return;
  }
  while (true) {
    skip_space();
    if (close == '}') {
      if (at_ >= text_.size() || text_[at_] != '"') bad("a key in quotes expected");
      skip_string();
      expect(':', "':' expected");
      skip_space();
    }
    skip_value(depth + 1);
    skip_space();
    if (at_ < text_.size() && text_[at_] == close) {
      ++at_;
      return;
    }
    expect(',', "',' or the end of it expected");
  }
}

std::string json_unquote(std::string_view quoted) {
  std::string out;
  const std::string_view inner = quoted.substr(1, quoted.size() - 2);
  if (inner.find('\\') == std::string_view::npos) return std::string(inner);
  for (size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] != '\\') {
      out += inner[i];
      continue;
    }
    if (inner[++i] != 'u') {
      out += unescaped(inner[i]);
      continue;
    }
    uint32_t code = hex4(inner.substr(i + 1, 4));
    i += 4;
    if (code >= 0xd800 && code < 0xdc00 && inner.substr(i + 1, 2) == "\\u") {
      const uint32_t low = hex4(inner.substr(i + 3, 4));
      if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        i += 6;
      }
    }
    append_utf8(out, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
  }
  return out;
}

std::string json_quote(std::string_view bytes) {
  std::string out = "\"";
  for (const char c : bytes) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out += '"';
}

std::string json_compact(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!in_string && is_space(c)) continue;
    out += c;
    if (in_string && c == '\\' && i + 1 < text.size()) {
      out += text[++i];
    } else if (c == '"') {
      in_string = !in_string;
    }
  }
  return out;
}

}  // namespace knet
