// What commands declare their words with, on top of CLI11: verbs, examples, choices, completions. Only commands include
// it; it brings in CLI11.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "commands/command.h"

namespace knet {

/// `knet NOUN VERB`. The noun's own flags may stand after the verb too; one verb must be given.
CLI::App* add_verb(CLI::App& noun, const std::string& name, const std::string& summary);

/// Lines below `examples:` in the help, such as "knet init --network 10.244.0.0/16".
void add_examples(CLI::App& app, const std::vector<std::string>& lines);

/// The option takes one of these words; a near miss is suggested, a shell is offered them.
CLI::Option* one_of(CLI::Option* option, const std::vector<std::string>& words);

/// Words that a shell may offer for an option's value; called only when it asks. If it throws, none are offered.
void offer(CLI::Option* option, std::function<std::vector<std::string>()> words);
std::vector<std::string> offered_words(const CLI::Option* option);

/// Names of all modes, for offer().
std::vector<std::string> mode_names();

}  // namespace knet
