#include "commands/common/toml.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/text.h"

namespace knet {
namespace {

bool bare_key_byte(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_'; }

class Reader {
 public:
  Reader(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  std::vector<TomlItem> read() {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
    for (skip_blank_lines(); at_ < text_.size(); skip_blank_lines()) {
      if (peek() == '[') {
        read_section();
      } else {
        read_item();
      }
      end_line();
    }
    return std::move(items_);
  }

 private:
  [[noreturn]] void wrong(std::string_view what) const { fail(ErrorKind::config, "{} line {}: {}", file_, line_, what); }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_blanks() {
    while (peek() == ' ' || peek() == '\t') ++at_;
  }
  void skip_comment() {
    if (peek() != '#') return;
    while (at_ < text_.size() && peek() != '\n') ++at_;
  }
  bool skip_newline() {
    if (text_.substr(at_).starts_with("\r\n")) ++at_;
    if (peek() != '\n') return false;
    ++at_;
    ++line_;
    return true;
  }
  void skip_blank_lines() {
    do {
      skip_blanks();
      skip_comment();
    } while (skip_newline());
  }
  void end_line() {
    skip_blanks();
    skip_comment();
    if (at_ < text_.size() && !skip_newline()) wrong("more text after the end: " + rest_of_line());
  }
  std::string rest_of_line() const {
    return printable(trim(text_.substr(at_, text_.find('\n', at_) - at_)), 40);
  }

  std::string read_key() {
    if (peek() == '"' || peek() == '\'') return read_string();
    const size_t start = at_;
    while (bare_key_byte(peek())) ++at_;
    if (at_ == start) wrong("expected `key = value` or `[section]`, found: " + rest_of_line());
    return std::string(text_.substr(start, at_ - start));
  }

  void read_section() {
    ++at_;
    if (peek() == '[') wrong("[[arrays of tables]] are not known here");
    skip_blanks();
    section_ = read_key();
    skip_blanks();
    if (peek() == '.') wrong("a section is one command's name, as in [agent]");
    if (peek() != ']') wrong("']' is missing after [" + section_);
    ++at_;
    if (std::find(sections_.begin(), sections_.end(), section_) != sections_.end()) {
      wrong("section [" + section_ + "] stands twice");
    }
    sections_.push_back(section_);
  }

  void read_item() {
    TomlItem item;
    item.section = section_;
    item.line = line_;
    item.key = read_key();
    skip_blanks();
    if (peek() == '.') wrong("dotted keys are not known here; use a [section]");
    if (peek() != '=') wrong("'=' is missing after " + item.key);
    ++at_;
    skip_blanks();
    if (peek() == '[') {
      read_array(item);
    } else {
      item.values.push_back(read_value(item.key));
    }
    for (const TomlItem& other : items_) {
      if (other.section == item.section && other.key == item.key) {
        fail(ErrorKind::config, "{} line {}: {} is set already in line {}", file_, item.line, item.key, other.line);
      }
    }
    items_.push_back(std::move(item));
  }

  void read_array(TomlItem& item) {
    ++at_;
    for (;;) {
      skip_blank_lines();
      if (peek() == ']') break;
      if (at_ >= text_.size()) wrong("the array of " + item.key + " has no ']'");
      item.values.push_back(read_value(item.key));
      skip_blank_lines();
      if (peek() == ',') {
        ++at_;
      } else if (peek() != ']') {
        wrong("',' or ']' is missing in the array of " + item.key);
      }
    }
    ++at_;
  }

  std::string read_value(const std::string& key) {
    if (peek() == '"' || peek() == '\'') return read_string();
    if (peek() == '{') wrong("inline tables are not known here (" + key + ")");
    if (peek() == '[') wrong("arrays in arrays are not known here (" + key + ")");
    const size_t start = at_;
    while (at_ < text_.size() && std::string_view(",]# \t\r\n").find(peek()) == std::string_view::npos) ++at_;
    std::string word(text_.substr(start, at_ - start));
    if (word.empty()) wrong(key + " has no value");
    if (word == "true" || word == "false") return word;
    std::string number;
    std::copy_if(word.begin(), word.end(), std::back_inserter(number), [](char c) { return c != '_'; });
    const bool numeric = !number.empty() && number.find_first_not_of("+-0123456789.") == std::string::npos &&
                         std::any_of(number.begin(), number.end(), [](unsigned char c) { return std::isdigit(c); }) &&
                         number.find_first_of("+-", 1) == std::string::npos &&
                         std::count(number.begin(), number.end(), '.') <= 1;
    if (!numeric) wrong("text is written in quotes: " + key + " = \"" + printable(word, 40) + "\"");
    if (number.front() == '+') number.erase(0, 1);
    return number;
  }

  std::string read_string() {
    const char quote = peek();
    ++at_;
    if (text_.substr(at_).starts_with(std::string(2, quote))) wrong("multi-line strings are not known here");
    std::string out;
    for (;;) {
      const char c = peek();
      if (at_ >= text_.size() || c == '\n') wrong(std::string("a closing ") + quote + " is missing");
      ++at_;
      if (c == quote) return out;
      out += c == '\\' && quote == '"' ? read_escape() : c;
    }
  }

  char read_escape() {
    const char c = peek();
    ++at_;
    switch (c) {
      case '"': return '"';
      case '\\': return '\\';
      case 'n': return '\n';
      case 't': return '\t';
      case 'r': return '\r';
      default: break;
    }
    --at_;
    wrong("escape \\" + printable(std::string_view(&c, 1)) + " is not known here; in '...' a backslash stands for itself");
  }

  std::string_view text_;
  std::string_view file_;
  size_t at_ = 0;
  int line_ = 1;
  std::string section_;
  std::vector<std::string> sections_;
  std::vector<TomlItem> items_;
};

}  // namespace

std::vector<TomlItem> parse_toml(std::string_view text, std::string_view file) { return Reader(text, file).read(); }

}  // namespace knet
