// The BGP speaker: one thread with one epoll over the listening sockets, the connections and the timers, driving the
// sessions and the RIB. It is told what is wanted as a whole (configure) and makes the difference: a session whose
// address, AS and transport stay the same lives on. Nothing here touches the kernel's routes: learned ones are handed
// over as a value. All calls are from any other thread; none waits for the network.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bgp/rib.h"
#include "bgp/session.h"
#include "core/view.h"

namespace knet::bgp {

/// A policy as a value: equal keys are equal policies.
struct Policy {
  std::string key;
  std::function<bool(const Prefix&, Attributes&)> apply;  // null: everything
};

struct PeerConfig {
  std::string name;            // for people: "n2", "tor1"
  std::string type;            // for people: "mesh", "client", "reflector", "node", "global", "dynamic"
  Prefix remote;               // a host's: dialled (unless passive) and accepted; shorter: dynamic neighbours, accepted only
  uint16_t port = 179;         // dialled
  IpAddr local;                // our end; unset: the kernel's choice
  std::string password;        // TCP MD5 (RFC 2385), at most 80 bytes; "": none
  bool ttl_security = false;   // RFC 5082: 255 is sent, nothing less is taken
  bool multihop = false;       // eBGP: TTL 64 instead of 1
  SessionConfig session;       // its change means a new session
  // The rest is changed in place.
  PeerRole role = PeerRole::ibgp;
  IpAddr other_local;          // RibPeer
  bool client = false;         // where any AS may come (role ebgp): one of our own AS is a reflector's client
  bool next_hop_self = false, next_hop_unchanged = false;
  Prefix link;
  int allowed_own_as = 0;
  uint64_t prefix_limit = 0;
  uint32_t max_dynamic = 500;  // dynamic neighbours at once
  Policy import, export_;
};

/// A way to next hops as the host has it, for their cost and whether they can be reached.
struct IgpRoute {
  Prefix dst;
  uint32_t cost = 0;
  bool operator==(const IgpRoute&) const = default;
};

struct SpeakerConfig {
  RibSettings rib;                // AS, router id, cluster id, paths
  std::vector<IpAddr> listen;     // addresses; unset ones of a family: any
  uint16_t port = 179;
  std::vector<PeerConfig> peers;  // sorted by remote, each once
  std::vector<std::pair<Prefix, Attributes>> originated;  // sorted by prefix
  std::vector<IgpRoute> igp;      // sorted; empty: every next hop is reachable at no cost
  /// Wait for the peers' routes before anything is decided, after a restart: reflectors, and who passes on between ASes.
  bool defer_selection = false;
  /// What is learned goes to OnLearned; false: it is for the peers alone (a reflector without pods).
  bool hands_over = true;
};

struct PeerStatus {
  std::string name, type;
  IpAddr address;
  Asn asn = 0;                 // theirs, as told or as expected
  RouterId id = 0;             // 0: not known yet
  SessionState state = SessionState::idle;
  int64_t since = 0;           // Unix seconds
  Rib::Counts counts;
  uint64_t messages_in = 0, messages_out = 0;
  size_t backlog = 0;          // bytes that wait for it
  uint16_t hold_time = 0;
  bool families[kAfis] = {false, false};
  bool dynamic = false;
  bool restarting = false;     // its routes are stale ones, kept
  std::string last_error;
  std::string local;           // "192.168.77.1:179", "" where there is no connection
};

struct RouteQuery {
  enum class Of : uint8_t { all, received, advertised } of = Of::all;
  IpAddr peer{};               // received, advertised
  std::optional<Prefix> prefix{};
  size_t limit = 100'000;
};
struct RouteStatus {           // a copy: RouteView with its peer resolved
  Prefix prefix;
  std::string peer;            // name; "" ours
  IpAddr peer_address;
  AttrRef attributes;
  bool best = false, multipath = false, stale = false;
  std::string loss;            // to_string(Loss)
};

enum class ResetKind : uint8_t { hard, in, out };  // in: ask for a refresh; out: send all again

class Speaker {
 public:
  /// What was learned, for the kernel: all of it, sorted by prefix, at each change (coalesced: 10 ms quiet, 100 ms at
  /// most). `whole`: every peer that is waited for after a start has sent its end-of-RIB, or the time for it is over;
  /// until then what is not here may still come. Called on the speaker's thread.
  using OnLearned = std::function<void(std::shared_ptr<const std::vector<LearnedRoute>> routes, bool whole)>;

  /// `restarting`: an earlier speaker of this node ran since boot (RFC 4724: R bit, forwarding state kept).
  Speaker(OnLearned learned, bool restarting);
  /// Closes without a NOTIFICATION: peers keep our routes for the restart time (RFC 4724). After stop(): with cease.
  ~Speaker();
  /// Tells all peers that this node goes for good, with a text for their log (RFC 9003), and lets them read it (100 ms).
  void stop(std::string_view text);

  void configure(SpeakerConfig config);
  std::vector<PeerStatus> peers();
  /// Throws Error{usage} for a peer that there is not.
  std::vector<RouteStatus> routes(const RouteQuery& query);
  void reset(const std::optional<IpAddr>& peer, ResetKind kind);  // none: all. Throws like routes().
  /// What is wrong as a whole: "tcp 179 on 0.0.0.0 is taken: is bird running here?".
  std::vector<std::string> troubles();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace knet::bgp
