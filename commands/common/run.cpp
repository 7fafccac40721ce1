#include "commands/common/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "commands/common/cli.h"
#include "commands/common/config_file.h"
#include "commands/common/help.h"
#include "commands/common/table.h"

namespace knet {
namespace {

/// The verb that was typed, if any; of a noun's noun (`bgp peer add`) the last.
const CLI::App& deepest(const CLI::App& app) {
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  return parsed.empty() ? app : deepest(*parsed.back());
}

/// " peer add": the verbs from below the command down to this one.
std::string verb_path(const CLI::App& app) {
  return app.get_parent() == nullptr ? "" : verb_path(*app.get_parent()) + " " + app.get_name();
}

/// An App of one command, with everything declared.
class Prepared {
 public:
  explicit Prepared(const Command& command) : app(std::string(command.summary), std::string(command.name)) {
    app.set_help_flag("-h,--help", "this text")->group("Common");
    action = command.declare(app);
    file = ConfigFile::attach(app, command);
  }

  CLI::App app;
  std::function<int()> action;
  std::shared_ptr<ConfigFile> file;
};

const CLI::Option* find_option(const CLI::App& app, const std::string& name) {
  if (name.empty()) return nullptr;
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent()) {
    for (const CLI::Option* option : at->get_options()) {
      if (option->check_name(name)) return option;
    }
  }
  return nullptr;
}

std::vector<std::string> long_flags(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* at = &app; at != nullptr; at = at->get_parent()) {
    for (const CLI::Option* option : at->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

std::string unknown_word(const CLI::App& app, const std::string& word, const std::string& help) {
  const std::string name = word.substr(0, word.find('='));
  if (name.starts_with('-')) {
    // A single dash is a slip too: -store.
    const std::string as_long = name.starts_with("--") ? name : "-" + name;
    const std::vector<std::string> flags = long_flags(app);
    const bool exact = std::find(flags.begin(), flags.end(), as_long) != flags.end();
    const std::optional<std::string> near = exact ? as_long : nearest(as_long, flags);
    return fmt::format("unknown flag {}; {}", printable(name), near ? "did you mean " + *near + "?" : help);
  }
  std::vector<std::string> names;
  for (const CLI::App* verb : verbs_of(app)) names.push_back(verb->get_name());
  if (names.empty()) return fmt::format("'{}' is one word too many; {}", printable(word), help);
  const std::optional<std::string> near = nearest(word, names);
  if (near) return fmt::format("no verb '{}'; did you mean {}?", printable(word), *near);
  return fmt::format("no verb '{}'; there are: {}", printable(word), join(names, ", "));
}

/// CLI11's complaint in our words; one line.
std::string in_our_words(const Prepared& prepared, const CLI::ParseError& error, const std::vector<std::string>& words,
                         const std::string& help) {
  const CLI::App& app = deepest(prepared.app);
  const std::string text = error.what();
  const auto kind = static_cast<CLI::ExitCodes>(error.get_exit_code());
  const std::vector<std::string> extras = prepared.app.remaining(true);
  const bool no_verb = text.starts_with("A subcommand");
  if (kind == CLI::ExitCodes::ExtrasError || (no_verb && !extras.empty())) {
    const auto first = std::find_first_of(words.begin(), words.end(), extras.begin(), extras.end());
    return unknown_word(app, first == words.end() ? extras.front() : *first, help);
  }
  if (kind == CLI::ExitCodes::RequiredError) {
    if (no_verb) {
      std::vector<std::string> names;
      for (const CLI::App* verb : verbs_of(app)) names.push_back(verb->get_name());
      return fmt::format("which verb? there are: {}", join(names, ", "));
    }
    return fmt::format("{} is missing; {}", text.substr(0, text.find(' ')), help);
  }
  // The others begin with the option's name, or have it after "Could not convert: ".
  constexpr std::string_view kConvert = "Could not convert: ";
  std::string rest = text.starts_with(kConvert) ? text.substr(kConvert.size()) : text;
  const std::string name = rest.substr(0, rest.find_first_of(" :"));
  const CLI::Option* option = find_option(app, name);
  std::string place = prepared.file->place_of(name);
  for (const std::string& word : words) {
    if (word.substr(0, word.find('=')) == name) place.clear();
  }
  if (!place.empty()) place += ": ";
  if (option == nullptr) return place + text + "; " + help;
  rest = rest.substr(std::min(rest.size(), name.size()));
  if (kind == CLI::ExitCodes::ConversionError) {
    const size_t value = rest.find(" = ");
    const std::string given = value == std::string::npos ? "" : rest.substr(value + 3);
    const std::string wanted = option->get_type_name() == "INT" || option->get_type_name() == "N" ? "number" : lower(option->get_type_name());
    if (option->get_items_expected_max() == 0) return fmt::format("{}{} takes true or false, or nothing", place, name);
    return fmt::format("{}{}: '{}' is no {}; {}", place, name, printable(given), wanted, help);
  }
  if (kind == CLI::ExitCodes::ArgumentMismatch) {
    if (option->get_items_expected_max() == 0) return fmt::format("{}{} takes no value", place, name);
    return fmt::format("{}{} needs {}; {}", place, name,
                       text.find("missing") != std::string::npos ? "a value: " + name + " " + option->get_type_name() : "one value only", help);
  }
  if (kind == CLI::ExitCodes::ExcludesError || kind == CLI::ExitCodes::RequiresError) {
    const std::string other = text.substr(text.rfind(' ') + 1);
    return fmt::format("{}{} {} {}", place, name, kind == CLI::ExitCodes::ExcludesError ? "can't be given with" : "needs", other);
  }
  return place + name + rest;
}

}  // namespace

const Command* find_command(std::string_view word) {
  for (const Command* command : all_commands()) {
    if (command->name == word || (!command->plural.empty() && command->plural == word)) return command;
  }
  return nullptr;
}

const Command& get_command(std::string_view word) {
  if (const Command* command = find_command(word)) return *command;
  std::vector<std::string> names;
  for (const Command* command : all_commands()) names.emplace_back(command->name);
  const std::optional<std::string> near = nearest(word, names);
  fail(ErrorKind::usage, "no command '{}'; {}", printable(word), near ? "did you mean " + *near + "?" : "knet --help lists all");
}

int run_command(const Command& command, std::vector<std::string> words, std::string& who) {
  const std::string path = fmt::format("knet {}", command.name);
  who = path;
  Prepared prepared(command);
  const std::vector<std::string> typed = words;
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  auto told = [&] { return path + verb_path(deepest(prepared.app)); };
  try {
    prepared.app.parse(std::move(words));
  } catch (const CLI::CallForHelp&) {
    print(help_text(deepest(prepared.app), told()));
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    who = told();
    if (prepared.file->error()) throw Error(ErrorKind::config, *prepared.file->error());
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::FileError)) fail(ErrorKind::config, "--config-file {}: no such file", prepared.file->path());
    throw Error(ErrorKind::usage, in_our_words(prepared, error, typed, "see " + who + " --help"));
  }
  who = told();
  if (prepared.file->error()) throw Error(ErrorKind::config, *prepared.file->error());
  return prepared.action();
}

