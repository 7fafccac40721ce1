// Flags as Go's flag package takes them: -name value, -name=value, --name..., booleans without a value, and each one
// also from the environment as PREFIX_NAME_WITH_UNDERSCORES; the command line wins. For the flanneld applet.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace knet {

struct GoFlag {
  enum class Kind { boolean, integer, text, list };
  std::string_view name;
  Kind kind;
  std::string_view fallback;
  std::string_view help;
};

class GoFlags {
 public:
  using Environment = std::function<std::optional<std::string>(const std::string&)>;

  /// Throws Error{usage} for an unknown flag (suggesting a near one), a missing or wrong value, or a word that is none.
  GoFlags(std::span<const GoFlag> known, std::span<const std::string> words, std::string_view env_prefix, const Environment& env);

  /// -h, -help or --help was among the words.
  bool help() const { return help_; }
  /// Given on the command line or by the environment.
  bool given(std::string_view name) const { return values_.contains(name); }
  bool flag(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  std::string text(std::string_view name) const;
  std::vector<std::string> list(std::string_view name) const;
  /// Names that were given, in the order of the table.
  std::vector<std::string_view> names_given() const;

 private:
  const GoFlag& known(std::string_view name) const;
  void take(const GoFlag& flag, const std::string& value, std::string_view spelled);

  std::span<const GoFlag> known_;
  std::map<std::string_view, std::vector<std::string>> values_;
  bool help_ = false;
};

}  // namespace knet
