// From words to a command: the one that is meant, its flags, running it. Only the chosen command's flags are declared,
// so a start costs what that command costs. Failures are thrown as knet::Error; main prints them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "commands/command.h"

namespace knet {

/// By name or plural. Null if there is none.
const Command* find_command(std::string_view word);
/// Throws Error{usage} "no command 'rout'; did you mean route?".
const Command& get_command(std::string_view word);

/// `knet --help`.
std::string overview();

/// Parses the words after the command's name and runs it. `who` is kept at "knet COMMAND [VERB]" for messages.
int run_command(const Command& command, std::vector<std::string> words, std::string& who);

/// What a shell may offer in place of the last word: "word\tdescription". `words` begins with the command's name.
std::vector<std::string> complete(const std::vector<std::string>& words);

}  // namespace knet
