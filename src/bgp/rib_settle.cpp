// settle(): decide what is dirty, compare what each group was told with what it should know, encode the difference once
// for the group; then see to single peers: dumps for the new, refreshes, those that fell behind, those that change
// groups.
#include <algorithm>

#include "bgp/rib_state.h"

namespace knet::bgp {

// --- decisions

std::optional<uint32_t> Rib::State::cost_of(const IpAddr& next_hop) {
  if (!cost) return 0;
  const auto [it, made] =
      costs.try_emplace(std::string(reinterpret_cast<const char*>(next_hop.data()), next_hop.size()));
  if (made) it->second = cost(next_hop);
  return it->second;
}

void Rib::State::decide_net(uint32_t index) {
  Net& net = nets[index];
  candidates.clear();
  candidate_routes.clear();
  for (uint32_t r = net.first; r != kNone; r = routes[r].next) {
    const Route& route = routes[r];
    const PeerState& from = *peer(route.peer);
    Candidate c;
    c.attributes = route.in.get();
    c.local = route.peer == kLocal;
    c.ebgp = !c.local && from.config.role == PeerRole::ebgp;
    c.peer_id = c.local ? settings.id : from.config.id;
    c.peer_address = from.config.address;
    c.loss = route.refused ? Loss::refused : route.looped ? Loss::loop : Loss::none;
    if (c.loss == Loss::none && !c.local && route.in->next_hop) c.cost = cost_of(route.in->next_hop);
    candidates.push_back(c);
    candidate_routes.push_back(r);
  }
  const int best = decide(candidates, settings.max_paths);
  std::vector<IpAddr> more;
  for (size_t i = 0; i < candidates.size(); ++i) {
    Route& route = routes[candidate_routes[i]];
    route.loss = candidates[i].loss;
    route.multipath = candidates[i].multipath;
    if (route.multipath) more.push_back(route.in->next_hop);
  }
  std::sort(more.begin(), more.end());
  const AttrRef now = best < 0 ? nullptr : routes[candidate_routes[best]].in;
  const PeerId from = best < 0 ? kLocal : routes[candidate_routes[best]].peer;
  const bool same_source = (now == nullptr) == (net.best == nullptr) && from == net.best_peer;
  const bool same_hops = same_source && (!now || now->next_hop == net.best->next_hop) &&
                         (net.more_hops ? *net.more_hops == more : more.empty());
  if (!same_hops) {
    net.more_hops = more.empty() ? nullptr : std::make_unique<std::vector<IpAddr>>(std::move(more));
    if (!net.noted) noted.push_back(index);
    net.noted = true;
  }
  if (net.forced || !same_source || now != net.best) changed.push_back(index);
  net.forced = false;
  net.best = now;
  net.best_peer = from;
}

// --- what a group is told

AttrRef Rib::State::view_of(const Group& group, const Net& net) {
  const Afi afi = afi_of(net.prefix);
  if (!net.best || !group.view.families[static_cast<size_t>(afi)]) return nullptr;
  if (last_export.in != net.best || last_export.source != net.best_peer || last_export.afi != afi) {
    const PeerState& from = *peer(net.best_peer);
    auto out =
        export_route(*net.best, afi, {net.best_peer == kLocal, from.config.role, from.config.id}, group.view, settings);
    last_export = {net.best, net.best_peer, afi, out ? attributes.intern(std::move(*out)) : nullptr};
  }
  if (!last_export.out || !group.view.export_policy) return last_export.out;
  Attributes changed_by = *last_export.out;
  if (!group.view.export_policy(net.prefix, changed_by)) return nullptr;
  return changed_by == *last_export.out ? last_export.out : attributes.intern(std::move(changed_by));
}

void Rib::State::owe(PeerState& peer, const Prefix& prefix) {
  if (peer.lost) return;
  peer.owed.push_back(prefix);
  if (peer.owed.size() < 2 * peer.owed_compacted + 1024) return;
  std::sort(peer.owed.begin(), peer.owed.end());
  peer.owed.erase(std::unique(peer.owed.begin(), peer.owed.end()), peer.owed.end());
  peer.owed_compacted = peer.owed.size();
  if (peer.owed.size() * sizeof(Prefix) <= 4 * settings.backlog_limit) return;
  peer.lost = true;
  peer.owed = {};
  peer.stream = Stream(peer.id);
}

void Rib::State::withdraw_told(Group& group, const Prefix& prefix, PeerId peer, bool only) {
  group.batch.withdraw(prefix, peer, only);
  for (PeerState* member : group.members) {
    if (member->fallen && only == (member->id == peer)) owe(*member, prefix);
  }
}

/// Brings what the group is told of the net up to date, and into its batch.
void Rib::State::update(Group& group, uint32_t index) {
  Net& net = nets[index];
  Told& told = group.told.at(index);
  AttrRef now = view_of(group, net);
  const PeerId source = net.best_peer;
  if (now == told.attributes && (!now || source == told.source)) return;
  if (!group.followed) {
    for (Group::Dump& dump : group.dumps) dump.segment.reset();  // no log leads on from them
  } else if (!now) {
    withdraw_told(group, net.prefix, told.source, false);
  } else if (now == told.attributes) {
    if (told.source != kLocal) group.batch.announce(net.prefix, now, told.source, true);
  } else {
    group.batch.announce(net.prefix, now, source);
  }
  // The new source had another's route, or ours, until now.
  if (group.followed && now && told.attributes && told.source != source && source != kLocal)
    withdraw_told(group, net.prefix, source, true);

  const auto count = [&](PeerId by, int step) {
    if (by == kLocal) return;
    if (by >= group.told_by.size()) group.told_by.resize(by + 1);
    group.told_by[by] += static_cast<uint32_t>(step);
  };
  if (told.attributes) count(told.source, -1);
  if (now) count(source, 1);
  const int step = int{now != nullptr} - int{told.attributes != nullptr};
  group.told_count += static_cast<size_t>(step);
  net.told += static_cast<uint32_t>(step);
  told = {std::move(now), source};
}

void Rib::State::publish(Group& group) {
  if (group.batch.empty()) return;
  group.log.append(group.batch.encode(group.view.traits));
  for (PeerState* member : group.members) member->stream.skip(group.log);
}

/// The group's whole view of a family. Peers that come up together share one: as long as somebody reads it, the log
/// from there on is kept, and leads on to now. exact: of this very moment.
SegmentRef Rib::State::dump(Group& group, Afi afi, bool exact, uint64_t& seq) {
  Group::Dump& kept = group.dumps[static_cast<size_t>(afi)];
  SegmentRef segment = kept.segment.lock();
  const bool usable = segment && (exact ? kept.seq == group.log.end()
                                        : kept.seq >= group.log.begin() &&
                                              group.log.bytes_from(kept.seq) <= settings.backlog_limit / 2);
  if (!usable) {
    Batch batch;
    for (uint32_t i = 0; i < nets.end(); ++i) {
      const Told* told = group.told.find(i);
      if (!told) break;
      if (told->attributes && afi_of(nets[i].prefix) == afi)
        batch.announce(nets[i].prefix, told->attributes, told->source);
    }
    segment = batch.encode(group.view.traits);
    kept = {segment, group.log.end()};
  }
  seq = std::min(seq, kept.seq);
  return segment;
}

// --- single peers

void Rib::State::greet(PeerState& peer) {
  Group& group = *peer.group;
  uint64_t seq = group.log.end();
  for (size_t afi = 0; afi < kAfis; ++afi) {
    if (peer.config.families[afi]) peer.stream.push(dump(group, static_cast<Afi>(afi), false, seq));
  }
  for (size_t afi = 0; afi < kAfis; ++afi) {
    if (peer.config.families[afi]) peer.stream.push(marker(encode_end_of_rib(static_cast<Afi>(afi))));
  }
  peer.stream.join(group.log, seq);
  peer.greeted = true;
}

void Rib::State::resend(PeerState& peer) {
  Group& group = *peer.group;
  peer.stream.leave(group.log);
  uint64_t seq = group.log.end();
  for (size_t i = 0; i < kAfis; ++i) {
    if (!std::exchange(peer.asked[i], false)) continue;
    const Afi afi = static_cast<Afi>(i);
    if (peer.config.enhanced_refresh) peer.stream.push(marker(encode(RouteRefresh{afi, RouteRefresh::Kind::begin})));
    peer.stream.push(dump(group, afi, true, seq));
    if (peer.config.enhanced_refresh) peer.stream.push(marker(encode(RouteRefresh{afi, RouteRefresh::Kind::end})));
  }
  peer.stream.join(group.log, seq);
}

void Rib::State::restore(PeerState& peer) {
  Group& group = *peer.group;
  Batch withdrawals;
  std::sort(peer.owed.begin(), peer.owed.end());
  peer.owed.erase(std::unique(peer.owed.begin(), peer.owed.end()), peer.owed.end());
  for (const Prefix& prefix : peer.owed) {
    const uint32_t net = nets.find(prefix);
    const Told* told = net == kNone ? nullptr : group.told.find(net);
    if (!told || !is_told(*told, peer.id)) withdrawals.withdraw(prefix, kLocal, false);
  }
  peer.stream.push(withdrawals.encode(group.view.traits));
  uint64_t seq = group.log.end();
  for (size_t afi = 0; afi < kAfis; ++afi) {
    if (peer.config.families[afi]) peer.stream.push(dump(group, static_cast<Afi>(afi), true, seq));
  }
  peer.stream.join(group.log, seq);
  peer.fallen = false;
  peer.owed = {};
  peer.owed_compacted = 0;
}

/// From one group to another: what the two were told differently, for this peer.
void Rib::State::move(PeerState& peer) {
  Group &from = *peer.group, &to = *peer.target;
  peer.stream.leave(from.log);
  if (peer.greeted) {
    Batch difference;
    for (uint32_t i = 0; i < nets.end(); ++i) {
      const Told *old = from.told.find(i), *now = to.told.find(i);
      const bool had = old && is_told(*old, peer.id), has = now && is_told(*now, peer.id);
      if (had && !has && peer.fallen) {
        owe(peer, nets[i].prefix);
      } else if (had && !has) {
        difference.withdraw(nets[i].prefix, kLocal, false);
      } else if (has && !peer.fallen && (!had || now->attributes != old->attributes)) {
        difference.announce(nets[i].prefix, now->attributes, kLocal);
      }
    }
    if (!peer.lost) peer.stream.push(difference.encode(to.view.traits));
  }
  std::erase(from.members, &peer);
  to.members.push_back(&peer);
  peer.group = &to;
  if (peer.greeted && !peer.fallen) peer.stream.join(to.log, to.log.end());
}

/// Gives the peer what it waits for besides the log, once it has read all of the like that it was given before.
void Rib::State::feed(PeerState& peer) {
  if (!peer.up || peer.lost || !peer.stream.own_empty() || peer.target->fresh) return;
  if (peer.target != peer.group) move(peer);
  if (peer.lost) return;
  if (!peer.greeted) {
    greet(peer);
  } else if (peer.fallen) {
    restore(peer);
  } else if (std::find(peer.asked, peer.asked + kAfis, true) != peer.asked + kAfis) {
    resend(peer);
  }
}

/// Memory does not grow with slow peers: those that are too far behind leave the log.
void Rib::State::bound(Group& group) {
  for (PeerState* member : group.members) {
    if (member->stream.behind(group.log) <= settings.backlog_limit) continue;
    member->fallen = true;
    const auto withdrawals = member->stream.unread_withdrawals(group.log, group.view.traits);
    member->stream.fall_out(group.log);
    for (const Prefix& prefix : withdrawals) owe(*member, prefix);
  }
}

void Rib::State::trim(Group& group) {
  uint64_t upto = group.log.end();
  for (const PeerState* member : group.members) {
    if (member->stream.on_log()) upto = std::min(upto, member->stream.seq());
  }
  group.log.trim(upto);
}

void Rib::State::drop_unused_groups() {
  std::erase_if(groups, [&](const std::unique_ptr<Group>& group) {
    const bool used = !group->members.empty() || std::any_of(peers.begin(), peers.end(), [&](const auto& peer) {
      return peer && peer->target == group.get();
    });
    for (uint32_t i = 0; !used && i < nets.end(); ++i) {
      const Told* told = group->told.find(i);
      if (!told) break;
      if (!told->attributes) continue;
      --nets[i].told;
      free_if_unused(i);
    }
    return !used;
  });
}

void Rib::State::free_if_unused(uint32_t index) {
  const Net& net = nets[index];
  if (net.prefix && net.first == kNone && net.told == 0 && !net.noted && !net.dirty) nets.drop(index);
}

void Rib::settle() {
  State& s = *state_;
  if (s.deferred) return;
  std::vector<uint32_t> dirty;
  dirty.swap(s.dirty);
  s.changed.clear();
  for (const uint32_t net : dirty) {
    s.nets[net].dirty = false;
    s.decide_net(net);
  }
  s.costs.clear();
  for (const auto& group : s.groups) {
    group->followed = std::any_of(group->members.begin(), group->members.end(),
                                  [](const PeerState* member) { return member->stream.on_log() || member->fallen; });
    if (std::exchange(group->fresh, false)) {
      for (uint32_t net = 0; net < s.nets.end(); ++net) {
        if (s.nets[net].best) s.update(*group, net);
      }
    } else {
      for (const uint32_t net : s.changed) s.update(*group, net);
    }
    s.last_export = {};
    s.publish(*group);
  }
  for (const auto& peer : s.peers) {
    if (peer) s.feed(*peer);
  }
  for (const auto& group : s.groups) {
    s.bound(*group);
    s.trim(*group);
  }
  s.drop_unused_groups();
  for (const uint32_t net : dirty) s.free_if_unused(net);
  s.changed = {};
}

// --- the caller's end

std::vector<Bytes> Rib::pending(PeerId to, size_t max_bytes) {
  PeerState& peer = state_->known(to);
  std::vector<Bytes> out;
  if (!peer.up || peer.lost) return out;
  if (peer.greeted) state_->feed(peer);
  peer.stream.collect(peer.group->log, max_bytes, out);
  return out;
}

void Rib::consume(PeerId to, size_t bytes) {
  PeerState& peer = state_->known(to);
  if (!peer.up || peer.lost) return;
  Group& group = *peer.group;
  peer.stream.consume(group.log, bytes);
  if (!peer.stream.own_empty() || peer.stream.seq() != group.log.end()) return;
  // Peers mostly drain in the same order: the last tells soonest whether somebody still needs the log.
  const bool needed = std::any_of(group.members.rbegin(), group.members.rend(), [&](const PeerState* member) {
    return member->stream.on_log() && member->stream.seq() != group.log.end();
  });
  if (!needed) group.log.trim(group.log.end());
}

size_t Rib::backlog(PeerId to) const {
  const PeerState& peer = state_->known(to);
  if (!peer.up || peer.lost) return 0;
  const size_t bytes = peer.stream.waiting(peer.group->log);
  const bool more = peer.greeted && !peer.target->fresh &&
                    (peer.fallen || peer.target != peer.group ||
                     std::find(peer.asked, peer.asked + kAfis, true) != peer.asked + kAfis);
  return bytes > 0 ? bytes : more ? kHeaderSize : 0;
}

bool Rib::lost(PeerId to) const { return state_->known(to).lost; }

}  // namespace knet::bgp
