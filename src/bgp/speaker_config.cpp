// What is wanted of the speaker, against what it does: the difference is made, the rest lives on.
#include <fmt/core.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/log.h"
#include "bgp/speaker_state.h"

namespace knet::bgp {
namespace {

constexpr uint8_t kDeconfigured = 3, kOtherChange = 6;  // subcodes of cease (RFC 4486)
constexpr Millis kListenRetry = 1'000;

bool same(const RibSettings& a, const RibSettings& b) {
  return a.asn == b.asn && a.id == b.id && a.cluster_id == b.cluster_id && a.max_paths == b.max_paths &&
         a.backlog_limit == b.backlog_limit;
}

bool same_transport(const PeerConfig& a, const PeerConfig& b) {
  return a.port == b.port && a.local == b.local && a.password == b.password && a.ttl_security == b.ttl_security &&
         a.multihop == b.multihop && a.session == b.session;
}

bool same_routing(const PeerConfig& a, const PeerConfig& b) {
  return a.role == b.role && a.other_local == b.other_local && a.next_hop_self == b.next_hop_self &&
         a.next_hop_unchanged == b.next_hop_unchanged && a.link == b.link && a.allowed_own_as == b.allowed_own_as &&
         a.prefix_limit == b.prefix_limit && a.import.key == b.import.key && a.export_.key == b.export_.key;
}

PeerConfig one_of(const PeerConfig& range, const IpAddr& address) {
  PeerConfig one = range;
  one.remote = Prefix::host(address);
  one.session.passive = true;
  return one;
}

}  // namespace

void IgpTable::set(const std::vector<IgpRoute>& routes) {
  by_length_.clear();
  for (const IgpRoute& route : routes) {
    const Prefix dst = route.dst.masked();
    const auto [at, added] = by_length_[dst.length()].try_emplace(dst, route.cost);
    if (!added) at->second = std::min(at->second, route.cost);
  }
}

std::optional<uint32_t> IgpTable::cost(const IpAddr& next_hop) const {
  if (by_length_.empty()) return 0;
  for (const auto& [length, routes] : by_length_) {
    if (length > next_hop.bits()) continue;
    const auto at = routes.find(Prefix(next_hop, length).masked());
    if (at != routes.end()) return at->second;
  }
  return std::nullopt;
}

void Speaker::State::configure(SpeakerConfig wanted) {
  if (rib && (wanted.rib.asn != config.rib.asn || wanted.rib.id != config.rib.id)) begin_again();
  const std::vector<std::pair<Prefix, Attributes>> originated = std::move(config.originated);
  const bool igp_changed = wanted.igp != config.igp, settings_changed = !same(wanted.rib, config.rib);
  const bool port_changed = wanted.port != config.port, hand_over = wanted.hands_over != config.hands_over;
  config = std::move(wanted);
  if (igp_changed || !configured) igp.set(config.igp);
  if (!rib) {
    rib = std::make_unique<Rib>(config.rib, [this](const IpAddr& next_hop) { return igp.cost(next_hop); });
    deferring = !whole && config.defer_selection;
    rib->defer_selection(deferring);
  } else {
    if (settings_changed) rib->set_settings(config.rib);
    if (igp_changed) rib->next_hops_changed();
  }
  if (hand_over) hand_over_changed();
  if (!configured) began = last_news = now;
  configured = true;
  rib_changed = true;
  configure_originated(originated);
  if (port_changed) listeners.clear();
  configure_listeners();
  configure_peers();
  consider_start_over();
}

/// Another AS or router id: nothing of the sessions stands. What was learned stays in use until it is learned anew.
void Speaker::State::begin_again() {
  while (!neighbors.empty()) remove_neighbor(*neighbors.begin()->second, cease(kOtherChange));
  rib.reset();
  config.originated.clear();
  changes.clear();
  if (told)
    for (const LearnedRoute& route : *told) changes[route.dst] = std::nullopt;
  whole = false;
  began = last_news = now;
}

void Speaker::State::configure_originated(const std::vector<std::pair<Prefix, Attributes>>& before) {
  auto old = before.begin();
  for (const auto& [prefix, attributes] : config.originated) {
    for (; old != before.end() && old->first < prefix; ++old) rib->originate(old->first, std::nullopt);
    const bool there = old != before.end() && old->first == prefix;
    if (!there || old->second != attributes) rib->originate(prefix, attributes);
    if (there) ++old;
  }
  for (; old != before.end(); ++old) rib->originate(old->first, std::nullopt);
}

// --- listeners

void Speaker::State::configure_listeners() {
  std::vector<Listener> wanted;
  for (const IpAddr& address : config.listen) {
    const auto at = std::find_if(listeners.begin(), listeners.end(), [&](const Listener& listener) { return listener.address == address; });
    if (at != listeners.end()) {
      wanted.push_back(std::move(*at));
      listeners.erase(at);
    } else {
      wanted.emplace_back().address = address;
    }
  }
  listeners = std::move(wanted);
  for (size_t i = 0; i < listeners.size(); ++i) {
    if (!listeners[i].fd) continue;
    epoll_event event{.events = listeners[i].paused ? 0u : uint32_t{EPOLLIN}, .data = {.u64 = listener_key(i)}};
    epoll_ctl(epoll.get(), EPOLL_CTL_MOD, listeners[i].fd.get(), &event);
    key_listener(listeners[i], keys_for(listeners[i].address.family()));
  }
  open_listeners();
}

void Speaker::State::open_listeners() {
  listen_again.reset();
  for (size_t i = 0; i < listeners.size(); ++i) {
    Listener& listener = listeners[i];
    if (listener.fd) continue;
    try {
      listener.keys.clear();
      Fd fd = listen_on(listener.address, config.port, [&](int fresh) {
        listener.fd.reset(fresh);
        const Undo lend([&] { (void)listener.fd.release(); });
        key_listener(listener, keys_for(listener.address.family()));
      });
      epoll_event event{.events = EPOLLIN, .data = {.u64 = listener_key(i)}};
      if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) throw_errno(errno, "watch tcp {}", config.port);
      listener.fd = std::move(fd);
      listener.trouble.clear();
    } catch (const Error& error) {
      listener.trouble = error.text;
      listen_again = now + kListenRetry;
    }
  }
  tell_troubles();
}

