// What people ask of the speaker, and resets. On the speaker's thread; bounded by the query's limit.
#include <sys/socket.h>

#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "bgp/speaker_state.h"

namespace knet::bgp {
namespace {

constexpr uint8_t kAdministrativeReset = 4;  // subcode of cease (RFC 4486)

std::string endpoint(const IpAddr& address, uint16_t port) {
  return address.is_v6() ? fmt::format("[{}]:{}", address.str(), port) : fmt::format("{}:{}", address.str(), port);
}

}  // namespace

PeerStatus Speaker::State::status(const Neighbor& neighbor) {
  const Session& session = neighbor.session;
  PeerStatus status;
  status.name = neighbor.config.name;
  status.type = neighbor.dynamic ? "dynamic" : neighbor.config.type;
  status.address = neighbor.address;
  status.asn = session.agreed() ? session.agreed()->open.asn : neighbor.config.session.remote_as;
  status.state = session.state();
  // Nothing may have happened to a session since it was made.
  const Millis since = session.state_since() > 0 ? session.state_since() : neighbor.down_since;
  if (neighbor.since != since) {
    // Once for each state: the two clocks drift, and a session that lives on must not look like a new one.
    using std::chrono::milliseconds;
    const auto wall = std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch());
    neighbor.since = since;
    neighbor.since_wall = (wall.count() - (monotonic() - since)) / 1000;
  }
  status.since = neighbor.since_wall;
  if (neighbor.in_rib) status.counts = rib->counts(neighbor.id);
  status.messages_in = session.counters().messages_in;
  status.messages_out = session.counters().messages_out + neighbor.rib_messages;
  if (const auto& agreed = session.agreed()) {
    status.id = agreed->open.id;
    status.hold_time = agreed->hold_time;
    std::copy(std::begin(agreed->families), std::end(agreed->families), status.families);
  }
  status.dynamic = neighbor.dynamic;
  status.restarting = !neighbor.up && status.counts.stale > 0;
  status.last_error = session.last_error();
  if (!neighbor.up) return status;
  const Connection* connected = connection(*neighbor.up);
  if (connected == nullptr) return status;
  status.backlog = rib->backlog(neighbor.id) + connected->control.size() - connected->control_sent;
  uint16_t port = 0;
  const IpAddr local = local_address(connected->fd.get(), &port);
  if (local) status.local = endpoint(local, port);
  return status;
}

std::vector<Neighbor*> Speaker::State::asked(const std::optional<IpAddr>& peer) {
  std::vector<Neighbor*> out;
  if (peer) {
    Neighbor* found = find(*peer);
    if (found == nullptr) knet::fail(ErrorKind::usage, "{} is no BGP peer of this node; knet bgp peers lists them", peer->str());
    out.push_back(found);
  } else {
    for (const auto& [address, neighbor] : neighbors) out.push_back(neighbor.get());
  }
  return out;
}

std::vector<RouteStatus> Speaker::State::routes(const RouteQuery& query) {
  std::vector<RouteStatus> out;
  if (!rib) return out;
  const auto wanted = [&](const Prefix& prefix) {
    return out.size() < query.limit && (!query.prefix || prefix.contains(*query.prefix));
  };
  if (query.of == RouteQuery::Of::advertised) {
    const Neighbor& to = *asked(query.peer).front();
    if (!to.in_rib) return out;
    for (auto& [prefix, attributes] : rib->advertised(to.id)) {
      if (!wanted(prefix)) continue;
      out.push_back({.prefix = prefix, .peer = to.config.name, .peer_address = to.address, .attributes = std::move(attributes), .best = true, .loss = {}});
    }
    return out;
  }
  std::vector<RouteView> views;
  if (query.of == RouteQuery::Of::received) {
    const Neighbor& from = *asked(query.peer).front();
    if (from.in_rib) views = rib->received(from.id);
  } else {
    views = rib->routes(query.prefix);
  }
  for (RouteView& view : views) {
    if (!wanted(view.prefix)) continue;
    const Neighbor* from = view.peer == kLocal ? nullptr : by_id[view.peer];
    out.push_back({.prefix = view.prefix,
                   .peer = from != nullptr ? from->config.name : "",
                   .peer_address = from != nullptr ? from->address : IpAddr{},
                   .attributes = std::move(view.attributes),
                   .best = view.best,
                   .multipath = view.multipath,
                   .stale = view.stale,
                   .loss = std::string(to_string(view.loss))});
  }
  return out;
}

void Speaker::State::reset(const std::optional<IpAddr>& peer, ResetKind kind) {
  for (Neighbor* neighbor : asked(peer)) {
    const auto& agreed = neighbor->session.agreed();
    if (kind == ResetKind::hard) {
      log::info("bgp: {} is reset by command", name_of(*neighbor));
      fail(*neighbor, cease(kAdministrativeReset), "reset by command");
      continue;
    }
    if (!neighbor->up || !agreed) {
      if (peer) knet::fail(ErrorKind::config, "{} is not established: only a hard reset does anything", peer->str());
      continue;
    }
    if (kind == ResetKind::in && !agreed->route_refresh) {
      if (peer) knet::fail(ErrorKind::unsupported, "{} does not know route refresh (RFC 2918): use a hard reset", peer->str());
      log::warning("bgp: {} does not know route refresh: not asked", name_of(*neighbor));
      continue;
    }
    for (size_t i = 0; i < kAfis; ++i) {
      if (!agreed->families[i]) continue;
      const Afi afi = static_cast<Afi>(i);
      if (kind == ResetKind::out) {
        rib->refresh(neighbor->id, afi);
        rib_changed = true;
      } else if (Connection* to = connection(*neighbor->up)) {
        say(*to, encode(RouteRefresh{afi, RouteRefresh::Kind::request}));
      }
    }
  }
}

}  // namespace knet::bgp
