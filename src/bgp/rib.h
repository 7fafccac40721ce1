// The RIBs of a speaker (RFC 4271 section 9): what each peer sent (adj-RIB-in), the decision process, the best routes
// (loc-RIB), and what goes to whom, with reflection (RFC 4456). Pure and single-threaded: no socket, no clock. Peers
// with the same view of the RIB form one group: an UPDATE is made once for the group and shared by all of it as bytes;
// a route is not sent back to the peer that it came from. The caller drains each peer's stream at the peer's own pace.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bgp/message.h"

namespace knet::bgp {

using PeerId = uint32_t;                      // small, chosen by the caller, reused only after remove_peer
inline constexpr PeerId kLocal = 0xffffffff;  // routes of our own

enum class PeerRole : uint8_t { ebgp, ibgp, reflector_client };

/// What the RIB knows of a peer; policy is by function, so that the RIB knows no filter language.
struct RibPeer {
  PeerRole role = PeerRole::ibgp;
  RouterId id = 0;
  IpAddr address;      // the last tie-breaker (RFC 4271 9.1.2.2 g)
  IpAddr local;        // our address on this session: next hop self
  IpAddr other_local;  // ours in the other family, for next hop self of its routes; unset: IPv4 routes take `local`
                       // where RFC 8950 is spoken, IPv6 routes of our own can't be told over an IPv4 session
  SessionTraits traits;
  bool families[kAfis] = {true, false};
  bool next_hop_self = false;       // also towards iBGP, for what is not reflected (RFC 4456 section 10)
  bool next_hop_unchanged = false;  // also towards eBGP
  Prefix link;                      // eBGP: next hops inside are left as they are (RFC 4271 5.1.3, third party)
  bool long_lived = false;          // the peer speaks RFC 9494: may be given LLGR_STALE routes as they are
  bool enhanced_refresh = false;    // RFC 7313: refreshes are framed by begin and end
  int allowed_own_as = 0;           // our AS may be so often in a path that the peer sends
  uint64_t prefix_limit = 0;        // 0: none
  /// Null: everything. Import may change the attributes; false refuses the route (it is kept as refused, for display).
  std::function<bool(const Prefix&, Attributes&)> import_policy;
  /// Peers are of one group only if `export_key` and all the fields that change what is sent are equal.
  std::string export_key;
  std::function<bool(const Prefix&, Attributes&)> export_policy;
};

struct RibSettings {
  Asn asn = 0;
  RouterId id = 0;
  uint32_t cluster_id = 0;          // 0: no reflector
  int max_paths = 1;                // equal-cost next hops of a best route
  size_t backlog_limit = 1u << 20;  // bytes of updates that are kept for a slow peer before it falls behind
};

/// Why a route is not the best, in the order of the decision process.
enum class Loss : uint8_t {
  none,
  refused,
  loop,
  unreachable,
  own,
  stale,
  local_pref,
  path_length,
  origin,
  med,
  ebgp,
  metric,
  originator,
  cluster_list,
  address
};
/// A word for people: "local-pref"; "" for none.
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
  std::vector<IpAddr> next_hops;  // empty: gone, or ours without a next hop. The best's first.
  PeerId peer = kLocal;           // whose route is best
};

class Rib {
 public:
  /// The IGP's cost of a next hop, nothing if unreachable; asked at each decision. Null: all cost 0.
  using NextHopCost = std::function<std::optional<uint32_t>(const IpAddr&)>;

  explicit Rib(RibSettings settings, NextHopCost cost = nullptr);
  ~Rib();

  void set_settings(const RibSettings& settings);  // cluster id, paths: all is judged again
  /// The restarting speaker's part of RFC 4724 4.1: while true, settle() decides nothing and nobody is told anything.
  void defer_selection(bool defer);

  // --- peers
  /// Established: gets all routes that are for it, then end-of-RIB of each of its families. Stale routes of an earlier
  /// session of the same id that were kept stay until it sends its own end-of-RIB.
  void add_peer(PeerId id, RibPeer peer);
  /// The session is gone. keep: its routes stay, marked stale (RFC 4724), until sweep or remove_peer; what was stale
  /// already goes, unless it is long-lived (RFC 9494 4.2).
  void drop_session(PeerId id, bool keep);
  void mark_stale(PeerId id, Afi afi);  // a refresh begins (RFC 7313): what is not sent again goes with the sweep
  void sweep(PeerId id, Afi afi);       // stale routes of the peer go: end-of-RIB came, or the restart time is over
  void mark_llgr(PeerId id, Afi afi);   // RFC 9494: what is stale is least preferred and carries LLGR_STALE
  void remove_peer(PeerId id);
  /// Role, policy or next hop handling changed while the session lives: what differs is sent, nothing else.
  void change_peer(PeerId id, RibPeer peer);

  // --- routes in
  struct Verdict {
    bool over_limit = false;  // RFC 4486: maximum number of prefixes reached; what is beyond was not taken
  };
  Verdict receive(PeerId from, const Update& update);
  /// Ours: originate, replace, or (no attributes) withdraw. Without a next hop each peer is told our address towards
  /// it.
  void originate(const Prefix& prefix, std::optional<Attributes> attributes);
  /// The next hops' costs have changed: everything is judged again.
  void next_hops_changed();
  /// The peer asks for all again (RFC 2918, 7313).
  void refresh(PeerId to, Afi afi);

  // --- what came of it
  /// Decides what is pending, encodes for each group. Call after a batch of the above.
  void settle();
  /// Changes of the loc-RIB since the last call, one per prefix.
  std::vector<BestChange> take_changes();
  /// As if they had been taken: nobody wants them.
  void drop_changes();
  /// The next take_changes() tells of every prefix.
  void note_all();
  /// Whole and partial messages for the peer from where it stands, at most 256 pieces; they stay valid until the next
  /// call of consume(), settle() or one that changes the peer. Nothing: up to date.
  std::vector<Bytes> pending(PeerId to, size_t max_bytes);
  void consume(PeerId to, size_t bytes);
  /// An upper bound of the bytes that wait for the peer, 0 if it is up to date. Past settings.backlog_limit the RIB
  /// lets it fall behind and gives it the whole table anew once it has read what it was sent: memory does not grow with
  /// slow peers.
  size_t backlog(PeerId to) const;
  /// So far behind that even what it must be told to forget is no longer known: only a new session helps.
  bool lost(PeerId to) const;

  // --- for people
  /// All routes, or those of the prefixes that hold this one; by prefix, the best first. As of the last settle().
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
