#include <fmt/core.h>

#include <algorithm>

#include "agent/status.h"

namespace knet {
namespace {

std::string escaped(std::string_view label) {
  std::string out;
  for (char c : label) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

struct Text {
  std::string out;
  void head(std::string_view name, std::string_view type, std::string_view help) {
    out += fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
  }
  template <typename Value>
  void gauge(std::string_view name, std::string_view help, Value value) {
    head(name, "gauge", help);
    out += fmt::format("{} {}\n", name, value);
  }
  void counter(std::string_view name, std::string_view help, uint64_t value) {
    head(name, "counter", help);
    out += fmt::format("{} {}\n", name, value);
  }
};

}  // namespace

std::string format_metrics(const StatusSnapshot& s) {
  Text text;
  text.head("knet_info", "gauge", "What runs here; always 1.");
  text.out += fmt::format("knet_info{{node=\"{}\",version=\"{}\",mode=\"{}\",subnet=\"{}\"}} 1\n", escaped(s.node),
                          escaped(s.version), escaped(s.mode), escaped(s.subnet.empty() ? s.subnet6 : s.subnet));
  text.gauge("knet_start_time_seconds", "When the agent started, Unix time.", s.since);
  text.gauge("knet_ready", "1 if this node's part of the network works.", s.ready ? 1 : 0);
  text.gauge("knet_degraded", "How many things work with a flaw.", s.degraded.size());
  text.gauge("knet_store_connected", "1 while the store answers.", s.store_connected ? 1 : 0);
  text.gauge("knet_view_cached", "1 while the view is the one kept on disk.", s.from_cache ? 1 : 0);
  text.gauge("knet_store_revision", "Revision of the store that the view is made of.", s.revision);
  text.gauge("knet_lease_expiry_seconds", "When the subnet's lease ends, Unix time; 0 if never or unknown.",
             s.lease_until);
  text.gauge("knet_peers", "Nodes with a subnet, this one not counted.", s.peers);
  text.gauge("knet_peers_silent", "Of them knet nodes that give no sign of life.", s.peers_silent);
  text.gauge("knet_pods", "Pod interfaces on this node.", s.pods);
  text.head("knet_objects", "gauge", "Objects wanted in the kernel.");
  for (const auto& [kind, count] : s.wanted)
    text.out += fmt::format("knet_objects{{kind=\"{}\"}} {}\n", escaped(kind), count);
  text.gauge("knet_objects_failing", "Of them what can't be applied now.", s.failing);
  text.gauge("knet_objects_foreign", "Objects of others at places that we want.", s.foreign.size());
  text.gauge("knet_objects_fought_over", "Objects that somebody else keeps undoing.", s.fought_over.size());
  text.gauge("knet_store_problems", "Keys in the store that can't be read.", s.problems.size());
  text.counter("knet_turns_total", "Rounds of looking and mending.", s.turns);
  text.counter("knet_applied_total", "Changes made in the kernel.", s.applied);
  text.counter("knet_repairs_total", "Of them those that undid what others did.", s.repairs);
  text.counter("knet_failed_total", "Changes that the kernel refused.", s.failed_ops);
  // The services name theirs with labels; sorted, so that those of one name stand together.
  const auto add = [&](const auto& items, std::string_view type, std::string_view suffix) {
    std::string last;
    for (const auto& [name, count] : items) {
      const size_t labels = std::min(name.find('{'), name.size());
      const std::string base = fmt::format("knet_{}{}", name.substr(0, labels), suffix);
      if (base != last) text.head(base, type, "Of the modes' userspace part.");
      last = base;
      text.out += fmt::format("{}{} {}\n", base, name.substr(labels), count);
    }
  };
  add(s.mode_counters, "counter", "_total");
  add(s.mode_gauges, "gauge", "");
  text.head("knet_receives", "gauge", "1 for each mode that is received besides the one that is announced.");
  for (const std::string& mode : s.receives) text.out += fmt::format("knet_receives{{mode=\"{}\"}} 1\n", escaped(mode));
  text.gauge("knet_first_convergence_seconds", "Start of the agent until all was in the kernel; 0: not yet.",
             s.first_route_seconds);
  return std::move(text.out);
}

}  // namespace knet