std::vector<std::string> complete(const std::vector<std::string>& words) {
  const Command* command = words.size() < 2 ? nullptr : find_command(words.front());
  if (command == nullptr || command->declare == nullptr) return {};
  Prepared prepared(*command);
  try {
    // As far as it goes: what is offered is looked up in the store that was typed, or that the environment names.
    std::vector<std::string> typed(words.rbegin() + 1, words.rend() - 1);
    prepared.app.parse(std::move(typed));
  } catch (const CLI::Error&) {
  }
  const CLI::App* app = &prepared.app;
  const CLI::Option* pending = nullptr;  // an option that waits for its value
  size_t positionals = 0;
  for (size_t i = 1; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (pending != nullptr) {
      pending = nullptr;
    } else if (word.starts_with('-')) {
      const CLI::Option* option = find_option(*app, word);
      if (option != nullptr && option->get_items_expected_max() > 0) pending = option;
    } else {
      const std::vector<const CLI::App*> verbs = verbs_of(*app);
      const auto verb = std::find_if(verbs.begin(), verbs.end(), [&](const CLI::App* it) { return it->check_name(word); });
      if (verb != verbs.end()) {
        app = *verb;
      } else {
        ++positionals;
      }
    }
  }
  std::vector<std::string> out;
  const std::string& last = words.back();
  auto put = [&](const std::string& word, const std::string& text = "") {
    if (word.starts_with(last)) out.push_back(text.empty() ? word : word + "\t" + text);
  };
  if (pending != nullptr) {
    for (const std::string& word : offered_words(pending)) put(word);
    return out;
  }
  if (const size_t equals = last.find('='); last.starts_with("--") && equals != std::string::npos) {
    const CLI::Option* option = find_option(*app, last.substr(0, equals));
    if (option == nullptr) return {};
    for (const std::string& word : offered_words(option)) put(last.substr(0, equals + 1) + word);
    return out;
  }
  if (last.starts_with('-')) {
    std::set<std::string> seen;
    for (const CLI::App* at = app; at != nullptr; at = at->get_parent()) {
      for (const CLI::Option* option : at->get_options()) {
        if (option->get_lnames().empty() || option->get_group().empty()) continue;
        const std::string name = "--" + option->get_lnames().front();
        if (seen.insert(name).second) put(name, option->get_description());
      }
    }
    return out;
  }
  for (const CLI::App* verb : verbs_of(*app)) {
    put(verb->get_name(), verb->get_description());
    for (const std::string& alias : verb->get_aliases()) put(alias, verb->get_description());
  }
  size_t at = 0;
  for (const CLI::Option* option : app->get_options()) {
    if (!option->get_positional()) continue;
    const bool many = option->get_items_expected_max() > 1;
    if (at == positionals || (many && at < positionals)) {
      for (const std::string& word : offered_words(option)) put(word);
    }
    ++at;
  }
  return out;
}

}  // namespace knet