/// One key for all if all have the same password: the kernel's room for keys is small (net.core.optmem_max).
std::map<Prefix, std::string> Speaker::State::keys_for(Family family) const {
  std::map<Prefix, std::string> keys;
  bool all_same = true;
  for (const PeerConfig& peer : config.peers) {
    if (peer.remote.family() != family) continue;
    all_same = all_same && !peer.password.empty() && (keys.empty() || keys.begin()->second == peer.password);
    if (!peer.password.empty()) keys.emplace(peer.remote.masked(), peer.password);
  }
  constexpr size_t kFew = 16;
  if (!all_same || keys.size() <= kFew) return keys;
  const IpAddr any = IpAddr::from_bytes(family, IpAddr{}.data());
  return {{Prefix(any, 0), keys.begin()->second}};
}

void Speaker::State::key_listener(Listener& listener, const std::map<Prefix, std::string>& wanted) {
  listener.key_troubles.clear();
  for (const auto& [peer, password] : wanted) {
    const auto has = listener.keys.find(peer);
    if (has != listener.keys.end() && has->second == password) continue;
    if (const int error = set_md5(listener.fd.get(), peer, password); error != 0) {
      listener.key_troubles[peer] =
          error == ENOMEM ? fmt::format("no room for the TCP MD5 password of {}: raise net.core.optmem_max", peer.str())
                          : fmt::format("the TCP MD5 password of {} can't be set: {}", peer.str(), errno_text(error));
      listener.keys.erase(peer);
    } else {
      listener.keys[peer] = password;
    }
  }
  std::erase_if(listener.keys, [&](const auto& key) {
    if (wanted.contains(key.first)) return false;
    set_md5(listener.fd.get(), key.first, "");
    return true;
  });
}

/// What is to be signed is taken only where the kernel has seen to it.
bool Speaker::State::has_key(const Listener& listener, const IpAddr& address, const std::string& password) const {
  const std::string* found = nullptr;
  int length = -1;
  for (const auto& [peer, key] : listener.keys) {
    if (peer.length() <= length || !peer.contains(address)) continue;
    found = &key;
    length = peer.length();
  }
  return found != nullptr && *found == password;
}

void Speaker::State::tell_troubles() {
  std::vector<std::string> all;
  for (const Listener& listener : listeners) {
    if (!listener.trouble.empty()) all.push_back(listener.trouble);
    for (const auto& [peer, trouble] : listener.key_troubles) all.push_back(trouble);
  }
  for (const std::string& trouble : all)
    if (std::find(troubles.begin(), troubles.end(), trouble) == troubles.end()) log::warning("bgp: {}", trouble);
  std::lock_guard lock(mutex);
  troubles = std::move(all);
}

// --- neighbours

