// From the RIB's decisions to what is handed over, and the end of the first round after a start (RFC 4724 section 4.1).
#include <algorithm>

#include "base/log.h"
#include "bgp/speaker_state.h"

namespace knet::bgp {
namespace {

constexpr Millis kQuiet = 10, kLongest = 100;
constexpr uint8_t kOutOfResources = 8;  // subcode of cease (RFC 4486)

/// Sorted, from what was told and what has changed since.
std::vector<LearnedRoute> merge(const std::vector<LearnedRoute>& told,
                                std::map<Prefix, std::optional<LearnedRoute>>& changes) {
  std::vector<LearnedRoute> out;
  out.reserve(told.size() + changes.size());
  auto old = told.begin();
  for (auto& [prefix, route] : changes) {
    for (; old != told.end() && old->dst < prefix; ++old) out.push_back(*old);
    if (old != told.end() && old->dst == prefix) ++old;
    if (route) out.push_back(std::move(*route));
  }
  out.insert(out.end(), old, told.end());
  out.shrink_to_fit();
  return out;
}

}  // namespace

void Speaker::State::note_changes() {
  for (BestChange& change : rib->take_changes()) {
    Neighbor* from = change.peer == kLocal ? nullptr : by_id[change.peer];
    auto& route = changes[change.prefix];
    if (from == nullptr || change.next_hops.empty()) {
      route.reset();
    } else {
      route = LearnedRoute{change.prefix, change.next_hops.front(), from->address,
                           {change.next_hops.begin() + 1, change.next_hops.end()}};
    }
  }
}

/// Somebody wants what is learned from now on, or nobody any more.
void Speaker::State::hand_over_changed() {
  changes.clear();
  if (config.hands_over) {
    rib->note_all();
  } else if (told) {
    for (const LearnedRoute& route : *told) changes[route.dst] = std::nullopt;
  }
}

void Speaker::State::settle() {
  if (!rib || !rib_changed) return;
  rib_changed = false;
  rib->settle();
  if (config.hands_over)
    note_changes();
  else
    rib->drop_changes();
  if (!changes.empty()) {
    if (!tell_latest) tell_latest = now + kLongest;
    tell_at = std::min(now + kQuiet, *tell_latest);
  }
  for (Neighbor* neighbor : by_id) {
    if (neighbor == nullptr || !neighbor->up) continue;
    if (!neighbor->failed && rib->lost(neighbor->id))
      fail(*neighbor, cease(kOutOfResources), "too far behind with reading: it has to begin anew");
  }
  queue_all();
}

void Speaker::State::consider_start_over() {
  if (!configured || whole) return;
  const bool late = now >= last_news + kQuietStart || now >= began + kLongestStart;
  const auto heard = [](const auto& entry) { return entry.second->dynamic || entry.second->heard; };
  const auto heard_or_mute = [&](const auto& entry) {
    const auto& agreed = entry.second->session.agreed();
    return heard(entry) ||
           (agreed && (agreed->peer_restarting || !agreed->open.capabilities.graceful_restart));
  };
  if (deferring && (late || std::all_of(neighbors.begin(), neighbors.end(), heard_or_mute))) {
    deferring = false;
    rib->defer_selection(false);
    rib_changed = true;
  }
  if (!late && (deferring || !std::all_of(neighbors.begin(), neighbors.end(), heard))) return;
  whole = true;
  restarting = false;
  for (const auto& [address, neighbor] : neighbors) neighbor->session.set_restarting(false);
  tell_at = now + kQuiet;
}

void Speaker::State::tell_learned() {
  tell_at.reset();
  tell_latest.reset();
  if (changes.empty() && told && whole == told_whole) return;
  auto all = std::make_shared<const std::vector<LearnedRoute>>(merge(told ? *told : std::vector<LearnedRoute>{}, changes));
  changes.clear();
  if (told && whole == told_whole && *all == *told) return;
  told = std::move(all);
  told_whole = whole;
  if (learned) learned(told, whole);
}

}  // namespace knet::bgp
