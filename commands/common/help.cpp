#include "commands/common/help.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "commands/common/run.h"
#include "commands/common/table.h"

namespace knet {
namespace {

constexpr size_t kWidestName = 26;  // longer ones push their text to the next line

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::string left_side(const CLI::Option& option) {
  std::string text = option.get_snames().empty() ? "    " : "-" + option.get_snames().front() + (option.get_lnames().empty() ? "" : ", ");
  if (!option.get_lnames().empty()) text += "--" + option.get_lnames().front();
  const std::string type = option.get_type_name();  // a set of choices, as ":{a,b}", is in the help's text
  if (takes_value(option)) text += " " + type.substr(0, type.find(":{"));
  return text;
}

/// "  left    text", the text wrapped and aligned at `column`.
std::string item(const std::string& left, const std::string& text, size_t column) {
  std::string out = "  " + left;
  if (out.size() + 2 > column) {
    out += '\n' + std::string(column, ' ');
  } else {
    out.resize(column, ' ');
  }
  out += wrap(text, column);
  while (out.ends_with(' ')) out.pop_back();
  return out + '\n';
}

struct Section {
  std::string title;
  std::vector<const CLI::Option*> options;
};

/// Options by group in the order in which they were declared, common ones last.
std::vector<Section> sections_of(const CLI::App& app) {
  std::vector<Section> sections;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() || option->get_group().empty()) continue;
    const auto found = std::find_if(sections.begin(), sections.end(),
                                    [&](const Section& section) { return section.title == option->get_group(); });
    Section& section = found == sections.end() ? sections.emplace_back() : *found;
    section.title = option->get_group();
    section.options.push_back(option);
  }
  std::stable_partition(sections.begin(), sections.end(), [](const Section& section) { return section.title == "Options"; });
  std::stable_partition(sections.begin(), sections.end(), [](const Section& section) { return section.title != "Common"; });
  return sections;
}

/// Without those that `verb`, which stands below, has itself under the same name.
std::string options_text(const CLI::App& app, const CLI::App* verb = nullptr) {
  std::string out;
  size_t column = 0;
  std::vector<Section> sections = sections_of(app);
  for (Section& section : sections) {
    std::erase_if(section.options, [&](const CLI::Option* option) {
      return verb != nullptr && verb->get_option_no_throw(option->get_name()) != nullptr;
    });
  }
  std::erase_if(sections, [](const Section& section) { return section.options.empty(); });
  for (const Section& section : sections) {
    for (const CLI::Option* option : section.options) {
      column = std::max(column, std::min(left_side(*option).size(), kWidestName) + 4);
    }
  }
  for (const Section& section : sections) {
    out += '\n' + (section.title == "Options" ? "options" : lower(section.title)) + ":\n";
    for (const CLI::Option* option : section.options) {
      std::string text = option->get_description();
      if (!option->get_envname().empty()) text += "  [" + option->get_envname() + "]";
      out += item(left_side(*option), text, column);
    }
  }
  return out;
}

/// "peer, peers".
std::string names_of(const CLI::App& verb) {
  std::string text = verb.get_name();
  for (const std::string& alias : verb.get_aliases()) text += ", " + alias;
  return text;
}

std::string positionals_text(const CLI::App& app) {
  std::string out;
  size_t column = 0;
  auto positional = [](const CLI::Option* option) { return option->get_positional() && !option->get_description().empty(); };
  for (const CLI::Option* option : app.get_options()) {
    if (positional(option)) column = std::max(column, spoken_name(*option).size() + 4);
  }
  for (const CLI::Option* option : app.get_options()) {
    if (positional(option)) out += item(spoken_name(*option), option->get_description(), column);
  }
  return out.empty() ? out : '\n' + out;
}

}  // namespace

std::string spoken_name(const CLI::Option& option) {
  if (option.get_positional()) return option.get_name(true);
  if (!option.get_lnames().empty()) return "--" + option.get_lnames().front();
  return "-" + option.get_snames().front();
}

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* verb) { return !verb->get_group().empty(); });
}

std::string overview() {
  struct Group {
    CommandGroup group;
    std::string_view title;
  };
  static constexpr Group groups[] = {
      {CommandGroup::cluster, "the cluster"}, {CommandGroup::node, "this node"},     {CommandGroup::look, "look"},
      {CommandGroup::plugin, "called by others"}, {CommandGroup::lab, "try it out"}, {CommandGroup::other, "besides"},
  };
  std::string out = "knet - a network for pods over many machines, from one binary\n\nusage: knet COMMAND [options]\n";
  size_t column = 0;
  for (const Command* command : all_commands()) column = std::max(column, command->name.size() + 4);
  for (const Group& group : groups) {
    std::string lines;
    for (const Command* command : all_commands()) {
      if (command->group == group.group) lines += item(std::string(command->name), std::string(command->summary), column);
    }
    if (!lines.empty()) out += fmt::format("\n{}:\n{}", group.title, lines);
  }
  out +=
      "\nexamples:\n"
      "  knet init --network 10.244.0.0/16\n"
      "  knet join\n"
      "  knet lab up\n"
      "\nknet COMMAND --help says more, man knet says all.\n";
  return out;
}

std::string help_text(const CLI::App& app, const std::string& path) {
  const std::vector<const CLI::App*> verbs = verbs_of(app);
  std::string usage = "usage: " + path;
  if (!verbs.empty()) usage += app.get_require_subcommand_min() > 0 ? " VERB" : " [VERB]";
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) continue;
    const bool many = option->get_items_expected_max() > 1;
    const std::string name = spoken_name(*option) + (many ? "..." : "");
    usage += option->get_required() ? " " + name : " [" + name + "]";
  }
  usage += " [options]";
  std::string out = fmt::format("{} - {}\n\n{}\n", path, app.get_description(), usage);
  if (!verbs.empty()) {
    size_t column = 0;
    for (const CLI::App* verb : verbs) column = std::max(column, names_of(*verb).size() + 4);
    out += '\n';
    for (const CLI::App* verb : verbs) out += item(names_of(*verb), verb->get_description(), column);
  }
  out += positionals_text(app);
  out += options_text(app);
  for (const CLI::App* noun = app.get_parent(); noun != nullptr; noun = noun->get_parent()) out += options_text(*noun, &app);
  const CLI::App* examples = &app;
  while (examples->get_footer().empty() && examples->get_parent() != nullptr) examples = examples->get_parent();
  if (!examples->get_footer().empty()) out += "\nexamples:\n" + examples->get_footer();
  return out;
}

}  // namespace knet
