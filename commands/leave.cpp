// knet leave: gives the subnet back and takes knet off this machine.
#include "agent/leave.h"

#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "commands/common/cli.h"
#include "commands/common/flags.h"
#include "commands/common/output.h"
#include "commands/common/table.h"

namespace knet {
namespace {

struct Flags : CommonFlags {
  bool keep_lease = false, dry_run = false;
};

int run(const Flags& flags) {
  LeaveOptions options;
  options.paths = flags.paths.paths();
  options.settings = load_node_settings(options.paths).value_or(NodeSettings{});
  options.settings.store = flags.store.options(options.paths);
  options.keep_lease = flags.keep_lease;
  options.dry_run = flags.dry_run;
  const LeaveReport report = run_leave(options);
  const int status = report.failed.empty() ? kExitOk : kExitFailed;
  if (flags.output.json()) {
    print_json({{"dry_run", flags.dry_run}, {"removed", report.removed}, {"failed", report.failed}, {"notices", report.notices}});
    return status;
  }
  Table table({{""}, {"", Column::Kind::free}});
  for (const std::string& line : report.removed) table.add({flags.dry_run ? "would remove" : "removed", line});
  for (const std::string& line : report.failed) table.add({Cell("FAILED", Tone::bad), line});
  for (const std::string& line : report.notices) table.add({"note", line});
  print(table);
  if (report.removed.empty() && report.failed.empty()) {
    print("nothing of knet is on this machine\n");
  } else if (!report.failed.empty()) {
    print(fmt::format("{} removed, {} could not be; run knet leave again once that is mended\n", report.removed.size(), report.failed.size()));
  } else {
    print(fmt::format("{}{}\n", count_of(report.removed.size(), "thing"), flags.dry_run ? " would be removed" : " removed; nothing of knet is left on this machine"));
  }
  return status;
}

std::function<int()> declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_flag("--dry-run", flags->dry_run, "list what would be removed, remove nothing");
  app.add_flag("--keep-lease", flags->keep_lease, "keep the subnet in the store, to come back to it");
  flags->declare_common(app);
  add_examples(app, {"knet leave --dry-run", "knet leave"});
  return [flags] { return run(*flags); };
}

}  // namespace

const Command& leave_command() {
  static const Command command{"leave", "give this node's subnet back and remove every trace of knet from it", CommandGroup::cluster, declare};
  return command;
}

}  // namespace knet
