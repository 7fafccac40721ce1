#include "agent/view_cache.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

namespace knet {
namespace {

constexpr std::string_view kHead = "knet view 1";
constexpr std::string_view kFoot = "end ";

// "lease <key> <revision> <lease id> <name> <value>": the value is compact JSON and comes last.
void append_lease(std::string& out, std::string_view word, const Lease& lease, std::string_view name) {
  out += fmt::format("{} {} {} {} {} {}\n", word, format_subnet_key(lease.subnet, lease.subnet6), lease.rev,
                     lease.lease_id, name.empty() ? std::string_view("-") : name, format_lease(lease));
}

struct NamedLease {
  Lease lease;
  std::string name;
};

std::optional<NamedLease> parse_lease_line(std::string_view rest) {
  std::string_view words[4];
  for (std::string_view& word : words) {
    const size_t space = rest.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    word = rest.substr(0, space);
    rest.remove_prefix(space + 1);
  }
  auto key = parse_subnet_key(words[0]);
  auto rev = parse_int(words[1]);
  auto id = parse_int(words[2]);
  if (!key || !rev || !id) return std::nullopt;
  NamedLease out{parse_lease(*key, rest, "udp"), std::string(words[3])};
  out.lease.rev = *rev;
  out.lease.lease_id = *id;
  return out;
}

// "bgp-peer tor1 {...}": as in the store, and what can't be read of it is left out.
void append_bgp(std::string& out, const BgpView& bgp) {
  if (bgp.config != BgpConfig{}) out += fmt::format("bgp-config {}\n", format_bgp_config(bgp.config));
  for (const BgpPeerSpec& peer : bgp.peers) out += fmt::format("bgp-peer {} {}\n", peer.name, format_bgp_peer(peer));
  for (const NodeSpec& spec : bgp.specs) out += fmt::format("spec {} {}\n", spec.node, format_node_spec(spec));
  for (const BgpSpeakerNode& speaker : bgp.speakers) {
    NodeRecord record;
    record.name = speaker.node;
    record.public_ip = speaker.public_ip;
    record.public_ip6 = speaker.public_ip6;
    out += fmt::format("speaker {}\n", format_node(record));
  }
  for (const IpAddr& address : bgp.joined) out += fmt::format("joined {}\n", address.str());
}

void parse_bgp_line(std::string_view line, BgpView& bgp) {
  const size_t space = std::min(line.find(' '), line.size() - 1);
  const std::string_view word = line.substr(0, space), rest = line.substr(space + 1);
  const size_t second = std::min(rest.find(' '), rest.size());
  const std::string_view name = rest.substr(0, second), value = rest.substr(std::min(second + 1, rest.size()));
  try {
    if (word == "bgp-config") bgp.config = parse_bgp_config(rest);
    if (word == "bgp-peer") bgp.peers.push_back(parse_bgp_peer(name, value));
    if (word == "spec") bgp.specs.push_back(parse_node_spec(name, value));
    if (word == "joined")
      if (const auto address = IpAddr::parse(rest)) bgp.joined.push_back(*address);
    if (word != "speaker") return;
    NodeRecord record = parse_node(rest);
    bgp.speakers.push_back({std::move(record.name), record.public_ip, record.public_ip6});
  } catch (const Error&) {
    // As a peer's record below.
  }
}

std::optional<NamedLease> parse_peer_line(std::string_view rest) {
  try {
    return parse_lease_line(rest);
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::string format_cached_view(const std::string& config_json, const ClusterView& view,
                               const std::vector<ReceivedMode>& received) {
  const std::string& node = view.self.name;
  std::string out(kHead);
  nlohmann::json head = {{"node", node}, {"revision", view.rev}, {"config", config_json}};
  for (const ReceivedMode& mode : received)
    head["received"].push_back({{"mode", mode.mode}, {"revision", mode.rev}, {"since", mode.since}});
  if (!view.self.runs_pods) head["no_pods"] = true;
  out += "\n" + head.dump() + "\n";
  append_bgp(out, view.bgp);
  const Lease& own = view.self.lease;
  if (own.subnet || own.subnet6) append_lease(out, "own", own, node);
  for (size_t i = 0; i < view.leases.size(); ++i)
    append_lease(out, "lease", view.leases[i], i < view.names.size() ? view.names[i] : std::string_view());
  out += fmt::format("{}{:016x}\n", kFoot, fingerprint(out));
  return out;
}

std::optional<CachedView> parse_cached_view(std::string_view text) {
  const size_t foot = text.rfind(kFoot);
  if (foot == std::string_view::npos || foot == 0 || text[foot - 1] != '\n') return std::nullopt;
  if (trim(text.substr(foot + kFoot.size())) != fmt::format("{:016x}", fingerprint(text.substr(0, foot))))
    return std::nullopt;
  text = text.substr(0, foot);

  CachedView view;
  size_t line_number = 0;
  try {
    while (!text.empty()) {
      const size_t end = text.find('\n');
      const std::string_view line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      ++line_number;
      if (line_number == 1) {
        if (line != kHead) return std::nullopt;
      } else if (line_number == 2) {
        const nlohmann::json head = parse_json(line, "view.cache");
        view.node = head.at("node").get<std::string>();
        view.rev = head.at("revision").get<Revision>();
        view.config_json = head.at("config").get<std::string>();
        view.no_pods = head.value("no_pods", false);
        for (const auto& mode : head.value("received", nlohmann::json::array()))  // not in an older version's
          view.received.push_back({mode.at("mode").get<std::string>(), mode.at("revision").get<Revision>(),
                                   mode.at("since").get<int64_t>()});
      } else if (line.starts_with("own ")) {
        auto own = parse_lease_line(line.substr(4));
        if (!own) return std::nullopt;
        view.own = std::move(own->lease);
      } else if (line.starts_with("lease ")) {
        // The checksum has proved the file: what is odd is a single peer's record, and no reason to lose the others.
        if (auto peer = parse_peer_line(line.substr(6))) {
          view.peers.push_back(std::move(peer->lease));
          view.names.push_back(std::move(peer->name));
        }
      } else if (!line.empty()) {
        parse_bgp_line(line, view.bgp);
      }
    }
  } catch (const std::exception&) {
    return std::nullopt;
  }
  return line_number >= 2 ? std::optional(std::move(view)) : std::nullopt;
}

std::optional<CachedView> load_view_cache(const std::filesystem::path& path) {
  // The file is root's; who only looks goes on without it, as where it is missing.
  if (::access(path.c_str(), R_OK) != 0) return std::nullopt;
  auto text = read_file(path, 256u << 20);
  return text ? parse_cached_view(*text) : std::nullopt;
}

std::vector<std::string> received_modes(const NodePaths& paths, const std::string& node, const NetworkConfig& config) {
  std::vector<std::string> modes;
  if (config.earlier.empty()) return modes;
  const auto cache = load_view_cache(paths.view_cache());
  const bool known = cache && cache->node == node;
  for (const auto& [mode, options] : config.earlier) {
    const auto same = [&, &name = mode](const ReceivedMode& received) { return received.mode == name; };
    if (!known || std::any_of(cache->received.begin(), cache->received.end(), same)) modes.push_back(mode);
  }
  return modes;
}

void save_view_cache(const std::filesystem::path& path, const std::string& config_json, const ClusterView& view,
                     const std::vector<ReceivedMode>& received) {
  // Not durable: the loop must not wait for a disk, and a file cut short by a power cut is known by its checksum.
  write_file(path, format_cached_view(config_json, view, received), 0600, false);
}

}  // namespace knet
