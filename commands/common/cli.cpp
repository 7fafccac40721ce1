#include "commands/common/cli.h"

#include <fmt/format.h>

#include <map>

#include "base/text.h"
#include "core/mode.h"

namespace knet {
namespace {

using Words = std::function<std::vector<std::string>()>;

/// By option; one command is declared per process, so this stays small.
std::map<const CLI::Option*, Words>& offers() {
  static std::map<const CLI::Option*, Words> map;
  return map;
}

}  // namespace

CLI::App* add_verb(CLI::App& noun, const std::string& name, const std::string& summary) {
  CLI::App* verb = noun.add_subcommand(name, summary);
  verb->fallthrough();
  verb->set_help_flag("-h,--help")->group("");  // the noun's line says it
  noun.require_subcommand(1);
  return verb;
}

void add_examples(CLI::App& app, const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "  " + line + "\n";
  app.footer(text);
}

CLI::Option* one_of(CLI::Option* option, const std::vector<std::string>& words) {
  offer(option, [words] { return words; });
  return option->check([words](const std::string& value) -> std::string {
    if (std::find(words.begin(), words.end(), value) != words.end()) return {};
    const std::optional<std::string> near = nearest(value, words);
    return fmt::format("'{}' is none of {}{}", printable(value), join(words, ", "),
                       near ? "; did you mean " + *near + "?" : "");
  });
}

void offer(CLI::Option* option, Words words) { offers()[option] = std::move(words); }

std::vector<std::string> offered_words(const CLI::Option* option) {
  const auto found = offers().find(option);
  if (found == offers().end()) return {};
  try {
    return found->second();
  } catch (const std::exception&) {
    return {};
  }
}

std::vector<std::string> mode_names() {
  std::vector<std::string> names;
  for (const Mode* mode : mode_registry().all()) names.emplace_back(mode->name());
  return names;
}

}  // namespace knet
