// Secrets for a command line: options as Key=@FILE, passwords by --password-file, so that no argv, history or process
// list holds them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace knet {

/// The words Key=Value with each secret option's @FILE replaced by the file's text without its last newline. Throws
/// Error{usage} for a secret that is given itself (without repeating it), or a file that is not there. `flag` begins
/// the messages: "--opt".
std::vector<std::string> read_secrets(std::vector<std::string> words, const std::string& flag);

/// A session's password (TCP MD5: 1 to 80 bytes of printable text) from a file, or from stdin for "-"; its last newline
/// is no part of it. A file that others may read adds a line to `notices`. Throws Error{usage}; never repeats the text.
std::string read_password_file(std::string_view flag, const std::string& file, std::vector<std::string>& notices);

/// "(hidden)", or "none".
std::string shown_password(const std::string& password);

}  // namespace knet
