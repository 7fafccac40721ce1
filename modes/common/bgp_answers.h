// What the bgp service answers, as JSON of schema 1 (`knet bgp peers` and `knet bgp routes` print it). Pure.
#pragma once

#include <string>
#include <vector>

#include "bgp/speaker.h"

namespace knet {

/// This node's side of it, as the speaker was last told.
struct BgpFacts {
  std::string node;
  bgp::Asn asn = 0;
  bgp::RouterId id = 0;
  uint32_t cluster_id = 0;  // 0: no reflector
  bool mesh = true;
  std::vector<std::string> listen;  // "0.0.0.0:179"
};

std::string format_peers_answer(const BgpFacts& facts, const std::vector<std::string>& troubles,
                                const std::vector<bgp::PeerStatus>& peers);
std::string format_routes_answer(const BgpFacts& facts, const std::vector<bgp::RouteStatus>& routes);
std::string format_reset_answer(const std::vector<std::string>& reset);

/// "64512:7", or the name of a well-known one: "no-export".
std::string format_community(uint32_t community);
/// "65001 65002 {65003 65004}"; confederation segments in parentheses.
std::string format_as_path(const std::vector<bgp::AsSegment>& path);

}  // namespace knet
