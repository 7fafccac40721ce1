#include "commands/bgp/reach.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "core/selector.h"

namespace knet {
namespace {

constexpr size_t kNamed = 5;  // of nodes in a message

struct Speaker {
  NodeSpec spec;
  uint32_t asn = 0;
  bool outside = false;
  Selector clients;
};

/// RFC 4456: in one AS, another cluster's, and chosen by the reflector.
bool is_client(const Speaker& node, const Speaker& reflector) {
  if (!reflector.spec.reflector || node.asn != reflector.asn || node.spec.reflector == reflector.spec.reflector) return false;
  return reflector.spec.clients.empty() ? !node.spec.reflector : reflector.clients.matches(node.spec.labels);
}

/// Which belong together, by union-find.
class Groups {
 public:
  explicit Groups(size_t size) : up_(size) { std::iota(up_.begin(), up_.end(), size_t{0}); }
  size_t of(size_t i) {
    while (up_[i] != i) i = up_[i] = up_[up_[i]];
    return i;
  }
  void join(size_t a, size_t b) { up_[of(a)] = of(b); }

 private:
  std::vector<size_t> up_;
};

std::string some_of(const std::vector<std::string>& names) {
  if (names.size() <= kNamed) return join(names, ", ");
  return join(std::vector<std::string>(names.begin(), names.begin() + kNamed), ", ") + fmt::format(" and {} more", names.size() - kNamed);
}

}  // namespace

std::vector<std::string> present_nodes(const NodeTable& nodes) {
  std::vector<std::string> names;
  for (const NodeRow& row : nodes.rows)
    if (row.state != NodeState::gone && row.state != NodeState::flannel) names.push_back(row.name);
  return names;
}

NodeSpec spec_of(const std::vector<NodeSpec>& specs, const std::string& node) {
  for (const NodeSpec& spec : specs)
    if (spec.node == node) return spec;
  NodeSpec none;
  none.node = node;
  return none;
}

bool applies_to(const BgpPeerSpec& peer, const NodeSpec& node) {
  if (!peer.node.empty() && peer.node != node.node) return false;
  return peer.selector.empty() || Selector(peer.selector).matches(node.labels);
}

std::vector<std::string> cut_off(const BgpConfig& config, const std::vector<std::string>& nodes,
                                 const std::vector<NodeSpec>& specs, const std::vector<BgpPeerSpec>& outside) {
  if (config.mesh || nodes.size() < 2) return {};
  std::vector<Speaker> speakers;
  for (const std::string& name : nodes) {
    Speaker& speaker = speakers.emplace_back();
    speaker.spec = spec_of(specs, name);
    speaker.asn = speaker.spec.asn.value_or(config.asn);
    if (speaker.spec.reflector) speaker.clients = Selector(speaker.spec.clients);
    speaker.outside = std::any_of(outside.begin(), outside.end(), [&](const BgpPeerSpec& peer) { return applies_to(peer, speaker.spec); });
  }
  std::vector<size_t> reflectors;
  for (size_t i = 0; i < speakers.size(); ++i)
    if (speakers[i].spec.reflector) reflectors.push_back(i);
  const auto is_top = [&](const Speaker& node) {
    return node.spec.reflector &&
           std::none_of(reflectors.begin(), reflectors.end(), [&](size_t r) { return is_client(node, speakers[r]); });
  };
  Groups groups(speakers.size() + 1);
  for (size_t i = 0; i < speakers.size(); ++i) {
    const bool top = is_top(speakers[i]);
    if (speakers[i].outside) groups.join(i, speakers.size());
    for (const size_t r : reflectors)
      if (is_client(speakers[i], speakers[r]) || (top && is_top(speakers[r]))) groups.join(i, r);
  }
  std::map<size_t, size_t> sizes;
  for (size_t i = 0; i < speakers.size(); ++i) ++sizes[groups.of(i)];
  const auto largest = std::max_element(sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  std::vector<std::string> out;
  for (size_t i = 0; i < speakers.size(); ++i)
    if (largest->second < 2 || groups.of(i) != largest->first) out.push_back(nodes[i]);
  return out;
}

void refuse_cut_off(const std::vector<std::string>& before, const std::vector<std::string>& after, bool reflectors, bool forced,
                    std::vector<std::string>& notices) {
  std::vector<std::string> newly;
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(), std::back_inserter(newly));
  if (newly.empty()) return;
  const std::string who = some_of(newly);
  const std::string text =
      reflectors ? fmt::format("without the mesh no reflector serves {}: pods there would be cut off", who)
                 : fmt::format("without the mesh and without any route reflector no node hears of another: all pods of {} would be cut off", who);
  if (forced) {
    notices.push_back(text);
    return;
  }
  fail(ErrorKind::conflict, "{}; {}, or give --force", text,
       reflectors ? "look at knet node list -o wide, and let a reflector serve them with knet node set NODE --clients"
                  : fmt::format("make two nodes reflectors first: knet node set {} --reflector 1.0.0.1", newly.front()));
}

}  // namespace knet
