// What the sessions ask for, and the timers of kept routes (RFC 4724, RFC 9494).
#include <fmt/core.h>

#include <algorithm>

#include "base/log.h"
#include "bgp/speaker_state.h"

namespace knet::bgp {
namespace {

constexpr uint8_t kMostPrefixes = 1;  // subcode of cease (RFC 4486)
/// Upper bound for a peer's end-of-RIB after it came back (RFC 4724 section 4.2).
constexpr Millis kEndOfRibWait = 360'000;
constexpr Millis kSecond = 1'000, kMinute = 60'000;
constexpr int kComplaints = 8;  // a minute and peer

template <class... Parts>
struct Visit : Parts... {
  using Parts::operator()...;
};
template <class... Parts>
Visit(Parts...) -> Visit<Parts...>;

}  // namespace

std::string name_of(const Neighbor& neighbor) {
  const std::string address = neighbor.address.str();
  return neighbor.config.name.empty() || neighbor.config.name == address ? address
                                                                         : neighbor.config.name + " " + address;
}

Neighbor* Speaker::State::find(const IpAddr& address) {
  const auto at = neighbors.find(address);
  return at == neighbors.end() ? nullptr : at->second.get();
}

void Speaker::State::touch(Neighbor& neighbor) {
  if (neighbor.touched) return;
  neighbor.touched = true;
  touched.push_back(&neighbor);
}

void Speaker::State::drain(Neighbor& neighbor) {
  touch(neighbor);
  for (auto actions = neighbor.session.take(); !actions.empty(); actions = neighbor.session.take()) {
    for (SessionAction& action : actions) {
      std::visit(Visit{[&](const Dial&) { begin_dial(neighbor); },
                       [&](const Send& send) {
                         if (Connection* to = connection(send.conn)) say(*to, send.bytes);
                       },
                       [&](const Close& close) { finish(close.conn); },
                       [&](const Up& up) { on_up(neighbor, up); },
                       [&](const Down& down) { on_down(neighbor, down); },
                       [&](const Routes& routes) { on_routes(neighbor, routes.update); },
                       [&](const Refresh& refresh) { on_refresh(neighbor, refresh.refresh); }},
                 action);
    }
  }
}

RibPeer Speaker::State::rib_peer(const Neighbor& neighbor) const {
  const PeerConfig& config = neighbor.config;
  const Agreed& agreed = *neighbor.session.agreed();
  RibPeer peer;
  peer.role = config.role;
  if (config.role == PeerRole::ebgp && !agreed.traits.ebgp)
    peer.role = config.client ? PeerRole::reflector_client : PeerRole::ibgp;
  peer.id = agreed.open.id;
  peer.address = neighbor.address;
  peer.local = local_address(connections.at(*neighbor.up)->fd.get());
  peer.other_local = config.other_local;
  peer.traits = agreed.traits;
  std::copy(std::begin(agreed.families), std::end(agreed.families), peer.families);
  peer.next_hop_self = config.next_hop_self;
  peer.next_hop_unchanged = config.next_hop_unchanged;
  peer.link = config.link;
  peer.long_lived = agreed.long_lived;
  peer.enhanced_refresh = agreed.enhanced_refresh;
  peer.allowed_own_as = config.allowed_own_as;
  peer.prefix_limit = config.prefix_limit;
  peer.import_policy = config.import.apply;
  peer.export_key = config.export_.key;
  peer.export_policy = config.export_.apply;
  return peer;
}

/// A SYN that is still under way would reach a peer that has this session: to one with graceful restart it says that we
/// were restarted (RFC 4724 section 5), and ends what has just begun.
void Speaker::State::give_up_dial(Neighbor& neighbor) {
  for (const auto& [id, connection] : connections) {
    if (connection->neighbor != &neighbor || !connection->connecting) continue;
    remove(id);
    neighbor.session.on_dial_failed("no longer needed", now);
    return;  // a session dials once at a time
  }
}

void Speaker::State::on_up(Neighbor& neighbor, const Up& up) {
  if (!neighbor.session.agreed() || connection(up.conn) == nullptr) return;  // over again: Down comes
  neighbor.up = up.conn;
  neighbor.failed = false;
  give_up_dial(neighbor);
  rib->add_peer(neighbor.id, rib_peer(neighbor));
  neighbor.in_rib = rib_changed = true;
  for (size_t i = 0; i < kAfis; ++i) {
    neighbor.ended[i] = false;
    if (up.agreed.kept[i]) continue;
    rib->sweep(neighbor.id, static_cast<Afi>(i));
    neighbor.llgr_until[i].reset();
  }
  if (neighbor.stale_until) neighbor.stale_until = now + kEndOfRibWait;
  last_news = now;
  neighbor.told_error.clear();
  log::info("bgp: {} established (AS {}, {} ms)", name_of(neighbor), up.agreed.open.asn, now - neighbor.down_since);
}

void Speaker::State::on_down(Neighbor& neighbor, const Down& down) {
  neighbor.down_since = now;
  neighbor.told_error = neighbor.session.last_error();
  neighbor.failed = false;
  neighbor.stale_until.reset();
  if (!neighbor.up) return;
  neighbor.up.reset();
  if (neighbor.in_rib) {
    rib->drop_session(neighbor.id, down.keep);
    rib_changed = true;
    for (size_t i = 0; i < kAfis; ++i) {
      const bool kept = down.keep && down.families[i];
      if (!kept) {
        rib->sweep(neighbor.id, static_cast<Afi>(i));
        neighbor.llgr_until[i].reset();
      }
      neighbor.llgr_time[i] = kept ? down.llgr_time[i] : 0;
    }
  }
  if (down.keep) neighbor.stale_until = now + down.restart_time * kSecond;
  log::warning("bgp: {} down: {}{}", name_of(neighbor), down.why,
               down.keep ? fmt::format("; its routes stay for {} s", down.restart_time) : "");
}

void Speaker::State::complain(Neighbor& neighbor, std::string_view what) {
  if (now - neighbor.complaint_minute >= kMinute) {
    neighbor.complaint_minute = now;
    neighbor.complaints = 0;
  }
  if (++neighbor.complaints > kComplaints) {
    ++neighbor.untold;
    return;
  }
  log::warning("bgp: {}: {}{}", name_of(neighbor), what,
               neighbor.untold > 0 ? fmt::format(" ({} more like it before)", neighbor.untold) : "");
  neighbor.untold = 0;
}

void Speaker::State::on_routes(Neighbor& neighbor, const Update& update) {
  if (!neighbor.up || neighbor.failed) return;
  rib_changed = true;
  last_news = now;
  const bool over = rib->receive(neighbor.id, update).over_limit;
  if (!update.treat_as_withdraw.empty())
    complain(neighbor, fmt::format("{} routes count as withdrawn: {}", update.reachable.size() + update.mp_reachable.size(),
                                   update.treat_as_withdraw));
  for (const std::string& discarded : update.discarded) complain(neighbor, discarded);
  if (update.end_of_rib) {
    const size_t afi = static_cast<size_t>(*update.end_of_rib);
    neighbor.ended[afi] = true;
    neighbor.llgr_until[afi].reset();
    const Agreed& agreed = *neighbor.session.agreed();
    bool all = true;
    for (size_t i = 0; i < kAfis; ++i) all = all && (!agreed.families[i] || neighbor.ended[i]);
    if (all) neighbor.stale_until.reset();
    neighbor.heard = neighbor.heard || all;
  }
  if (over) too_many_prefixes(neighbor);
}

void Speaker::State::too_many_prefixes(Neighbor& neighbor) {
  fail(neighbor, cease(kMostPrefixes), fmt::format("more than {} prefixes", neighbor.config.prefix_limit));
}

void Speaker::State::on_refresh(Neighbor& neighbor, const RouteRefresh& refresh) {
  if (!neighbor.up || neighbor.failed) return;
  rib_changed = true;
  switch (refresh.kind) {
    case RouteRefresh::Kind::request: rib->refresh(neighbor.id, refresh.afi); break;
    case RouteRefresh::Kind::begin:
      rib->mark_stale(neighbor.id, refresh.afi);
      if (!neighbor.stale_until) neighbor.stale_until = now + kEndOfRibWait;  // RFC 7313 section 4: an upper bound
      break;
    case RouteRefresh::Kind::end: rib->sweep(neighbor.id, refresh.afi); break;
  }
}

void Speaker::State::fail(Neighbor& neighbor, const Notification& notification, std::string why) {
  neighbor.failed = true;
  neighbor.session.fail(now, notification, std::move(why));
  touch(neighbor);
}

void Speaker::State::restart_time_over(Neighbor& neighbor, Afi afi) {
  const size_t i = static_cast<size_t>(afi);
  if (!neighbor.in_rib || neighbor.llgr_until[i]) return;
  rib_changed = true;
  if (neighbor.up || neighbor.llgr_time[i] == 0) {
    rib->sweep(neighbor.id, afi);
  } else {
    rib->mark_llgr(neighbor.id, afi);
    neighbor.llgr_until[i] = now + neighbor.llgr_time[i] * kSecond;
  }
}

void Speaker::State::neighbor_timers(Neighbor& neighbor) {
  if (neighbor.session.next_timer().value_or(now + 1) <= now) neighbor.session.on_timer(now);
  for (size_t i = 0; i < kAfis; ++i) {
    if (!neighbor.llgr_until[i] || *neighbor.llgr_until[i] > now) continue;
    neighbor.llgr_until[i].reset();
    neighbor.llgr_time[i] = 0;
    rib->sweep(neighbor.id, static_cast<Afi>(i));
    rib_changed = true;
  }
  if (neighbor.stale_until && *neighbor.stale_until <= now) {
    neighbor.stale_until.reset();
    if (!neighbor.up) log::info("bgp: {}: the time to come back is over", name_of(neighbor));
    for (size_t i = 0; i < kAfis; ++i) restart_time_over(neighbor, static_cast<Afi>(i));
  }
  drain(neighbor);
}

void Speaker::State::after_touch() {
  while (!touched.empty()) {
    Neighbor& neighbor = *touched.back();
    drain(neighbor);  // what a failure amid its own routes left
    std::erase(touched, &neighbor);
    neighbor.touched = false;
    if (const std::string& error = neighbor.session.last_error(); error != neighbor.told_error) {
      neighbor.told_error = error;
      if (!error.empty()) log::info("bgp: {}: {}", name_of(neighbor), error);
    }
    std::optional<Millis> next = neighbor.session.next_timer();
    const auto take = [&](const std::optional<Millis>& at) {
      if (at && (!next || *at < *next)) next = *at;
    };
    take(neighbor.stale_until);
    bool kept = neighbor.stale_until.has_value();
    for (const auto& until : neighbor.llgr_until) {
      take(until);
      kept = kept || until;
    }
    if (neighbor.dynamic && !kept && neighbor.session.state() < SessionState::open_sent) {
      remove_neighbor(neighbor, std::nullopt);
      continue;
    }
    if (next != neighbor.timer) {
      if (neighbor.timer) timers.erase({*neighbor.timer, neighbor.id});
      if (next) timers.emplace(*next, neighbor.id);
      neighbor.timer = next;
    }
  }
}

}  // namespace knet::bgp
