#include "bgp/rib.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "bgp/rib_state.h"

namespace knet::bgp {

std::string_view to_string(Loss loss) {
  static constexpr std::string_view kWords[] = {"",      "refused",    "loop",        "unreachable",  "own",
                                                "stale", "local-pref", "path-length", "origin",       "med",
                                                "ebgp",  "metric",     "originator",  "cluster-list", "address"};
  return kWords[static_cast<size_t>(loss)];
}

// --- the table

PeerState* Rib::State::peer(PeerId id) const {
  if (id == kLocal) return const_cast<PeerState*>(&ours);
  return id < peers.size() ? peers[id].get() : nullptr;
}

PeerState& Rib::State::known(PeerId id) const {
  PeerState* found = id == kLocal ? nullptr : peer(id);
  if (!found) throw Error(ErrorKind::bug, fmt::format("the RIB knows no peer {}", id));
  return *found;
}

void Rib::State::touch(uint32_t net, bool force) {
  Net& n = nets[net];
  n.forced |= force;
  if (n.dirty) return;
  n.dirty = true;
  dirty.push_back(net);
}

void Rib::State::touch_all(bool force) {
  for (uint32_t net = 0; net < nets.end(); ++net) {
    if (nets[net].prefix) touch(net, force);
  }
}

uint32_t Rib::State::route_of(uint32_t net, PeerId peer) const {
  if (net == kNone) return kNone;
  uint32_t route = nets[net].first;
  while (route != kNone && routes[route].peer != peer) route = routes[route].next;
  return route;
}

/// Fills in what our settings and the peer's import make of the route as it was received.
void Rib::State::judge(Route& route, const PeerState& from) {
  const bool local = from.id == kLocal;
  if (last.from != from.id || last.raw != route.raw) {
    last = {from.id, route.raw, route.raw, !local && is_loop(*route.raw, from.config, settings), nullptr};
    if (!local && from.config.role == PeerRole::ebgp) {
      Attributes base = *route.raw;
      base.local_pref.reset();  // not theirs to say (RFC 4271 5.1.5, RFC 7606 7.9 and 7.10)
      base.originator_id.reset();
      base.cluster_list.clear();
      if (has_community(base, kGracefulShutdown)) base.local_pref = 0;  // RFC 8326 section 4.2
      if (base != *route.raw) last.base = attributes.intern(std::move(base));
    }
  }
  route.looped = last.looped;
  route.refused = false;
  route.in = last.base;
  if (!local && from.config.import_policy && !route.looped) {
    Attributes changed = *last.base;
    route.refused = !from.config.import_policy(nets[route.net].prefix, changed);
    if (!route.refused && changed != *last.base) {
      if (!last.in || changed != *last.in) last.in = attributes.intern(std::move(changed));
      route.in = last.in;
    }
  }
  if (route.long_lived) {  // RFC 9494 4.2
    Attributes marked = *route.in;
    auto& list = marked.communities;
    const auto at = std::lower_bound(list.begin(), list.end(), kLlgrStale);
    if (at == list.end() || *at != kLlgrStale) list.insert(at, kLlgrStale);
    route.in = attributes.intern(std::move(marked));
  }
}

void Rib::State::judge_all(PeerState& from) {
  forget_last();
  each_route(from, [&](uint32_t route) {
    judge(routes[route], from);
    touch(routes[route].net, true);
  });
}

void Rib::State::put(PeerState& from, const Prefix& prefix, const AttrRef& raw) {
  const uint32_t net = nets.find_or_make(prefix);
  uint32_t index = route_of(net, from.id);
  if (index == kNone) {
    index = routes.make();
    Route& made = routes[index];
    made.peer = from.id;
    made.net = net;
    made.next = nets[net].first;
    nets[net].first = index;
    made.peer_next = from.first_route;
    if (from.first_route != kNone) routes[from.first_route].peer_prev = index;
    from.first_route = index;
    ++from.route_count;
  }
  Route& route = routes[index];
  const bool same = route.raw == raw && !route.long_lived;
  set_stale(route, false);
  route.long_lived = false;
  if (same) return;
  route.raw = raw;
  judge(route, from);
  touch(net);
}

void Rib::State::drop_route(uint32_t index) {
  Route& route = routes[index];
  PeerState& from = *peer(route.peer);
  uint32_t* link = &nets[route.net].first;
  while (*link != index) link = &routes[*link].next;
  *link = route.next;
  (route.peer_prev == kNone ? from.first_route : routes[route.peer_prev].peer_next) = route.peer_next;
  if (route.peer_next != kNone) routes[route.peer_next].peer_prev = route.peer_prev;
  set_stale(route, false);
  --from.route_count;
  touch(route.net);
  routes.drop(index);
}

void Rib::State::set_stale(Route& route, bool stale) {
  if (route.stale != stale) peer(route.peer)->stale_count += stale ? 1 : -1;
  route.stale = stale;
  route.asked_again = false;
}

void Rib::State::withdraw(PeerState& from, const Prefix& prefix) {
  const uint32_t route = route_of(nets.find(prefix), from.id);
  if (route != kNone) drop_route(route);
}

/// Stale routes do not count: what comes after a restart may differ from what was before.
bool Rib::State::over_limit(const PeerState& from, const Prefix& prefix) const {
  const uint64_t limit = from.config.prefix_limit;
  const size_t fresh = from.route_count - from.stale_count;
  // Stale ones go soon and do not count, up to as many again: who begins one refresh after the other makes all stale.
  if (limit == 0 || (fresh < limit && from.route_count / 2 < limit)) return false;
  const uint32_t route = route_of(nets.find(prefix), from.id);
  return route == kNone || (fresh >= limit && routes[route].stale);
}

// --- peers

namespace {

bool same_traits(const SessionTraits& a, const SessionTraits& b) {
  return a.four_octet_as == b.four_octet_as && a.extended_next_hop == b.extended_next_hop && a.ebgp == b.ebgp &&
         a.local_as == b.local_as;
}

bool same_view(const RibPeer& a, const RibPeer& b) {
  return a.role == b.role && a.local == b.local && a.other_local == b.other_local && same_traits(a.traits, b.traits) &&
         std::equal(a.families, a.families + kAfis, b.families) && a.next_hop_self == b.next_hop_self &&
         a.next_hop_unchanged == b.next_hop_unchanged && a.link == b.link && a.long_lived == b.long_lived &&
         a.export_key == b.export_key;
}

}  // namespace

Group& Rib::State::group_for(const RibPeer& peer) {
  for (const auto& group : groups) {
    if (same_view(group->view, peer)) return *group;
  }
  groups.push_back(std::make_unique<Group>());
  groups.back()->view = peer;
  return *groups.back();
}

void Rib::State::leave_group(PeerState& peer) {
  if (peer.group) std::erase(peer.group->members, &peer);
  peer.group = peer.target = nullptr;
  peer.stream = Stream(peer.id);
  peer.up = peer.greeted = peer.fallen = peer.lost = false;
  std::fill(peer.asked, peer.asked + kAfis, false);
  peer.owed = {};
  peer.owed_compacted = 0;
}

Rib::Rib(RibSettings settings, NextHopCost cost) : state_(std::make_unique<State>(settings, std::move(cost))) {}
Rib::~Rib() = default;

void Rib::set_settings(const RibSettings& settings) {
  State& s = *state_;
  s.settings = settings;
  for (const auto& peer : s.peers) {
    if (peer) s.judge_all(*peer);
  }
  s.touch_all(true);
}

void Rib::defer_selection(bool defer) { state_->deferred = defer; }

void Rib::add_peer(PeerId id, RibPeer peer) {
  State& s = *state_;
  if (id == kLocal || id >= 1u << 20) throw Error(ErrorKind::bug, fmt::format("no peer may have the number {}", id));
  if (id >= s.peers.size()) s.peers.resize(id + 1);
  auto& slot = s.peers[id];
  if (!slot) slot = std::make_unique<PeerState>(id);
  s.leave_group(*slot);
  slot->config = std::move(peer);
  slot->up = true;
  if (slot->first_route != kNone) s.judge_all(*slot);
  s.forget_last();
  slot->group = slot->target = &s.group_for(slot->config);
  slot->group->members.push_back(slot.get());
}

void Rib::drop_session(PeerId id, bool keep) {
  State& s = *state_;
  PeerState& peer = s.known(id);
  s.leave_group(peer);
  s.each_route(peer, [&](uint32_t index) {
    Route& route = s.routes[index];
    if (!keep || (route.stale && !route.long_lived && !route.asked_again)) {
      s.drop_route(index);
    } else {
      s.set_stale(route, true);
    }
  });
}

void Rib::mark_stale(PeerId id, Afi afi) {
  State& s = *state_;
  s.each_route(s.known(id), [&](uint32_t index) {
    Route& route = s.routes[index];
    if (route.stale || afi_of(s.nets[route.net].prefix) != afi) return;
    s.set_stale(route, true);
    route.asked_again = true;
  });
}

void Rib::sweep(PeerId id, Afi afi) {
  State& s = *state_;
  s.each_route(s.known(id), [&](uint32_t index) {
    const Route& route = s.routes[index];
    if (route.stale && afi_of(s.nets[route.net].prefix) == afi) s.drop_route(index);
  });
}

void Rib::mark_llgr(PeerId id, Afi afi) {
  State& s = *state_;
  PeerState& peer = s.known(id);
  s.each_route(peer, [&](uint32_t index) {
    Route& route = s.routes[index];
    if (!route.stale || route.long_lived || afi_of(s.nets[route.net].prefix) != afi) return;
    if (has_community(*route.raw, kNoLlgr)) return s.drop_route(index);
    route.long_lived = true;
    s.judge(route, peer);
    s.touch(route.net);
  });
}

void Rib::remove_peer(PeerId id) {
  State& s = *state_;
  PeerState& peer = s.known(id);
  s.leave_group(peer);
  s.each_route(peer, [&](uint32_t index) { s.drop_route(index); });
  s.forget_last();
  s.peers[id].reset();
}

void Rib::change_peer(PeerId id, RibPeer peer) {
  State& s = *state_;
  PeerState& slot = s.known(id);
  slot.config = std::move(peer);
  s.judge_all(slot);
  if (slot.up) slot.target = &s.group_for(slot.config);
}

// --- routes in

Rib::Verdict Rib::receive(PeerId from, const Update& update) {
  State& s = *state_;
  PeerState& peer = s.known(from);
  Verdict verdict;
  const auto spoken = [&](const Prefix& prefix) { return peer.config.families[static_cast<size_t>(afi_of(prefix))]; };
  const auto withdraw = [&](const std::vector<Prefix>& prefixes) {
    for (const Prefix& prefix : prefixes) {
      if (spoken(prefix)) s.withdraw(peer, prefix.masked());
    }
  };
  const auto reach = [&](const std::vector<Prefix>& prefixes, Attributes attributes) {
    if (prefixes.empty()) return;
    const AttrRef raw = s.attributes.intern(std::move(attributes));
    for (const Prefix& given : prefixes) {
      if (!spoken(given)) continue;
      const Prefix prefix = given.masked();
      if (s.over_limit(peer, prefix)) {
        verdict.over_limit = true;
      } else {
        s.put(peer, prefix, raw);
      }
    }
  };
  withdraw(update.withdrawn);
  if (!update.treat_as_withdraw.empty() || !update.attributes) {
    withdraw(update.reachable);
    withdraw(update.mp_reachable);
  } else {
    reach(update.reachable, *update.attributes);
    if (!update.mp_reachable.empty()) {
      Attributes other = *update.attributes;
      other.next_hop = update.mp_next_hop;
      other.link_local = update.mp_link_local;
      reach(update.mp_reachable, std::move(other));
    }
  }
  if (update.end_of_rib) sweep(from, *update.end_of_rib);
  return verdict;
}

void Rib::originate(const Prefix& prefix, std::optional<Attributes> attributes) {
  State& s = *state_;
  if (!attributes) return s.withdraw(s.ours, prefix.masked());
  s.put(s.ours, prefix.masked(), s.attributes.intern(std::move(*attributes)));
}

void Rib::next_hops_changed() { state_->touch_all(false); }

void Rib::refresh(PeerId to, Afi afi) {
  PeerState& peer = state_->known(to);
  if (peer.greeted && peer.config.families[static_cast<size_t>(afi)]) peer.asked[static_cast<size_t>(afi)] = true;
}

}  // namespace knet::bgp
