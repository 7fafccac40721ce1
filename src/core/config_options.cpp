// Options of a mode by their specs: finding, checking, text.
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "core/config_pool.h"
#include "core/mode.h"

namespace knet {
namespace {

std::vector<std::string> option_names(const Mode& mode) {
  std::vector<std::string> names;
  for (const OptionSpec& spec : mode.options()) names.emplace_back(spec.name);
  std::sort(names.begin(), names.end());
  return names;
}

bool is_utf8(std::string_view text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

}  // namespace

const OptionSpec* find_spec(const Mode& mode, std::string_view key) {
  for (const OptionSpec& spec : mode.options()) {
    if (equals_ignoring_case(spec.name, key)) return &spec;
  }
  return nullptr;
}

std::string unknown_option(const Mode& mode, std::string_view key) {
  const std::vector<std::string> names = option_names(mode);
  std::string text = fmt::format("mode {} has no option {}", mode.name(), printable(key));
  if (names.empty()) return text + "; it has none";
  const auto near = nearest(key, names);
  return text + (near ? fmt::format("; did you mean {}? it has ", *near) : "; it has ") + join(names, ", ");
}

OptionValue check_integer(const OptionSpec& spec, int64_t value, std::string_view word, ErrorKind kind) {
  if (value < spec.min || value > spec.max) {
    fail(kind, "{}: {} is out of range; give {} to {}", word, value, spec.min, spec.max);
  }
  return value;
}

OptionValue check_text(const OptionSpec& spec, std::string_view text, std::string_view word, ErrorKind kind) {
  if (spec.values.empty()) return std::string(text);
  for (const std::string_view value : spec.values)
    if (equals_ignoring_case(value, text)) return std::string(value);
  const std::vector<std::string> names(spec.values.begin(), spec.values.end());
  const auto near = nearest(text, names);
  fail(kind, "{}: \"{}\" is none of {}{}", word, printable(text), join(names, ", "),
       near ? fmt::format("; did you mean {}?", *near) : "");
}

OptionValue parse_option(const OptionSpec& spec, std::string_view text, std::string_view word, ErrorKind kind) {
  switch (spec.type) {
    case OptionType::boolean: {
      const auto value = parse_bool(text);
      if (!value) fail(kind, "{}: \"{}\" is neither true nor false", word, printable(text));
      return *value;
    }
    case OptionType::integer: {
      const auto value = parse_int(text);
      if (!value) fail(kind, "{}: \"{}\" is not a number; give {} to {}", word, printable(text), spec.min, spec.max);
      return check_integer(spec, *value, word, kind);
    }
    case OptionType::text:
      break;
  }
  if (!is_utf8(text)) fail(kind, "{}: \"{}\" is not UTF-8 text", word, spec.secret ? "..." : printable(text));
  return check_text(spec, text, word, kind);
}

std::string option_to_text(const OptionValue& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const int64_t* number = std::get_if<int64_t>(&value)) return std::to_string(*number);
  return std::get<std::string>(value);
}

std::string effective_option(const NetworkConfig& config, const OptionSpec& spec) {
  for (const auto& [name, value] : config.options) {
    if (name == spec.name) return option_to_text(value);
  }
  return std::string(spec.fallback);
}

}  // namespace knet
