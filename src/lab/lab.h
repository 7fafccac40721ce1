// A lab: N nodes as network namespaces of this machine, an agent in each, pods made through CNI, one switch or two
// routed segments between them. This value is kept in <dir>/lab.json, written before what it names is made, so that
// `down` finds everything after a crash. Values, the address plan and the codec; no fd.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "agent/node.h"
#include "base/ip.h"
#include "core/config.h"

namespace knet {

/// What the user asks for.
struct LabWords {
  std::string name = "lab";
  int nodes = 3;
  int pods = 2;                      // on each node
  std::string mode = "vxlan";
  std::vector<std::string> options;  // "Key=Value" of the mode
  bool v4 = true;
  bool v6 = false;
  std::string store = "sqlite";      // or etcd
  bool routers = false;              // two routed segments instead of one switch
  bool masquerade = true;            // what leaves the cluster, as the node
};

/// A process of ours: the pid alone may belong to somebody else by now.
struct LabProcess {
  pid_t pid = 0;
  uint64_t started = 0;  // clock ticks since boot, /proc/PID/stat field 22
};

struct LabPod {
  std::string name;                // "n1-p1"
  std::vector<IpAddr> addresses;
  std::string host_dev;            // on its node
};

struct LabNode {
  std::string name;                // "n1"
  size_t segment = 0;
  IpAddr ip, ip6;                  // underlay; ip6 always, so that it can carry IPv6 pods
  Prefix subnet, subnet6;          // what it asks for, then what it got
  LabProcess agent;
  std::vector<LabPod> pods;
};

struct Lab {
  static constexpr int kSchema = 1;
  LabWords words;
  std::filesystem::path dir;
  bool unprivileged = false;       // lives in a user namespace that `holder` keeps
  int64_t since = 0;               // Unix seconds
  std::string store_url;
  bool tied = false;               // its processes end with the one that brings it up; not kept
  bool cable = false;              // its two nodes are joined by a veth pair, the switch by none; not kept
  LabProcess holder, etcd;
  std::vector<LabNode> nodes;

  /// "lab-n1": the name for `ip netns exec` (root only).
  std::string netns_name(std::string_view part) const { return words.name + "-" + std::string(part); }
  std::filesystem::path netns_path(std::string_view part) const;
  std::filesystem::path node_dir(const LabNode& node) const { return dir / node.name; }
  std::filesystem::path log_file(const LabNode& node) const { return node_dir(node) / "agent.log"; }
  NodePaths node_paths(const LabNode& node) const;
  const LabNode* find_node(std::string_view name) const;
  /// The node on which a pod of that name runs, and the pod.
  std::pair<const LabNode*, const LabPod*> find_pod(std::string_view name) const;
};

inline constexpr std::string_view kLabSwitch = "sw";
inline constexpr uint32_t kLabMtu = 1500;

/// Segment 0 is 192.168.77.0/24 and fd00:77::/64, segment 1 is 192.168.78.0/24 and fd00:78::/64; .254 and ::fe are the
/// switch's (or router's) own addresses.
Prefix lab_segment(size_t segment, Family family);
IpAddr lab_gateway(size_t segment, Family family);
size_t lab_segments(const LabWords& words);

/// Nodes and addresses for the words; with --routers every other node is in the second segment. Throws Error{usage}
/// for a number or name that can't be, naming the flag.
Lab plan_lab(const LabWords& words);
/// The cluster's config: 10.244.0.0/16 and fd00:244::/48. Throws Error{usage} for an unknown mode or option.
NetworkConfig lab_network(const LabWords& words);
NetworkConfig lab_network(const LabWords& words, const ModeRegistry& modes);

/// "lab: 3 nodes x 2 pods, vxlan, store sqlite, one switch 192.168.77.0/24"
std::string describe(const Lab& lab);
/// "10.244.1.2 10.244.1.3"
std::string pod_addresses(const LabNode& node);

std::string format_lab(const Lab& lab);
/// Throws Error{config} naming `what`.
Lab parse_lab(std::string_view json, const std::string& what);

}  // namespace knet
