#include "commands/common/config_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <istream>
#include <iterator>

#include "base/text.h"
#include "commands/common/flags.h"
#include "commands/common/run.h"
#include "commands/common/toml.h"

namespace knet {
namespace {

constexpr const char* kDefaultFile = "/etc/knet/knet.toml";

/// Said each time or not at all: neither file nor environment may say these for the user.
constexpr std::array<std::string_view, 7> kSpokenOnly = {"force", "dry-run", "once", "all", "yes", "keep-lease", "help"};

void keep_spoken(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      if (std::find(kSpokenOnly.begin(), kSpokenOnly.end(), name) != kSpokenOnly.end()) option->configurable(false);
    }
  }
  for (CLI::App* verb : app.get_subcommands([](CLI::App*) { return true; })) keep_spoken(*verb);
}

/// Verbs, and theirs.
std::vector<CLI::App*> verbs_below(CLI::App& app) {
  std::vector<CLI::App*> out;
  for (CLI::App* verb : app.get_subcommands([](CLI::App*) { return true; })) {
    out.push_back(verb);
    const std::vector<CLI::App*> below = verbs_below(*verb);
    out.insert(out.end(), below.begin(), below.end());
  }
  return out;
}

bool set_by_environment(const CLI::Option& option) {
  const char* value = option.get_envname().empty() ? nullptr : std::getenv(option.get_envname().c_str());
  return value != nullptr && *value != '\0';
}

}  // namespace

std::shared_ptr<ConfigFile> ConfigFile::attach(CLI::App& app, const Command& command) {
  std::shared_ptr<ConfigFile> file(new ConfigFile(app, command));
  keep_spoken(app);
  const char* named = std::getenv("KNET_CONFIG_FILE");
  const bool from_env = named != nullptr && *named != '\0';
  file->option_ = app.set_config("--config-file", from_env ? named : kDefaultFile,
                                 fmt::format("flags' values in TOML (default {}; KNET_CONFIG_FILE)", kDefaultFile));
  file->option_->type_name("FILE")->group("Common");
  if (from_env && ::access(named, R_OK) != 0) {
    file->error_ = fmt::format("KNET_CONFIG_FILE={}: {}", printable(named), errno_text(errno));
  }
  app.config_formatter(file);
  return file;
}

std::vector<CLI::ConfigItem> ConfigFile::from_config(std::istream& input) const {
  try {
    return read(std::string(std::istreambuf_iterator<char>(input), {}));
  } catch (const Error& error) {
    error_ = error.text;  // CLI11 would drop it for a file that was not named on the command line
    return {};
  }
}

std::vector<CLI::ConfigItem> ConfigFile::read(const std::string& text) const {
  std::vector<CLI::ConfigItem> out;
  const std::string file = path();
  for (TomlItem& item : parse_toml(text, file)) {
    const std::string place = fmt::format("{} line {}", file, item.line);
    const bool shared = item.section.empty();
    if (shared && !is_shared_flag(item.key)) {
      const std::optional<std::string> near = nearest(item.key, shared_flags());
      fail(ErrorKind::config, "{}: '{}' is no flag that commands share{}", place, printable(item.key),
           near ? fmt::format("; did you mean {}?", *near)
                : fmt::format("; put it under its command, as in [{}]", command_.name));
    }
    if (!shared && item.section != command_.name) {
      if (find_command(item.section) == nullptr) {
        fail(ErrorKind::config, "{}: there is no command '{}' for section [{}]", place, printable(item.section),
             printable(item.section));
      }
      continue;
    }
    // The command itself, then the verb that was typed, then those that were not (known, but not now).
    const std::string name = "--" + item.key;
    CLI::App* holder = app_.get_option_no_throw(name) != nullptr ? &app_ : nullptr;
    bool now = holder != nullptr;
    for (CLI::App* verb : verbs_below(app_)) {
      if (now || verb->get_option_no_throw(name) == nullptr) continue;
      holder = verb;
      now = verb->parsed();
    }
    if (holder == nullptr && !shared) {
      fail(ErrorKind::config, "{}: knet {} has no flag {}; see knet {} --help", place, command_.name, printable(name),
           command_.name);
    }
    if (holder == nullptr || !now) continue;
    const CLI::Option& option = *holder->get_option(name);
    if (&option == option_ || !option.get_configurable()) {
      fail(ErrorKind::config, "{}: {} is taken from the command line only", place, name);
    }
    if (set_by_environment(option)) continue;
    places_[name] = place;
    CLI::ConfigItem& result = out.emplace_back();
    for (CLI::App* at = holder; at != &app_; at = at->get_parent()) result.parents.insert(result.parents.begin(), at->get_name());
    result.name = item.key;
    result.inputs = std::move(item.values);
  }
  return out;
}

std::string ConfigFile::path() const {
  return option_->count() > 0 ? option_->as<std::string>() : option_->get_default_str();
}

std::string ConfigFile::place_of(const std::string& option) const {
  const auto found = places_.find(option);
  return found == places_.end() ? "" : found->second;
}

}  // namespace knet
