// What a subcommand is: its name, one line for the list, and a function that declares its flags on a CLI::App and
// returns what to run after parsing. One file in commands/ each, found by CMake, which writes the table; shared
// pieces are in commands/common/. Only code below commands/ knows CLI11.
#pragma once

#include <functional>
#include <span>
#include <string_view>

namespace CLI {
class App;
}

namespace knet {

/// Where `knet --help` lists it.
enum class CommandGroup { cluster, node, look, plugin, lab, other };

struct Command {
  std::string_view name;     // what the user types; the file's name
  std::string_view summary;  // no full stop
  CommandGroup group;
  /// Declares flags, examples (footer) and verbs; returns the action, whose result is the exit status (base/error.h).
  std::function<int()> (*declare)(CLI::App& app);
  /// Owns all of its argv instead. Without a `declare` (flanneld) it is called when argv[0]'s basename or argv[1] is the
  /// name; with one (cni) only when the environment and the bare argv say that a CNI runtime calls (src/main.cpp).
  int (*applet)(int argc, char** argv) = nullptr;
  std::string_view plural = {};  // of a noun: `knet nodes list` is `knet node list`
};

/// The table that CMake writes from commands/*.cpp, sorted by name.
std::span<const Command* const> all_commands();

}  // namespace knet
