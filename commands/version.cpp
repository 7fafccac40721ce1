// knet version: which build this is.
#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/version.h"
#include "commands/common/cli.h"
#include "commands/common/flags.h"
#include "commands/common/output.h"
#include "commands/common/table.h"

namespace knet {
namespace {

int show_version(const OutputFlag& output) {
  if (output.json()) {
    print_json({{"version", kVersion}, {"commit", build_commit()}});
    return kExitOk;
  }
  print(build_commit().empty() ? fmt::format("knet {}\n", kVersion) : fmt::format("knet {} ({})\n", kVersion, build_commit()));
  return kExitOk;
}

std::function<int()> declare(CLI::App& app) {
  auto output = std::make_shared<OutputFlag>();
  output->declare(app);
  add_examples(app, {"knet version", "knet version -o json"});
  return [output] { return show_version(*output); };
}

}  // namespace

const Command& version_command() {
  static const Command command{"version", "which knet this is", CommandGroup::other, declare};
  return command;
}

}  // namespace knet
