// Values below /proc/sys, of the calling thread's network namespace. No privilege needed to read.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace knet {

/// The value without its newline; nothing if there is no such path or it can't be read.
std::optional<std::string> read_sysctl(std::string_view path);
/// 0 or errno. Does not write what is there already.
int write_sysctl(std::string_view path, std::string_view value);

}  // namespace knet
