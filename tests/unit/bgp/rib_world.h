// A peer as the RIB's tests see it: reads its stream, decodes it, and remembers what it was told.
#pragma once

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "bgp/rib.h"

namespace knet::bgp {

inline IpAddr ip(const char* text) { return *IpAddr::parse(text); }
inline Prefix net(const char* text) { return *Prefix::parse(text); }

struct Listener {
  Listener(Rib& of, PeerId peer, SessionTraits with = {}) : rib(of), id(peer), traits(with) {}

  Rib& rib;
  PeerId id;
  SessionTraits traits;
  std::map<Prefix, Attributes> table;
  std::vector<std::string> events;  // "+10.0.0.0/24", "-10.0.0.0/24", "eor v4", "refresh 1 v4"
  size_t messages = 0;
  std::vector<uint8_t> partial;

  /// Reads at most so many bytes; returns how many it got.
  size_t read(size_t max) {
    size_t got = 0;
    const auto chunks = rib.pending(id, max);
    for (const Bytes& chunk : chunks) {
      partial.insert(partial.end(), chunk.begin(), chunk.end());
      got += chunk.size();
    }
    REQUIRE(got <= max);
    rib.consume(id, got);
    take();
    return got;
  }
  void drain() {
    while (read(1 << 20) > 0) continue;
    REQUIRE(partial.empty());
    REQUIRE(rib.backlog(id) == 0);
  }
  std::vector<std::string> take_events() { return std::exchange(events, {}); }

 private:
  void take() {
    for (;;) {
      const auto length = message_length(partial);
      REQUIRE(std::holds_alternative<size_t>(length));
      const size_t size = std::get<size_t>(length);
      if (size == 0 || partial.size() < size) return;
      take(decode(Bytes(partial).first(size), traits));
      partial.erase(partial.begin(), partial.begin() + static_cast<std::ptrdiff_t>(size));
      ++messages;
    }
  }
  void take(const Message& message) {
    if (const auto* refresh = std::get_if<RouteRefresh>(&message)) {
      events.push_back("refresh " + std::to_string(static_cast<int>(refresh->kind)) +
                       (refresh->afi == Afi::v4 ? " v4" : " v6"));
      return;
    }
    const auto* update = std::get_if<Update>(&message);
    REQUIRE(update);
    REQUIRE(update->treat_as_withdraw == "");
    for (const Prefix& prefix : update->withdrawn) {
      events.push_back("-" + prefix.str());
      table.erase(prefix);
    }
    for (const Prefix& prefix : update->reachable) {
      events.push_back("+" + prefix.str());
      table[prefix] = *update->attributes;
    }
    for (const Prefix& prefix : update->mp_reachable) {
      events.push_back("+" + prefix.str());
      Attributes attributes = *update->attributes;
      attributes.next_hop = update->mp_next_hop;
      attributes.link_local = update->mp_link_local;
      table[prefix] = attributes;
    }
    if (update->end_of_rib) events.push_back(*update->end_of_rib == Afi::v4 ? "eor v4" : "eor v6");
  }
};

inline RibPeer peer(PeerRole role, PeerId n) {
  RibPeer p;
  p.role = role;
  p.id = 0x0a000000 + n;
  p.address = IpAddr::v4(0xac100000 + n);
  p.local = ip("172.31.0.1");
  p.traits.ebgp = role == PeerRole::ebgp;
  p.traits.local_as = 64512;
  return p;
}

inline RibSettings reflector() {
  RibSettings settings;
  settings.asn = 64512;
  settings.id = 0x01010101;
  settings.cluster_id = 0x01010101;
  return settings;
}

/// Attributes as an iBGP peer sends them for a route of its own.
inline Attributes attributes(const IpAddr& next_hop, uint32_t local_pref = 100) {
  Attributes a;
  a.next_hop = next_hop;
  a.local_pref = local_pref;
  return a;
}

inline Attributes external(const IpAddr& next_hop, std::vector<Asn> path) {
  Attributes a;
  a.next_hop = next_hop;
  a.as_path = {{AsSegment::Type::sequence, std::move(path)}};
  return a;
}

inline Update reach(std::vector<Prefix> prefixes, Attributes with) {
  Update update;
  update.reachable = std::move(prefixes);
  update.attributes = std::move(with);
  return update;
}

inline Update unreach(std::vector<Prefix> prefixes) {
  Update update;
  update.withdrawn = std::move(prefixes);
  return update;
}

inline Update end_of_rib(Afi afi) {
  Update update;
  update.end_of_rib = afi;
  return update;
}

}  // namespace knet::bgp
