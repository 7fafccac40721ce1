#include "lab/lab.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "core/mode.h"
#include "kernel/netns.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxNodes = 200;  // a byte of the underlay address and of the subnet each
constexpr int kMaxPods = 200;
constexpr size_t kMaxName = 32; // the agents' sockets lie below: a socket's path has 107 bytes

IpAddr parsed(std::string_view text) { return *IpAddr::parse(text); }

std::string family_words(const LabWords& words) { return words.v4 && words.v6 ? ", dual stack" : words.v6 ? ", IPv6" : ""; }

void check(const LabWords& words) {
  const bool plain = !words.name.empty() && words.name.size() <= kMaxName &&
                     words.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos &&
                     words.name.front() != '-';
  if (!plain)
    fail(ErrorKind::usage, "--name '{}': give lower-case letters, digits and '-', at most {}", printable(words.name), kMaxName);
  if (words.nodes < 1 || words.nodes > kMaxNodes) fail(ErrorKind::usage, "--nodes {}: give 1 to {}", words.nodes, kMaxNodes);
  if (words.pods < 0 || words.pods > kMaxPods) fail(ErrorKind::usage, "--pods {}: give 0 to {}", words.pods, kMaxPods);
  if (words.store != "sqlite" && words.store != "etcd")
    fail(ErrorKind::usage, "--store '{}': a lab has sqlite or etcd", printable(words.store));
}

Json process_json(const LabProcess& process) { return {{"pid", process.pid}, {"started", process.started}}; }

LabProcess process_of(const nlohmann::json& tree) {
  return {tree.at("pid").get<pid_t>(), tree.at("started").get<uint64_t>()};
}

Prefix prefix_of(const nlohmann::json& text) { return Prefix::parse(text.get<std::string>()).value_or(Prefix{}); }
IpAddr address_of(const nlohmann::json& text) { return IpAddr::parse(text.get<std::string>()).value_or(IpAddr{}); }

Json node_json(const LabNode& node) {
  Json pods = Json::array();
  for (const LabPod& pod : node.pods) {
    Json addresses = Json::array();
    for (const IpAddr& ip : pod.addresses) addresses.push_back(ip.str());
    pods.push_back({{"name", pod.name}, {"addresses", addresses}, {"host_dev", pod.host_dev}});
  }
  return {{"name", node.name},
          {"segment", node.segment},
          {"ip", node.ip.str()},
          {"ip6", node.ip6.str()},
          {"subnet", node.subnet.str()},
          {"subnet6", node.subnet6.str()},
          {"agent", process_json(node.agent)},
          {"pods", pods}};
}

LabNode node_of(const nlohmann::json& tree) {
  LabNode node;
  node.name = tree.at("name").get<std::string>();
  node.segment = tree.at("segment").get<size_t>();
  node.ip = address_of(tree.at("ip"));
  node.ip6 = address_of(tree.at("ip6"));
  node.subnet = prefix_of(tree.at("subnet"));
  node.subnet6 = prefix_of(tree.at("subnet6"));
  node.agent = process_of(tree.at("agent"));
  for (const auto& item : tree.at("pods")) {
    LabPod pod;
    pod.name = item.at("name").get<std::string>();
    pod.host_dev = item.at("host_dev").get<std::string>();
    for (const auto& address : item.at("addresses")) pod.addresses.push_back(address_of(address));
    node.pods.push_back(std::move(pod));
  }
  return node;
}

}  // namespace

std::filesystem::path Lab::netns_path(std::string_view part) const {
  return unprivileged ? dir / "netns" / part : named_netns_path(netns_name(part));
}

NodePaths Lab::node_paths(const LabNode& node) const {
  NodePaths paths;
  paths.state_dir = node_dir(node) / "state";
  paths.run_dir = node_dir(node) / "run";
  return paths;
}

const LabNode* Lab::find_node(std::string_view name) const {
  for (const LabNode& node : nodes)
    if (node.name == name) return &node;
  return nullptr;
}

std::pair<const LabNode*, const LabPod*> Lab::find_pod(std::string_view name) const {
  for (const LabNode& node : nodes)
    for (const LabPod& pod : node.pods)
      if (pod.name == name) return {&node, &pod};
  return {nullptr, nullptr};
}

Prefix lab_segment(size_t segment, Family family) {
  if (family == Family::v4) return Prefix(IpAddr::v4(0xc0a84d00u + (static_cast<uint32_t>(segment) << 8)), 24);
  return Prefix(parsed(segment == 0 ? "fd00:77::" : "fd00:78::"), 64);
}

