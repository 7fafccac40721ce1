// The RIBs of a speaker (RFC 4271 section 9): what each peer sent (adj-RIB-in), the decision process, the best routes
// (loc-RIB), and what goes to whom, with reflection (RFC 4456). Pure and single-threaded: no socket, no clock. Peers with
// the same view of the RIB form one group: an UPDATE is made once for the group and shared by all of it as bytes; a route
// is not sent back to the peer that it came from. The caller drains each peer's stream at the peer's own pace.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bgp/message.h"

namespace knet::bgp {

using PeerId = uint32_t;  // small, chosen by the caller, reused only after remove_peer
inline constexpr PeerId kLocal = 0xffffffff;  // routes of our own

enum class PeerRole : uint8_t { ebgp, ibgp, reflector_client };

/// What the RIB knows of a peer; policy is by function, so that the RIB knows no filter language.
struct RibPeer {
  PeerRole role = PeerRole::ibgp;
  RouterId id = 0;
  IpAddr address;      // the last tie-breaker (RFC 4271 9.1.2.2 g)
  IpAddr local;        // our address on this session: next hop self
  SessionTraits traits;
  bool families[kAfis] = {true, false};
  bool next_hop_self = false;     // also towards iBGP
  bool next_hop_unchanged = false;  // also towards eBGP
  uint64_t prefix_limit = 0;      // 0: none
  /// Null: everything. Import may change the attributes; false refuses the route (it is kept as refused, for display).
  std::function<bool(const Prefix&, Attributes&)> import_policy;
  /// Peers are of one group only if `export_key` and all the fields that change what is sent are equal.
  std::string export_key;
  std::function<bool(const Prefix&, Attributes&)> export_policy;
};

struct RibSettings {
  Asn asn = 0;
  RouterId id = 0;
  uint32_t cluster_id = 0;   // 0: no reflector
  int max_paths = 1;         // equal-cost next hops of a best route
};

/// Why a route is not the best, in the order of the decision process.
enum class Loss : uint8_t {
  none, refused, unreachable, loop, stale, local_pref, path_length, origin, med, ebgp, metric, originator, cluster_list,
  address
};
std::string_view to_string(Loss loss);

struct RouteView {  // for people: knet bgp routes
  Prefix prefix;
  PeerId peer;
  AttrRef attributes;
  bool best = false;
  bool multipath = false;  // used beside the best
  bool stale = false;
  Loss loss = Loss::none;
};

/// A change of the loc-RIB, for the kernel.
struct BestChange {
  Prefix prefix;
  std::vector<IpAddr> next_hops;  // empty: gone. The best's first.
  PeerId peer = kLocal;           // whose route is best
};

class Rib {
 public:
  /// The IGP's cost of a next hop, nothing if unreachable; asked at each decision. Null: all cost 0.
  using NextHopCost = std::function<std::optional<uint32_t>(const IpAddr&)>;

  explicit Rib(RibSettings settings, NextHopCost cost = nullptr);
  ~Rib();

  void set_settings(const RibSettings& settings);  // cluster id, paths: all is judged again

  // --- peers
  /// Established: gets all routes that are for it, then end-of-RIB. Stale routes of an earlier session of the same id
  /// that were kept (retain) stay until it sends its own end-of-RIB.
  void add_peer(PeerId id, RibPeer peer);
  /// The session is gone. keep: its routes stay, marked stale (RFC 4724), until sweep or remove_peer.
  void drop_session(PeerId id, bool keep);
  void sweep(PeerId id, Afi afi);    // stale routes of the peer go: end-of-RIB came, or the restart time is over
  void mark_llgr(PeerId id, Afi afi);  // RFC 9494: what is stale is least preferred and carries LLGR_STALE
  void remove_peer(PeerId id);
  /// Role, policy or next hop handling changed while the session lives: what differs is sent, nothing else.
  void change_peer(PeerId id, RibPeer peer);

  // --- routes in
  struct Verdict {
    bool over_limit = false;  // RFC 4486: maximum number of prefixes reached
  };
  Verdict receive(PeerId from, const Update& update);
  /// Ours: originate, replace, or (no attributes) withdraw.
  void originate(const Prefix& prefix, std::optional<Attributes> attributes);
  /// The next hops' costs have changed: everything is judged again.
  void next_hops_changed();
  /// The peer asks for all again (RFC 2918, 7313), or its import policy changed and routes are kept.
  void refresh(PeerId to, Afi afi);

  // --- what came of it
  /// Decides what is pending, encodes for each group. Call after a batch of the above.
  void settle();
  /// Changes of the loc-RIB since the last call, one per prefix.
  std::vector<BestChange> take_changes();
  /// Bytes for the peer from where it stands: up to `max` chunks that stay valid until consumed. Nothing: up to date.
  std::vector<Bytes> pending(PeerId to, size_t max_bytes);
  void consume(PeerId to, size_t bytes);
  /// Bytes that wait for the peer. Past a bound the RIB lets it fall behind and gives it the whole table anew later: memory does not grow with slow peers.
  size_t backlog(PeerId to) const;

  // --- for people
  std::vector<RouteView> routes(std::optional<Prefix> exact_or_covering = std::nullopt) const;
  std::vector<RouteView> received(PeerId from) const;
  std::vector<std::pair<Prefix, AttrRef>> advertised(PeerId to) const;
  struct Counts {
    size_t received = 0, accepted = 0, best = 0, advertised = 0, stale = 0;
  };
  Counts counts(PeerId peer) const;
  size_t groups() const;
  size_t prefixes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace knet::bgp
