// Secret options on a command line: given as Key=@FILE, so that no argv, history or process list holds them.
#pragma once

#include <string>
#include <vector>

namespace knet {

/// The words Key=Value with each secret option's @FILE replaced by the file's text without its last newline. Throws
/// Error{usage} for a secret that is given itself (without repeating it), or a file that is not there. `flag` begins
/// the messages: "--opt".
std::vector<std::string> read_secrets(std::vector<std::string> words, const std::string& flag);

}  // namespace knet
