#include "commands/common/go_flags.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/text.h"

namespace knet {
namespace {

std::string env_name(std::string_view prefix, std::string_view flag) {
  std::string name = std::string(prefix) + "_" + std::string(flag);
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

/// What Go's strconv.ParseBool takes.
std::optional<bool> go_bool(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

}  // namespace

GoFlags::GoFlags(std::span<const GoFlag> known, std::span<const std::string> words, std::string_view env_prefix, const Environment& env)
    : known_(known) {
  for (size_t i = 0; i < words.size(); ++i) {
    std::string_view word = words[i];
    if (word == "--") break;
    if (word.size() < 2 || word[0] != '-') fail(ErrorKind::usage, "'{}' is no flag", printable(word));
    word.remove_prefix(word.starts_with("--") ? 2 : 1);
    const size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    if (name == "h" || name == "help") {
      help_ = true;
      continue;
    }
    const auto flag = std::find_if(known_.begin(), known_.end(), [&](const GoFlag& it) { return it.name == name; });
    if (flag == known_.end()) {
      std::vector<std::string> names;
      for (const GoFlag& it : known_) names.emplace_back(it.name);
      const std::optional<std::string> near = nearest(name, names);
      fail(ErrorKind::usage, "unknown flag {}; {}", printable(words[i]), near ? "did you mean --" + *near + "?" : "see --help");
    }
    if (equals != std::string_view::npos) {
      take(*flag, std::string(word.substr(equals + 1)), flag->name);
    } else if (flag->kind == GoFlag::Kind::boolean) {
      take(*flag, "true", flag->name);
    } else if (i + 1 < words.size()) {
      take(*flag, words[++i], flag->name);
    } else {
      fail(ErrorKind::usage, "--{} needs a value", flag->name);
    }
  }
  for (const GoFlag& flag : known_) {
    if (given(flag.name)) continue;
    const std::string name = env_name(env_prefix, flag.name);
    if (const std::optional<std::string> value = env(name); value && !value->empty()) take(flag, *value, name);
  }
}

void GoFlags::take(const GoFlag& flag, const std::string& value, std::string_view spelled) {
  if (flag.kind == GoFlag::Kind::boolean && !go_bool(value)) {
    fail(ErrorKind::usage, "{}: '{}' is neither true nor false", spelled, printable(value));
  }
  if (flag.kind == GoFlag::Kind::integer && !parse_int(value)) fail(ErrorKind::usage, "{}: '{}' is no number", spelled, printable(value));
  std::vector<std::string>& values = values_[flag.name];
  if (flag.kind != GoFlag::Kind::list) values.clear();
  values.push_back(value);
}

const GoFlag& GoFlags::known(std::string_view name) const {
  const auto flag = std::find_if(known_.begin(), known_.end(), [&](const GoFlag& it) { return it.name == name; });
  if (flag == known_.end()) fail(ErrorKind::bug, "no flag {} in the table", name);
  return *flag;
}

std::string GoFlags::text(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::string(known(name).fallback) : found->second.back();
}

bool GoFlags::flag(std::string_view name) const { return go_bool(text(name)).value_or(false); }

int64_t GoFlags::integer(std::string_view name) const { return parse_int(text(name)).value_or(0); }

std::vector<std::string> GoFlags::list(std::string_view name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::vector<std::string>{} : found->second;
}

std::vector<std::string_view> GoFlags::names_given() const {
  std::vector<std::string_view> names;
  for (const GoFlag& flag : known_) {
    if (given(flag.name)) names.push_back(flag.name);
  }
  return names;
}

}  // namespace knet
