// The inside of Rib: peers, groups of peers with the same view, and the steps of settle(). rib.cpp holds what comes in,
// rib_settle.cpp the decisions and what goes out, rib_show.cpp what people ask.
#pragma once

#include <unordered_map>

#include "bgp/rib_decision.h"
#include "bgp/rib_stream.h"
#include "bgp/rib_table.h"

namespace knet::bgp {

/// What the group's peers are told of a net: all but the one that it came from.
struct Told {
  AttrRef attributes;  // null: nothing
  PeerId source = kLocal;
};

struct PeerState;

struct Group {
  RibPeer view;          // as the first member had it; only what same_view() compares counts
  bool fresh = true;     // nothing is computed yet
  bool followed = true;  // somebody reads the log, or is owed what happens: changes go into the batch
  Paged<Told> told;
  size_t told_count = 0;
  std::vector<uint32_t> told_by;  // number of routes by their source peer; kLocal is not counted
  SegmentLog log;
  struct Dump {
    std::weak_ptr<const Segment> segment;
    uint64_t seq = 0;  // of the log when it was made
  };
  Dump dumps[kAfis];
  std::vector<PeerState*> members;
  Batch batch;
};

struct PeerState {
  explicit PeerState(PeerId peer_id) : id(peer_id), stream(peer_id) {}

  PeerId id;
  RibPeer config;
  uint32_t first_route = kNone;
  size_t route_count = 0, stale_count = 0;

  bool up = false;
  Group* group = nullptr;   // whose log it follows
  Group* target = nullptr;  // where it belongs; differs from group until the difference can be sent
  Stream stream;
  bool greeted = false;  // has got its first dump
  bool fallen = false;   // left the log; is owed withdrawals and a dump
  bool lost = false;
  bool asked[kAfis] = {false, false};  // wants a refresh
  std::vector<Prefix> owed;
  size_t owed_compacted = 0;
};

struct Rib::State {
  explicit State(RibSettings with, NextHopCost by) : settings(with), cost(std::move(by)), ours(kLocal) {}

  RibSettings settings;
  NextHopCost cost;
  bool deferred = false;
  AttributeTable attributes;
  NetTable nets;
  Pool<Route> routes;
  PeerState ours;
  std::vector<std::unique_ptr<PeerState>> peers;  // by id
  std::vector<std::unique_ptr<Group>> groups;
  std::vector<uint32_t> dirty;
  std::vector<uint32_t> changed;  // by the running settle()
  std::vector<uint32_t> noted;

  // --- rib.cpp: what comes in
  PeerState* peer(PeerId id) const;
  PeerState& known(PeerId id) const;  // throws Error of kind bug
  void touch(uint32_t net, bool force = false);
  void touch_all(bool force);
  uint32_t route_of(uint32_t net, PeerId peer) const;
  void put(PeerState& from, const Prefix& prefix, const AttrRef& raw);
  void drop_route(uint32_t route);
  void set_stale(Route& route, bool stale);
  void withdraw(PeerState& from, const Prefix& prefix);
  bool over_limit(const PeerState& from, const Prefix& prefix) const;
  void judge(Route& route, const PeerState& from);
  void judge_all(PeerState& from);
  template <class Visit>
  void each_route(PeerState& of, Visit visit);  // which may drop the route
  Group& group_for(const RibPeer& peer);
  void leave_group(PeerState& peer);
  void forget_last() { last = {}; }

  // --- rib_settle.cpp: what goes out
  void decide_net(uint32_t net);
  std::optional<uint32_t> cost_of(const IpAddr& next_hop);
  AttrRef view_of(const Group& group, const Net& net);
  void update(Group& group, uint32_t net);
  void publish(Group& group);
  void owe(PeerState& peer, const Prefix& prefix);
  void withdraw_told(Group& group, const Prefix& prefix, PeerId peer, bool only);
  SegmentRef dump(Group& group, Afi afi, bool exact, uint64_t& seq);
  void feed(PeerState& peer);
  void greet(PeerState& peer);
  void resend(PeerState& peer);
  void restore(PeerState& peer);
  void move(PeerState& peer);
  void bound(Group& group);
  void trim(Group& group);
  void drop_unused_groups();
  void free_if_unused(uint32_t net);

  /// What became of the last attributes that were judged or exported: the next prefix mostly has the same.
  struct Last {
    PeerId from = kLocal;
    AttrRef raw, base;  // base: before import policy
    bool looped = false;
    AttrRef in;  // after it
  } last;
  struct Exported {
    AttrRef in;
    PeerId source = kLocal;
    Afi afi = Afi::v4;  // next hop self differs
    AttrRef out;
  } last_export;
  std::unordered_map<std::string, std::optional<uint32_t>> costs;  // of the running settle(), by the address's bytes
  std::vector<Candidate> candidates;
  std::vector<uint32_t> candidate_routes;
};

template <class Visit>
void Rib::State::each_route(PeerState& of, Visit visit) {
  for (uint32_t route = of.first_route; route != kNone;) {
    const uint32_t next = routes[route].peer_next;
    visit(route);
    route = next;
  }
}

inline bool is_told(const Told& told, PeerId to) { return told.attributes && told.source != to; }

}  // namespace knet::bgp
