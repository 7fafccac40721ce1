// One command's help from its CLI::App. Text only.
#pragma once

#include <string>
#include <vector>

#include "commands/common/cli.h"

namespace knet {

/// `knet COMMAND [VERB] --help`. `path` is "knet COMMAND [VERB]"; a verb's help ends with its noun's flags.
std::string help_text(const CLI::App& app, const std::string& path);

/// A noun's verbs, without hidden ones.
std::vector<const CLI::App*> verbs_of(const CLI::App& app);

/// "--store" or "-o, --output" or "DST": how people name an option.
std::string spoken_name(const CLI::Option& option);

}  // namespace knet
