#include "commands/mode/change.h"

#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "agent/mode_change.h"
#include "base/text.h"
#include "commands/common/output.h"
#include "commands/common/secrets.h"
#include "commands/common/table.h"
#include "core/mode.h"

namespace knet {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr std::chrono::milliseconds kLook{250};

std::string state_of(const ModeProgress::Node& node) {
  return node.over ? fmt::format("announces {}, receives nothing else", node.announced)
         : !node.receives.empty() && node.why.starts_with("still") ? fmt::format("announces {}, {}", node.announced, node.why)
                                                                   : node.why;
}

/// Until all nodes are over or the time is; a line for each node whose state changes.
ModeProgress follow(ClusterStore& cluster, const NetworkConfig& config, Clock::time_point begin, Clock::time_point end, bool tell) {
  std::map<std::string, std::string> told;
  for (;;) {
    ModeProgress progress = mode_progress(cluster, config);
    for (const ModeProgress::Node& node : progress.nodes) {
      const std::string state = state_of(node);
      if (!tell || told[node.name] == state) continue;
      told[node.name] = state;
      print(fmt::format("{:5.1f} s  {}  {}\n", std::chrono::duration<double>(Clock::now() - begin).count(), node.name, state));
      std::fflush(stdout);
    }
    if (progress.over() || Clock::now() + kLook > end) return progress;
    std::this_thread::sleep_for(kLook);
  }
}

Json as_json(const ModeProgress& progress) {
  Json nodes = Json::array();
  for (const ModeProgress::Node& node : progress.nodes)
    nodes.push_back({{"name", node.name}, {"announces", node.announced}, {"receives", node.receives}, {"over", node.over}, {"why", node.why}});
  return nodes;
}

Json as_json(const ModeSetReport& report, bool dry_run) {
  return {{"store", report.where}, {"key", report.key}, {"from", report.from.mode}, {"to", report.to.mode},
          {"written", report.changes && !dry_run}, {"notices", report.notices}};
}

void print_set(const ModeSetReport& report, const ModeChangeFlags& flags) {
  for (const std::string& notice : report.notices) print("note: " + notice + "\n");
  print(fmt::format("{} -> {}  {}{} {}\n", report.from.mode, report.to.mode, flags.dry_run ? "dry run: would be written to " : "written to ",
                    report.where, report.key));
  if (flags.wait && !flags.dry_run) return;
  print(fmt::format("{} change{} over one by one: each makes its part of {} ready, then announces it, and receives {} until all others "
                    "have acted on that\n",
                    count_of(report.nodes, "node"), report.nodes == 1 ? "s" : "", report.to.mode, report.from.mode));
  if (!flags.dry_run) print("next: knet node list | knet mode finish, to end it early\n");
}

/// The verdict at the end, and what follows from it.
int conclude(ClusterStore& cluster, const ModeProgress& progress, const ModeSetReport& report, double seconds, Json& json, bool tell) {
  std::vector<std::string> late;
  for (const ModeProgress::Node& node : progress.nodes)
    if (!node.over) late.push_back(fmt::format("{} {}", node.name, node.why));
  json["nodes"] = as_json(progress);
  json["seconds"] = seconds;
  json["over"] = late.empty();
  if (!late.empty()) {
    if (tell)
      print(fmt::format("NOT OVER after {:.0f} s: {} of {}: {}\nnext: knet status on these nodes, for what holds them | knet mode set {} --wait, to go on waiting\n", seconds,
                        late.size(), count_of(progress.nodes.size(), "node"), join(late, "; "), report.to.mode));
    return kExitFailed;
  }
  // Nobody needs the earlier modes' options any more.
  std::string finished;
  try {
    finished = join(finish_mode(cluster, mode_registry(), false, false).finished, ", ");
  } catch (const Error& error) {
    if (error.kind != ErrorKind::conflict) throw;
  }
  json["finished"] = finished;
  if (tell)
    print(fmt::format("{} changed over to {} in {:.1f} s{}\n", count_of(progress.nodes.size(), "node"), report.to.mode, seconds,
                      finished.empty() ? "" : fmt::format("; {} finished", finished)));
  return kExitOk;
}

}  // namespace

int mode_set(const StoreOptions& options, const ModeChangeFlags& flags, const OutputFlag& output) {
  const auto begin = Clock::now();
  const auto end = begin + duration_of("--wait-timeout", flags.timeout);
  const std::unique_ptr<Store> store = open_store(options);
  ClusterStore cluster(*store, StorePaths{options.prefix});
  const ModeSetReport report = set_mode(cluster, mode_registry(), {flags.mode, read_secrets(flags.options, "--opt"), flags.force, flags.dry_run});
  const bool tell = !output.json();
  Json json = as_json(report, flags.dry_run);
  const bool under_way = !report.to.earlier.empty();
  if (!report.changes && tell)
    print(fmt::format("the cluster's mode is {} already{}\n", report.to.mode, under_way && !flags.wait ? "; look at knet node list for who is over" : ""));
  if (report.changes && tell) print_set(report, flags);
  int status = kExitOk;
  if (flags.wait && !flags.dry_run && (report.changes || under_way)) {
    const ModeProgress progress = follow(cluster, report.to, begin, end, tell);
    status = conclude(cluster, progress, report, std::chrono::duration<double>(Clock::now() - begin).count(), json, tell);
  }
  if (!tell) print_json(json);
  return status;
}

int mode_finish(const StoreOptions& options, const ModeChangeFlags& flags, const OutputFlag& output) {
  const std::unique_ptr<Store> store = open_store(options);
  ClusterStore cluster(*store, StorePaths{options.prefix});
  const ModeFinishReport report = finish_mode(cluster, mode_registry(), flags.force, flags.dry_run);
  if (output.json()) {
    print_json({{"store", report.where}, {"key", report.key}, {"finished", report.finished},
                {"written", !report.finished.empty() && !flags.dry_run}, {"notices", report.notices}});
    return kExitOk;
  }
  for (const std::string& notice : report.notices) print("note: " + notice + "\n");
  if (report.finished.empty()) print("nothing to finish: no earlier mode is received\n");
  else
    print(fmt::format("{}{} finished: no node receives it any more\n", flags.dry_run ? "dry run: " : "", join(report.finished, ", ")));
  return kExitOk;
}

}  // namespace knet
