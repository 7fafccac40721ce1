#include "core/selector.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace knet {

struct Selector::Node {
  enum class Op : uint8_t { all, has, equals, differs, in, not_in, contains, starts, ends, negate, both, either };
  Op op = Op::all;
  std::string label;
  std::vector<std::string> values;  // sorted
  std::shared_ptr<const Node> left, right;
};

namespace {

using Node = Selector::Node;
using Op = Node::Op;
using NodeRef = std::shared_ptr<const Node>;

constexpr size_t kLongestText = 1024;
constexpr int kDeepest = 32;
constexpr size_t kLongestName = 63;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '/' ||
         c == '-';
}

// Recursive descent: either = both ("||" both)*, both = unary ("&&" unary)*, unary = "!" unary | "(" either ")" | test.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  NodeRef parse() {
    NodeRef node = either();
    skip_space();
    if (at_ != text_.size()) expected("&&, || or the end");
    return node;
  }

 private:
  [[noreturn]] void expected(std::string_view what) {
    skip_space();
    const std::string_view rest = text_.substr(at_);
    fail(ErrorKind::usage, "selector \"{}\": {} expected at {}", printable(text_), what,
         rest.empty() ? std::string("its end") : "\"" + printable(rest, 20) + "\"");
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
  }
  bool take(std::string_view token) {
    skip_space();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  // A whole word, so that "index" is no "in".
  bool take_word(std::string_view word) {
    skip_space();
    const std::string_view rest = text_.substr(at_);
    if (!rest.starts_with(word) || (rest.size() > word.size() && is_name_char(rest[word.size()]))) return false;
    at_ += word.size();
    return true;
  }
  void need(std::string_view token) {
    if (!take(token)) expected(token);
  }

  std::string name() {
    skip_space();
    size_t end = at_;
    while (end < text_.size() && is_name_char(text_[end])) ++end;
    if (end == at_) expected("a label's name");
    if (end - at_ > kLongestName) fail(ErrorKind::usage, "selector \"{}\": a label's name has at most 63 characters", printable(text_));
    std::string out(text_.substr(at_, end - at_));
    at_ = end;
    return out;
  }
  std::string value() {
    skip_space();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) expected("a value in quotes, like 'a',");
    const char quote = text_[at_];
    const size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) expected("a closing quote for what begins");
    std::string out(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return out;
  }
  std::vector<std::string> set() {
    std::vector<std::string> values;
    need("{");
    do values.push_back(value());
    while (take(","));
    need("}");
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values;
  }

  static NodeRef make(Op op, NodeRef left, NodeRef right) {
    return std::make_shared<Node>(Node{op, {}, {}, std::move(left), std::move(right)});
  }
  static NodeRef test(Op op, std::string label, std::vector<std::string> values) {
    return std::make_shared<Node>(Node{op, std::move(label), std::move(values), nullptr, nullptr});
  }

  NodeRef either() {
    NodeRef node = both();
    while (take("||")) node = make(Op::either, node, both());
    return node;
  }
  NodeRef both() {
    NodeRef node = unary();
    while (take("&&")) node = make(Op::both, node, unary());
    return node;
  }
  NodeRef unary() {
    if (++depth_ > kDeepest) fail(ErrorKind::usage, "selector \"{}\" is nested deeper than {}", printable(text_), kDeepest);
    NodeRef node;
    if (take("!")) {
      node = make(Op::negate, unary(), nullptr);
    } else if (take("(")) {
      node = either();
      need(")");
    } else {
      node = test();
    }
    --depth_;
    return node;
  }
  NodeRef test() {
    const std::string label = name();
    if (label == "all" && take("(")) {
      need(")");
      return test(Op::all, {}, {});
    }
    if (label == "has" && take("(")) {
      std::string inner = name();
      need(")");
      return test(Op::has, std::move(inner), {});
    }
    if (take("==")) return test(Op::equals, label, {value()});
    if (take("!=")) return test(Op::differs, label, {value()});
    if (take_word("in")) return test(Op::in, label, set());
    if (take_word("not")) {
      if (!take_word("in")) expected("in");
      return test(Op::not_in, label, set());
    }
    if (take_word("contains")) return test(Op::contains, label, {value()});
    const bool starts = take_word("starts");
    if (starts || take_word("ends")) {
      if (!take_word("with")) expected("with");
      return test(starts ? Op::starts : Op::ends, label, {value()});
    }
    expected(label == "all" || label == "has" ? "(" : "==, !=, in, not in, contains, starts with or ends with");
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

const std::string* find(const Labels& labels, const std::string& name) {
  const auto at = std::lower_bound(labels.begin(), labels.end(), name,
                                   [](const auto& label, const std::string& wanted) { return label.first < wanted; });
  return at != labels.end() && at->first == name ? &at->second : nullptr;
}

bool matches(const Node& node, const Labels& labels) {
  const std::string* value = node.label.empty() ? nullptr : find(labels, node.label);
  const auto is_one = [&] { return std::binary_search(node.values.begin(), node.values.end(), *value); };
  switch (node.op) {
    case Op::all:
      return true;
    case Op::has:
      return value != nullptr;
    case Op::equals:
    case Op::in:
      return value != nullptr && is_one();
    case Op::differs:
    case Op::not_in:
      return value == nullptr || !is_one();
    case Op::contains:
      return value != nullptr && value->find(node.values[0]) != std::string::npos;
    case Op::starts:
      return value != nullptr && value->starts_with(node.values[0]);
    case Op::ends:
      return value != nullptr && value->ends_with(node.values[0]);
    case Op::negate:
      return !matches(*node.left, labels);
    case Op::both:
      return matches(*node.left, labels) && matches(*node.right, labels);
    case Op::either:
      return matches(*node.left, labels) || matches(*node.right, labels);
  }
  return false;
}

std::string quoted(const std::string& value) {
  const char quote = value.find('\'') == std::string::npos ? '\'' : '"';
  return quote + value + quote;
}

std::string quoted_set(const std::vector<std::string>& values) {
  std::string out = "{";
  for (const std::string& value : values) out += (out.size() > 1 ? ", " : "") + quoted(value);
  return out + "}";
}

std::string text_of(const Node& node);

// In parentheses where what stands around binds more strongly.
std::string inside(const Node& node, Op around) {
  const bool loose = node.op == Op::either || (node.op == Op::both && around == Op::negate);
  return loose && around != Op::either ? "(" + text_of(node) + ")" : text_of(node);
}

std::string text_of(const Node& node) {
  switch (node.op) {
    case Op::all:
      return "all()";
    case Op::has:
      return "has(" + node.label + ")";
    case Op::equals:
      return node.label + " == " + quoted(node.values[0]);
    case Op::differs:
      return node.label + " != " + quoted(node.values[0]);
    case Op::in:
      return node.label + " in " + quoted_set(node.values);
    case Op::not_in:
      return node.label + " not in " + quoted_set(node.values);
    case Op::contains:
      return node.label + " contains " + quoted(node.values[0]);
    case Op::starts:
      return node.label + " starts with " + quoted(node.values[0]);
    case Op::ends:
      return node.label + " ends with " + quoted(node.values[0]);
    case Op::negate:
      return "!" + inside(*node.left, Op::negate);
    case Op::both:
      return inside(*node.left, Op::both) + " && " + inside(*node.right, Op::both);
    case Op::either:
      return inside(*node.left, Op::either) + " || " + inside(*node.right, Op::either);
  }
  return {};
}

bool is_word(std::string_view text) { return std::all_of(text.begin(), text.end(), is_name_char); }

}  // namespace

Selector::Selector() = default;

Selector::Selector(std::string_view text) {
  if (text.size() > kLongestText) fail(ErrorKind::usage, "a selector has at most {} characters, this one {}", kLongestText, text.size());
  if (!trim(text).empty()) root_ = Parser(text).parse();
}

bool Selector::matches(const Labels& labels) const { return !root_ || knet::matches(*root_, labels); }

std::string Selector::str() const { return root_ ? text_of(*root_) : "all()"; }

std::pair<std::string, std::string> parse_label(std::string_view text) {
  const size_t sign = text.find('=');
  if (sign == std::string_view::npos) fail(ErrorKind::usage, "\"{}\" is no label; give NAME=VALUE", printable(text));
  const std::string_view name = text.substr(0, sign), value = text.substr(sign + 1);
  if (name.empty() || name.size() > kLongestName || !is_word(name))
    fail(ErrorKind::usage, "\"{}\" is no label's name; it has 1 to 63 letters, digits, and . _ / -", printable(name));
  if (value.size() > kLongestName || !is_word(value))
    fail(ErrorKind::usage, "\"{}\" is no label's value; it has up to 63 letters, digits, and . _ / -", printable(value));
  return {std::string(name), std::string(value)};
}

}  // namespace knet
