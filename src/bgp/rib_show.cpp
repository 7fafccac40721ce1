#include <algorithm>
#include <utility>

#include "bgp/rib_state.h"

namespace knet::bgp {
namespace {

RouteView view_of(const Route& route, const Net& net) {
  // Refused and looped routes have a loss only once they were judged; before settle() the best is still the old one.
  const bool best = net.best && route.peer == net.best_peer && route.loss == Loss::none;
  return {net.prefix, route.peer, route.in, best, route.multipath, route.stale, route.loss};
}

}  // namespace

std::vector<RouteView> Rib::routes(std::optional<Prefix> exact_or_covering) const {
  const State& s = *state_;
  std::vector<RouteView> out;
  const auto add = [&](uint32_t index) {
    const Net& net = s.nets[index];
    for (uint32_t r = net.first; r != kNone; r = s.routes[r].next) out.push_back(view_of(s.routes[r], net));
  };
  if (exact_or_covering) {
    for (int length = 0; length <= exact_or_covering->length(); ++length) {
      const uint32_t net = s.nets.find(Prefix(exact_or_covering->addr(), length).masked());
      if (net != kNone) add(net);
    }
  } else {
    for (uint32_t net = 0; net < s.nets.end(); ++net) {
      if (s.nets[net].prefix) add(net);
    }
  }
  // The later in the process a route fell, the better it was.
  const auto rank = [](const RouteView& view) {
    return view.best ? 0 : view.multipath ? 1 : 100 - static_cast<int>(view.loss);
  };
  std::sort(out.begin(), out.end(), [&](const RouteView& a, const RouteView& b) {
    if (a.prefix != b.prefix) return a.prefix < b.prefix;
    return rank(a) != rank(b) ? rank(a) < rank(b) : a.peer < b.peer;
  });
  return out;
}

std::vector<RouteView> Rib::received(PeerId from) const {
  State& s = *state_;
  std::vector<RouteView> out;
  s.each_route(from == kLocal ? s.ours : s.known(from), [&](uint32_t index) {
    const Route& route = s.routes[index];
    out.push_back(view_of(route, s.nets[route.net]));
  });
  std::sort(out.begin(), out.end(), [](const RouteView& a, const RouteView& b) { return a.prefix < b.prefix; });
  return out;
}

std::vector<std::pair<Prefix, AttrRef>> Rib::advertised(PeerId to) const {
  const State& s = *state_;
  const PeerState& peer = s.known(to);
  std::vector<std::pair<Prefix, AttrRef>> out;
  if (!peer.up) return out;
  for (uint32_t i = 0; i < s.nets.end(); ++i) {
    const Told* told = peer.group->told.find(i);
    if (!told) break;
    if (is_told(*told, to)) out.emplace_back(s.nets[i].prefix, told->attributes);
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return out;
}

Rib::Counts Rib::counts(PeerId of) const {
  State& s = *state_;
  PeerState& peer = of == kLocal ? s.ours : s.known(of);
  Counts counts;
  s.each_route(peer, [&](uint32_t index) {
    const Route& route = s.routes[index];
    const Net& net = s.nets[route.net];
    ++counts.received;
    counts.accepted += !route.refused && !route.looped;
    counts.best += net.best && net.best_peer == of;
    counts.stale += route.stale;
  });
  if (peer.up) {
    counts.advertised = peer.group->told_count;
    if (of < peer.group->told_by.size()) counts.advertised -= peer.group->told_by[of];
  }
  return counts;
}

size_t Rib::groups() const { return state_->groups.size(); }
size_t Rib::prefixes() const { return state_->nets.size(); }

std::vector<BestChange> Rib::take_changes() {
  State& s = *state_;
  std::vector<uint32_t> noted;
  noted.swap(s.noted);
  std::vector<BestChange> out;
  out.reserve(noted.size());
  for (const uint32_t index : noted) {
    Net& net = s.nets[index];
    net.noted = false;
    BestChange change{net.prefix, {}, net.best ? net.best_peer : kLocal};
    if (net.best && net.best->next_hop) change.next_hops.push_back(net.best->next_hop);
    if (net.more_hops) change.next_hops.insert(change.next_hops.end(), net.more_hops->begin(), net.more_hops->end());
    out.push_back(std::move(change));
    s.free_if_unused(index);
  }
  return out;
}

void Rib::drop_changes() {
  State& s = *state_;
  for (const uint32_t index : std::exchange(s.noted, {})) {
    s.nets[index].noted = false;
    s.free_if_unused(index);
  }
}

void Rib::note_all() {
  State& s = *state_;
  for (uint32_t i = 0; i < s.nets.end(); ++i) {
    if (!s.nets[i].best || s.nets[i].noted) continue;
    s.nets[i].noted = true;
    s.noted.push_back(i);
  }
}

}  // namespace knet::bgp
