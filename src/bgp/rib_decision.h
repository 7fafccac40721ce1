// The decision process (RFC 4271 9.1.2.2, RFC 4456 section 9, RFC 9494 4.3) and what a route becomes on its way to a
// peer (RFC 4271 5.1 and 9.1.3, RFC 4456 section 8, RFC 1997). Pure functions of values.
#pragma once

#include <span>

#include "bgp/rib.h"

namespace knet::bgp {

inline constexpr uint32_t kDefaultLocalPref = 100;

struct Candidate {
  const Attributes* attributes = nullptr;
  bool local = false;  // ours
  bool ebgp = false;
  RouterId peer_id = 0;
  IpAddr peer_address;
  std::optional<uint32_t> cost = 0;  // of the next hop; nothing: unreachable
  Loss loss = Loss::none;            // in: refused and loop take no part. out: the step at which it fell
  bool multipath = false;            // out
};

/// The best one's index, -1 for none. Of those that are equal up to the cost of the next hop, the first `max_paths`
/// (the best counts) are marked as multipath if their next hops differ. The order of the candidates does not matter:
/// MEDs are compared among all routes of one neighbouring AS.
int decide(std::span<Candidate> candidates, int max_paths);

bool has_community(const Attributes& attributes, uint32_t community);

struct RouteSource {
  bool local = false;
  PeerRole role = PeerRole::ibgp;
  RouterId id = 0;
};

/// What the peer is told of a route; nothing if it may not have it. Without its export policy.
std::optional<Attributes> export_route(const Attributes& in, Afi afi, const RouteSource& source, const RibPeer& to,
                                       const RibSettings& settings);

/// True if the route has been here: our AS in the path beyond what is allowed (RFC 4271 9.1.2), our router id as its
/// originator, our cluster in its list (RFC 4456 section 8), our own address as next hop (RFC 4271 5.1.3).
bool is_loop(const Attributes& in, const RibPeer& from, const RibSettings& settings);

}  // namespace knet::bgp
