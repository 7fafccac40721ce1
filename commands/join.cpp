// knet join: makes this machine a node of the cluster.
#include "agent/join.h"

#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "commands/common/cli.h"
#include "commands/common/flags.h"
#include "commands/common/output.h"
#include "commands/common/table.h"

namespace knet {
namespace {

struct Flags : CommonFlags {
  NodeFlags node;
  std::string cni_bin_dir, cni_conf_dir, cni_conf_name, cni_link = "symlink";
  bool no_cni = false, once = false, no_start = false, force = false;
};

JoinOptions options_from(const Flags& flags) {
  JoinOptions options;
  options.paths = flags.paths.paths();
  const std::optional<NodeSettings> joined = load_node_settings(options.paths);
  options.settings = flags.node.over(joined.value_or(NodeSettings{}));
  if (flags.store.given()) options.settings.store = flags.store.options(options.paths);
  options.files.cni = !flags.no_cni;
  options.files.cni_copy = flags.cni_link == "copy";
  options.files.force = flags.force;
  if (!flags.cni_bin_dir.empty()) options.files.cni_bin_dir = flags.cni_bin_dir;
  if (!flags.cni_conf_dir.empty()) options.files.cni_conf_dir = flags.cni_conf_dir;
  if (!flags.cni_conf_name.empty()) options.files.cni_conf_name = flags.cni_conf_name;
  options.once = flags.once;
  options.start = !flags.no_start;
  return options;
}

std::string_view how_text(Acquired::How how) {
  switch (how) {
    case Acquired::How::adopted: return "ours already";
    case Acquired::How::reserved: return "reserved for this node";
    case Acquired::How::previous: return "the one it had before";
    case Acquired::How::chosen: break;
  }
  return "new";
}

std::string address_text(const Enrolment& enrolment) {
  const LocalNode& self = enrolment.self;
  std::string text;
  auto put = [&](const IpAddr& announced, const Uplink& uplink) {
    if (!announced) return;
    if (!text.empty()) text += ", ";
    text += fmt::format("{} on {}", announced.str(), uplink.dev.str());
    if (announced != uplink.address.addr()) text += fmt::format(" (its own is {})", uplink.address.addr().str());
  };
  put(self.public_ip, self.uplink);
  put(self.public_ip6, self.uplink6);
  return text;
}

std::string reason_text(const UplinkChoice& choice) {
  std::string text = choice.why;
  if (!choice.tie.empty()) text += "; " + choice.tie;
  if (!choice.passed_over.empty()) text += "; " + join(choice.passed_over, ", ") + " passed over (--iface to change)";
  return text;
}

std::string cni_text(const CniReport& cni) {
  std::string text = fmt::format("{}, {} in {}", cni.conflist.string(), count_of(cni.links, "link"), cni.bin_dir.string());
  const std::string own = cni.conflist.filename().string();
  if (!cni.read_first.empty() && cni.read_first != own) return text + fmt::format("   BUT {} is read before it", cni.read_first);
  if (!cni.read_after.empty()) text += fmt::format("   ({} would be read after it)", join(cni.read_after, ", "));
  return text;
}

std::string ready_text(const JoinReport& report) {
  std::string text = "NOT READY";
  if (report.ready_in) {
    const double seconds = static_cast<double>(report.ready_in->count()) / 1000;
    text = fmt::format("ready in {:.2f} s", seconds);
  } else if (report.unready.empty()) {
    text = report.failures.empty() ? "written" : "FAILED";
  }
  return report.agent.empty() ? text : text + ", " + report.agent;
}

void print_report(const JoinReport& report) {
  const Enrolment& node = report.enrolment;
  const std::string address = address_text(node);
  const std::string subnet = subnets_text(node.self.lease);
  const size_t width = std::max(address.size(), subnet.size());
  auto line = [](std::string_view label, const std::string& text) { print(fmt::format("{:<8} {}\n", label, text)); };
  auto pair = [&](std::string_view label, const std::string& what, const std::string& why) {
    line(label, fmt::format("{:<{}}   {}", what, width, why));
  };
  pair("address", address, reason_text(node.choice));
  if (subnet.empty()) line("subnet", "none: this node runs no pods");
  else pair("subnet", subnet, fmt::format("{}; {}", how_text(node.how), node.self.lease.lease_id == 0 ? "without end" : "lease 24h, renewed by the agent"));
  if (!report.cni.conflist.empty()) line("cni", cni_text(report.cni));
  if (!report.firewall.empty()) line("firewall", report.firewall);
  for (const std::string& notice : node.notices) line("note", notice);
  for (const std::string& notice : report.cni.notices) line("note", notice);
  for (const std::string& notice : report.notices) line("note", notice);
  for (const std::string& failure : report.failures) line("FAILED", failure);
  print(ready_text(report) + "\n");
  for (const std::string& reason : report.unready) print("  " + reason + "\n");
  if (!report.next.empty()) print("next: " + report.next + "\n");
}

void print_json_report(const JoinReport& report) {
  const Enrolment& node = report.enrolment;
  auto text = [](const auto& value) { return value ? value.str() : ""; };
  print_json({{"node", node.self.name},
              {"store", node.store},
              {"embedded", node.embedded},
              {"address", text(node.self.public_ip)},
              {"address6", text(node.self.public_ip6)},
              {"device", (node.self.uplink.dev ? node.self.uplink.dev : node.self.uplink6.dev).str()},
              {"why", node.choice.why},
              {"tie", node.choice.tie},
              {"passed_over", node.choice.passed_over},
              {"subnet", text(node.self.lease.subnet)},
              {"subnet6", text(node.self.lease.subnet6)},
              {"origin", how_text(node.how)},
              {"mode", node.self.lease.mode},
              {"conflist", report.cni.conflist.string()},
              {"read_first", report.cni.read_first},
              {"written", report.written},
              {"firewall", report.firewall},
              {"agent", report.agent},
              {"next", report.next},
              {"ready_ms", report.ready_in ? nlohmann::ordered_json(report.ready_in->count()) : nlohmann::ordered_json(nullptr)},
              {"unready", report.unready},
              {"notices", report.notices},
              {"failures", report.failures}});
}

int run(const Flags& flags) {
  const JoinReport report = run_join(options_from(flags));
  if (flags.output.json()) {
    print_json_report(report);
  } else {
    print_report(report);
  }
  return report.failures.empty() && report.unready.empty() ? kExitOk : kExitFailed;
}

std::function<int()> declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  const FileSettings files;
  app.add_flag("--once", flags->once, "apply and end: no unit, no agent");
  app.add_flag("--no-start", flags->no_start, "write all, start nothing");
  app.add_flag("--force", flags->force, "replace CNI plugins of others that are in the way (a backup is kept)");
  app.add_flag("--no-cni", flags->no_cni, "write no conflist and no plugin links")->group("CNI")->envname("KNET_NODE_NO_CNI");
  auto cni = [&](const char* name, std::string& into, const char* type, const std::string& help, const char* env) {
    return app.add_option(name, into, help)->type_name(type)->group("CNI")->envname(env);
  };
  cni("--cni-bin-dir", flags->cni_bin_dir, "DIR", "where plugins are (default " + files.cni_bin_dir.string() + ")", "KNET_NODE_CNI_BIN_DIR");
  cni("--cni-conf-dir", flags->cni_conf_dir, "DIR", "where conflists are (default " + files.cni_conf_dir.string() + ")", "KNET_NODE_CNI_CONF_DIR");
  cni("--cni-conf-name", flags->cni_conf_name, "NAME", "ours (default " + files.cni_conf_name + "; a runtime reads the first by name)", "KNET_NODE_CNI_CONF_NAME");
  one_of(cni("--cni-link", flags->cni_link, "KIND", "how plugins get there: symlink (default) or copy", "KNET_NODE_CNI_LINK"), {"symlink", "copy"});
  flags->node.declare(app);
  flags->declare_common(app);
  add_examples(app, {"knet join", "knet join --store http://192.168.77.1:2379", "knet join --store http://192.168.77.1:2379 --iface eth1 --node-name n1"});
  return [flags] { return run(*flags); };
}

}  // namespace

const Command& join_command() {
  static const Command command{"join", "make this machine a node of the cluster", CommandGroup::cluster, declare};
  return command;
}

}  // namespace knet
