#include "agent/mode_change.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "core/mode.h"
#include "core/rollover.h"

namespace knet {
namespace {

struct Standing {
  NetworkConfig config;
  Revision rev = 0;
};

Standing load(ClusterStore& cluster, const ModeRegistry& modes) {
  const std::string where = cluster.store().where(), key = cluster.paths().config();
  const std::optional<ConfigText> text = cluster.load_config();
  if (!text) fail(ErrorKind::config, "{} {} holds no config; write one with knet init", where, key);
  try {
    return {parse_network_config(text->json, modes), text->rev};
  } catch (const Error& error) {
    throw with_context(error, fmt::format("{} {}", where, key));
  }
}

void write(ClusterStore& cluster, const NetworkConfig& config, Revision expected) {
  if (cluster.swap_config(format_network_config(config), expected)) return;
  fail(ErrorKind::conflict, "{} {} was changed by somebody else meanwhile; look at knet config show and try again",
       cluster.store().where(), cluster.paths().config());
}

bool uses(const NodeRow& node, std::string_view mode) {
  const auto announces = [&](const LeaseRow& lease) { return lease.lease.mode == mode; };
  if (std::any_of(node.leases.begin(), node.leases.end(), announces)) return true;
  return node.record && std::find(node.record->receives.begin(), node.record->receives.end(), mode) !=
                            node.record->receives.end();
}

std::vector<std::string> users_of(const NodeTable& nodes, std::string_view mode) {
  std::vector<std::string> names;
  for (const NodeRow& node : nodes.rows)
    if (uses(node, mode)) names.push_back(node.name);
  return names;
}

// Why a node can't follow; "" if it can, or if that is not known.
std::string obstacle(const NodeRow& node, const NetworkConfig& to) {
  if (node.leases.empty()) return {};
  if (node.state == NodeState::flannel)
    return fmt::format("{} runs flanneld, which knows no change of mode", node.name);
  if (!node.record || node.record->modes.empty()) return {};
  const auto told = [&](const std::string& what) -> const std::string* {
    const auto& known = node.record->modes;
    const auto at = std::find_if(known.begin(), known.end(), [&](const auto& item) { return item.first == what; });
    return at == known.end() ? nullptr : &at->second;
  };
  const std::string* why = told(to.mode);
  if (why == nullptr) return fmt::format("{} has no mode {} (knet {})", node.name, to.mode, printable(node.version, 40));
  const std::string path = to.option_text(kDatapathOption);
  if (why->empty() && !path.empty())
    if (const std::string* refused = told(fmt::format("{}/{}", to.mode, path))) why = refused;
  return why->empty() ? "" : fmt::format("{} can't run it: {}", node.name, printable(*why, 200));
}

void refuse_other_options(const NetworkConfig& from, const NetworkConfig& to, const ModeRegistry& modes) {
  std::string live, other;
  for (const ConfigChange& change : compare(from, to, modes)) {
    std::string& text = change.live ? live : other;
    text += (text.empty() ? "" : ", ") + change.what;
    if (!change.live) text += ": " + change.steps;
  }
  if (!other.empty())
    fail(ErrorKind::conflict, "the cluster's mode is {} already, and its nodes can't be changed over one by one to {}",
         from.mode, other);
  if (!live.empty())
    fail(ErrorKind::conflict, "the cluster's mode is {} already; change its options with: knet config set ({})",
         from.mode, live);
}

}  // namespace

ModeSetReport set_mode(ClusterStore& cluster, const ModeRegistry& modes, const ModeSetOptions& options) {
  ModeSetReport report;
  report.where = cluster.store().where();
  report.key = cluster.paths().config();
  const Standing standing = load(cluster, modes);
  report.from = standing.config;
  report.to = change_mode(standing.config, options.mode, options.options, modes);
  const NetworkConfig& from = report.from;
  NetworkConfig& to = report.to;
  if (to.mode == from.mode) {
    if (!options.options.empty()) refuse_other_options(from, to, modes);
    report.to = from;
    report.changes = false;
    return report;
  }

  const NodeTable nodes = cluster.list_nodes(from.mode, false);
  std::vector<std::string> obstacles;
  for (const NodeRow& node : nodes.rows) {
    if (node.leases.empty()) continue;
    ++report.nodes;
    if (std::string why = obstacle(node, to); !why.empty()) obstacles.push_back(std::move(why));
    if (node.state == NodeState::silent)
      report.notices.push_back(fmt::format("{} gives no sign of life: it is sent to by {} until it is back", node.name,
                                           node.leases.front().lease.mode));
  }
  if (from.as_mode(to.mode).options != to.options && is_earlier(from, to.mode)) {
    // One mode with two sets of options at once can't be.
    if (const auto users = users_of(nodes, to.mode); !users.empty())
      obstacles.push_back(fmt::format("{} with other options is still in use by {}", to.mode, join(users, ", ")));
  }
  if (!obstacles.empty() && !options.force)
    fail(ErrorKind::conflict, "the cluster can't change from {} to {}: {}; mend that first, or give --force", from.mode,
         to.mode, join(obstacles, "; "));
  report.notices.insert(report.notices.end(), obstacles.begin(), obstacles.end());

  to.earlier.clear();
  to.earlier.emplace_back(from.mode, from.options);
  for (const auto& earlier : from.earlier)
    if (earlier.first != to.mode && !users_of(nodes, earlier.first).empty()) to.earlier.push_back(earlier);
  if (!options.dry_run) write(cluster, to, standing.rev);
  return report;
}

bool ModeProgress::over() const {
  return std::all_of(nodes.begin(), nodes.end(), [](const Node& node) { return node.over; });
}

ModeProgress mode_progress(ClusterStore& cluster, const NetworkConfig& config) {
  ModeProgress progress;
  for (const NodeRow& row : cluster.list_nodes(config.mode, false).rows) {
    if (row.leases.empty()) continue;
    ModeProgress::Node node;
    node.name = row.name;
    node.state = row.state;
    node.announced = row.leases.front().lease.mode;
    if (row.record) node.receives = row.record->receives;
    if (row.state == NodeState::flannel)
      node.why = "runs flanneld";
    else if (row.state == NodeState::silent && node.announced != config.mode)
      node.why = fmt::format("gives no sign of life; sent to by {} until it is back or its lease ends", node.announced);
    else if (node.announced != config.mode)
      node.why = "announces " + node.announced;
    else if (!node.receives.empty())
      node.why = fmt::format("still receives {}", join(node.receives, ", "));
    node.over = node.announced == config.mode && node.receives.empty();
    progress.nodes.push_back(std::move(node));
  }
  return progress;
}

ModeFinishReport finish_mode(ClusterStore& cluster, const ModeRegistry& modes, bool force, bool dry_run) {
  ModeFinishReport report;
  report.where = cluster.store().where();
  report.key = cluster.paths().config();
  const Standing standing = load(cluster, modes);
  NetworkConfig to = standing.config;
  std::vector<std::string> late;
  for (const ModeProgress::Node& node : mode_progress(cluster, to).nodes) {
    if (is_earlier(to, node.announced))
      late.push_back(fmt::format("{} still announces {}{}", node.name, node.announced,
                                 node.state == NodeState::silent ? " and gives no sign of life" : ""));
    else if (!node.receives.empty())
      report.notices.push_back(fmt::format("{} receives {} no more", node.name, join(node.receives, ", ")));
  }
  for (const auto& [mode, its] : to.earlier) report.finished.push_back(mode);
  if (report.finished.empty()) return report;
  if (!late.empty() && !force)
    fail(ErrorKind::conflict,
         "{}: what is sent to it gets lost when {} is finished; wait for it (knet node list), free it if it is gone "
         "(knet node remove), or give --force",
         join(late, "; "), join(report.finished, ", "));
  report.notices.insert(report.notices.end(), late.begin(), late.end());
  to.earlier.clear();
  if (!dry_run) write(cluster, to, standing.rev);
  return report;
}

}  // namespace knet