void Speaker::State::configure_peers() {
  std::map<IpAddr, const PeerConfig*> wanted;
  for (const PeerConfig& peer : config.peers)
    if (peer.remote.is_host()) wanted.emplace(peer.remote.addr(), &peer);
  std::vector<Neighbor*> gone;
  std::vector<std::pair<Neighbor*, PeerConfig>> changed;
  for (const auto& [address, neighbor] : neighbors) {
    const auto at = wanted.find(address);
    const PeerConfig* range = at == wanted.end() && neighbor->dynamic ? dynamic_range(address) : nullptr;
    if (at != wanted.end() && !neighbor->dynamic) {
      changed.emplace_back(neighbor.get(), *at->second);
    } else if (range != nullptr) {
      changed.emplace_back(neighbor.get(), one_of(*range, address));
    } else {
      gone.push_back(neighbor.get());
    }
  }
  for (Neighbor* neighbor : gone) remove_neighbor(*neighbor, cease(neighbor->dynamic ? kOtherChange : kDeconfigured));
  for (auto& [neighbor, peer] : changed) change_neighbor(*neighbor, peer);
  for (const auto& [address, peer] : wanted)
    if (!neighbors.contains(address)) add_neighbor(*peer, address, false);
}

const PeerConfig* Speaker::State::dynamic_range(const IpAddr& address) const {
  const PeerConfig* best = nullptr;
  for (const PeerConfig& peer : config.peers) {
    if (peer.remote.is_host() || !peer.remote.contains(address)) continue;
    if (best == nullptr || peer.remote.length() > best->remote.length()) best = &peer;
  }
  return best;
}

Neighbor* Speaker::State::dynamic_neighbor(const IpAddr& address) {
  const PeerConfig* range = dynamic_range(address);
  if (range == nullptr) {
    stranger(address, "no such peer");
    return nullptr;
  }
  const auto of_range = [&](const auto& entry) { return entry.second->dynamic && range->remote.contains(entry.first); };
  if (static_cast<size_t>(std::count_if(neighbors.begin(), neighbors.end(), of_range)) >= range->max_dynamic) {
    stranger(address, fmt::format("{} has its {} dynamic neighbours", range->remote.str(), range->max_dynamic));
    return nullptr;
  }
  return &add_neighbor(one_of(*range, address), address, true);
}

Neighbor& Speaker::State::add_neighbor(PeerConfig wanted, const IpAddr& address, bool dynamic) {
  const auto free = std::find(by_id.begin(), by_id.end(), nullptr);
  const PeerId id = static_cast<PeerId>(free - by_id.begin());
  if (free == by_id.end()) by_id.push_back(nullptr);
  auto& slot = neighbors[address];
  slot = std::make_unique<Neighbor>(id, std::move(wanted), address, dynamic);
  by_id[id] = slot.get();
  slot->down_since = now;
  slot->session.start(now, restarting);
  drain(*slot);
  return *slot;
}

void Speaker::State::change_neighbor(Neighbor& neighbor, const PeerConfig& wanted) {
  if (!same_transport(neighbor.config, wanted)) {
    const IpAddr address = neighbor.address;
    const bool dynamic = neighbor.dynamic;
    remove_neighbor(neighbor, cease(kOtherChange));
    if (!dynamic) add_neighbor(wanted, address, false);
    return;
  }
  const bool rerouted = !same_routing(neighbor.config, wanted);
  neighbor.config = wanted;
  if (!rerouted || !neighbor.up) return;
  rib->change_peer(neighbor.id, rib_peer(neighbor));
  const Rib::Counts counts = rib->counts(neighbor.id);
  if (wanted.prefix_limit > 0 && counts.received - counts.stale > wanted.prefix_limit) too_many_prefixes(neighbor);
}

void Speaker::State::remove_neighbor(Neighbor& neighbor, const std::optional<Notification>& notification) {
  neighbor.session.stop(now, notification);
  drain(neighbor);
  std::vector<ConnId> left;
  for (const auto& [id, connection] : connections)
    if (connection->neighbor == &neighbor) left.push_back(id);
  for (const ConnId id : left) remove(id);
  if (neighbor.in_rib) rib->remove_peer(neighbor.id);
  rib_changed = rib_changed || neighbor.in_rib;
  if (neighbor.timer) timers.erase({*neighbor.timer, neighbor.id});
  std::erase(touched, &neighbor);
  by_id[neighbor.id] = nullptr;
  neighbors.erase(IpAddr(neighbor.address));
}

}  // namespace knet::bgp
