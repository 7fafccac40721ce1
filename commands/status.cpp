// knet status: this node on one screen, from its agent.
#include "agent/status.h"

#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "agent/status_client.h"
#include "base/text.h"
#include "commands/common/cli.h"
#include "commands/common/flags.h"
#include "commands/common/output.h"
#include "commands/common/table.h"

namespace knet {
namespace {

constexpr size_t kMostLines = 10;  // of each kind of trouble; -o wide has all

std::string verdict_of(const StatusSnapshot& status) {
  if (!status.ready) return "NOT READY";
  return status.degraded.empty() ? "ready" : "degraded";
}

std::string store_text(const StatusSnapshot& status, int64_t now) {
  std::string text = status.store;
  if (status.store_connected) {
    text += fmt::format(", live at revision {} since {}", status.revision, since(status.store_since, now));
  } else {
    text += fmt::format(", AWAY since {}", since(status.store_since, now));
    if (!status.store_error.empty()) text += ": " + status.store_error;
  }
  if (status.from_cache) text += "; the view is the one kept on disk";
  return text;
}

std::string lease_text(const StatusSnapshot& status, int64_t now) {
  std::string text = join(std::vector<std::string>{status.subnet, status.subnet6}, " ");
  text = std::string(trim(text));
  if (text.empty()) return status.no_pods.empty() ? "NONE yet" : fmt::format("none: no pods ({})", status.no_pods);
  if (status.lease_until > now) text += ", lease for " + since(2 * now - status.lease_until, now);
  return text;
}

std::string mtu_text(const StatusSnapshot& status) {
  if (status.mtu_v4 != 0 && status.mtu_v6 != 0 && status.mtu_v4 != status.mtu_v6) {
    return fmt::format("{}, IPv6 {}", status.mtu_v4, status.mtu_v6);
  }
  return fmt::format("{}", status.mtu_v4 != 0 ? status.mtu_v4 : status.mtu_v6);
}

/// "host-gw (vxlan still announced)", "host-gw (vxlan still received)".
std::string mode_text(const StatusSnapshot& status) {
  std::vector<std::string> besides;
  if (!status.announced.empty() && status.announced != status.mode) besides.push_back(status.announced + " still announced");
  if (!status.receives.empty()) besides.push_back(join(status.receives, ", ") + " still received");
  return besides.empty() ? status.mode : fmt::format("{} ({})", status.mode, join(besides, "; "));
}

void print_status(const StatusSnapshot& status, bool all) {
  const int64_t now = unix_now();
  Table table({{""}, {"", Column::Kind::free}});
  std::string counts;
  for (const auto& [kind, count] : status.wanted) {
    if (count > 0) counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", kind, count);
  }
  const Tone bad = Tone::bad;
  table.add({"node", Cell(fmt::format("{}, {}", status.node, verdict_of(status)), status.ready ? Tone::plain : bad)});
  table.add({"agent", fmt::format("knet {}, pid {}, up {}", status.version, status.pid, since(status.since, now))});
  table.add({"store", Cell(store_text(status, now), status.store_connected ? Tone::plain : bad)});
  if (status.address.empty() && status.address6.empty()) table.add({"address", "-"});
  else
    table.add({"address", fmt::format("{}{}{} on {}", status.address, status.address.empty() || status.address6.empty() ? "" : ", ",
                                      status.address6, status.uplink)});
  table.add({"subnet", lease_text(status, now)});
  if (status.mode.empty()) table.add({"mode", "-"});
  else
    table.add({"mode", fmt::format("{}, pods' MTU {}, network {}", mode_text(status), mtu_text(status),
                                   trim(status.network + " " + status.network6))});
  for (const StatusSnapshot::Path& path : status.datapaths)
    table.add({"datapath", fmt::format("{}: {}{}{}", path.mode, path.name, path.why.empty() ? "" : ", ", path.why)});
  table.add({"peers", fmt::format("{}{}", status.peers, status.peers_silent == 0 ? "" : fmt::format(", {} silent", status.peers_silent))});
  table.add({"pods", fmt::format("{}", status.pods)});
  table.add({"kernel", fmt::format("{} wanted{}{}", count_of(status.objects, "object"), counts.empty() ? "" : ": " + counts,
                                   status.failing == 0 ? "" : fmt::format("; {} FAILING", status.failing))});
  table.add({"repairs", fmt::format("{} since the start; last look took {} ms", status.repairs, status.last_turn_ms)});
  auto trouble = [&](const char* label, const std::vector<std::string>& lines, Tone tone) {
    const size_t shown = all ? lines.size() : std::min(lines.size(), kMostLines);
    for (size_t i = 0; i < shown; ++i) table.add({Cell(label, tone), lines[i]});
    if (shown < lines.size()) table.add({Cell(label, tone), fmt::format("and {} more: knet status -o wide", lines.size() - shown)});
  };
  std::vector<std::string> failures;
  for (const auto& [object, reason] : status.failures) failures.push_back(object + ": " + reason);
  trouble("UNREADY", status.unready, bad);
  trouble("FAILING", failures, bad);
  trouble("FOREIGN", status.foreign, bad);
  trouble("FOUGHT", status.fought_over, bad);
  trouble("degraded", status.degraded, Tone::warn);
  trouble("store key", status.problems, Tone::warn);
  trouble("note", status.notices, Tone::plain);
  print(table);
}

int no_agent(const NodePaths& paths, const OutputFlag& output) {
  const bool joined = load_node_settings(paths).has_value();
  const std::string next = joined ? "systemctl start knet, or: knet agent" : "this machine has not joined; knet join";
  if (output.json()) {
    print_json({{"running", false}, {"joined", joined}});
  } else {
    print(fmt::format("NO AGENT runs here ({})\nnext: {}\n", paths.agent_socket().string(), next));
  }
  return kExitDrift;
}

std::function<int()> declare(CLI::App& app) {
  struct Flags {
    PathFlags paths;
    OutputFlag output;
    std::string timeout = "2s";
  };
  auto flags = std::make_shared<Flags>();
  app.add_option("--timeout", flags->timeout, "how long to wait for the agent (default 2s)")->type_name("TIME");
  flags->paths.declare(app);
  flags->output.declare(app);
  declare_log(app);
  add_examples(app, {"knet status", "knet status -o json"});
  return [flags] {
    const NodePaths paths = flags->paths.paths();
    const std::optional<StatusSnapshot> status = fetch_status(paths, duration_of("--timeout", flags->timeout));
    if (!status) return no_agent(paths, flags->output);
    if (flags->output.json()) {
      nlohmann::ordered_json json = nlohmann::ordered_json::parse(format_status(*status));
      json["running"] = true;
      print_json(json);
    } else {
      print_status(*status, flags->output.wide());
    }
    return status->ready && status->degraded.empty() ? kExitOk : kExitDrift;
  };
}

}  // namespace

const Command& status_command() {
  static const Command command{"status", "this node on one screen", CommandGroup::look, declare};
  return command;
}

}  // namespace knet