IpAddr lab_gateway(size_t segment, Family family) { return lab_segment(segment, family).addr().plus(0xfe); }

size_t lab_segments(const LabWords& words) { return words.routers ? 2 : 1; }

Lab plan_lab(const LabWords& words) {
  check(words);
  Lab lab;
  lab.words = words;
  for (int number = 1; number <= words.nodes; ++number) {
    const auto count = static_cast<uint64_t>(number);
    LabNode node;
    node.name = fmt::format("n{}", number);
    node.segment = words.routers ? static_cast<size_t>(number - 1) % 2 : 0;
    node.ip = lab_segment(node.segment, Family::v4).addr().plus(count);
    node.ip6 = lab_segment(node.segment, Family::v6).addr().plus(count);
    if (words.v4) node.subnet = Prefix(parsed("10.244.0.0").plus(count << 8), 24);
    if (words.v6) node.subnet6 = Prefix(parsed("fd00:244::").plus_shifted(count, 64), 64);
    for (int pod = 1; pod <= words.pods; ++pod) node.pods.push_back({fmt::format("{}-p{}", node.name, pod), {}, {}});
    lab.nodes.push_back(std::move(node));
  }
  return lab;
}

NetworkConfig lab_network(const LabWords& words) { return lab_network(words, mode_registry()); }

NetworkConfig lab_network(const LabWords& words, const ModeRegistry& modes) {
  ConfigWords config;
  if (words.v4) config.network = "10.244.0.0/16";
  if (words.v6) config.network6 = "fd00:244::/48";
  config.mode = words.mode;
  config.options = words.options;
  config.masquerade = words.masquerade;
  return make_network_config(config, modes);
}

std::string describe(const Lab& lab) {
  const LabWords& words = lab.words;
  const Family shown = words.v4 ? Family::v4 : Family::v6;
  const std::string wires = words.routers ? fmt::format("two routed segments {} and {}", lab_segment(0, shown).str(),
                                                        lab_segment(1, shown).str())
                                          : "one switch " + lab_segment(0, shown).str();
  return fmt::format("{}: {} node{} x {} pod{}, {}{}, store {}, {}", words.name, words.nodes, words.nodes == 1 ? "" : "s",
                     words.pods, words.pods == 1 ? "" : "s", words.mode, family_words(words), words.store, wires);
}

std::string pod_addresses(const LabNode& node) {
  std::vector<std::string> texts;
  for (const LabPod& pod : node.pods)
    for (const IpAddr& ip : pod.addresses) texts.push_back(ip.str());
  return join(texts, " ");
}

std::string format_lab(const Lab& lab) {
  const LabWords& words = lab.words;
  Json nodes = Json::array();
  for (const LabNode& node : lab.nodes) nodes.push_back(node_json(node));
  const Json tree = {{"schema", Lab::kSchema},
                     {"name", words.name},
                     {"pods", words.pods},
                     {"mode", words.mode},
                     {"options", words.options},
                     {"ipv4", words.v4},
                     {"ipv6", words.v6},
                     {"store", words.store},
                     {"store_url", lab.store_url},
                     {"routers", words.routers},
                     {"masquerade", words.masquerade},
                     {"unprivileged", lab.unprivileged},
                     {"since", lab.since},
                     {"holder", process_json(lab.holder)},
                     {"etcd", process_json(lab.etcd)},
                     {"nodes", nodes}};
  return tree.dump(2) + "\n";
}

Lab parse_lab(std::string_view json, const std::string& what) {
  const nlohmann::json tree = parse_json(json, what);
  try {
    Lab lab;
    LabWords& words = lab.words;
    words.name = tree.at("name").get<std::string>();
    words.pods = tree.at("pods").get<int>();
    words.mode = tree.at("mode").get<std::string>();
    words.options = tree.at("options").get<std::vector<std::string>>();
    words.v4 = tree.at("ipv4").get<bool>();
    words.v6 = tree.at("ipv6").get<bool>();
    words.store = tree.at("store").get<std::string>();
    words.routers = tree.at("routers").get<bool>();
    words.masquerade = tree.value("masquerade", true);
    lab.store_url = tree.at("store_url").get<std::string>();
    lab.unprivileged = tree.at("unprivileged").get<bool>();
    lab.since = tree.at("since").get<int64_t>();
    lab.holder = process_of(tree.at("holder"));
    lab.etcd = process_of(tree.at("etcd"));
    for (const auto& node : tree.at("nodes")) lab.nodes.push_back(node_of(node));
    words.nodes = static_cast<int>(lab.nodes.size());
    return lab;
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorKind::config, "{} is no lab's state: {}", what, error.what());
  }
}

}  // namespace knet
