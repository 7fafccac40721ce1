// After any sequence of events, what each peer was told in bytes is what a naive model of RFC 4271 and 4456 says that
// it should know. The model has no groups, no log, no incremental step: it computes each peer's table from all routes.
#include <algorithm>
#include <random>
#include <set>

#include "tests/unit/bgp/rib_world.h"

using namespace knet;
using namespace knet::bgp;

namespace {

constexpr PeerId kPeers = 6;
constexpr uint32_t kNets = 24;

Prefix nth_net(uint32_t n) {
  if (n % 4 == 3) {
    IpAddr address = ip("fd00::");
    address.data()[3] = static_cast<uint8_t>(n);
    return Prefix(address, 48);
  }
  return Prefix(IpAddr::v4(0x0af40000 + (n << 8)), 24);
}
bool is_odd(const Prefix& prefix) { return (prefix.is_v6() ? prefix.addr().data()[3] : prefix.addr().data()[2]) & 1; }

struct Held {
  Attributes raw;
  bool stale = false, long_lived = false;
};

bool refuse_third(const Prefix& prefix, Attributes& attributes) {
  const int n = prefix.is_v6() ? prefix.addr().data()[3] : prefix.addr().data()[2];
  if (n % 3 == 0) return false;
  if (n % 3 == 1) attributes.local_pref = 150;
  return true;
}
bool drop_odd(const Prefix& prefix, Attributes& attributes) {
  attributes.med = 7;
  return !is_odd(prefix);
}

struct Model {
  RibSettings settings;
  std::map<PeerId, RibPeer> config;
  std::map<PeerId, std::map<Prefix, Held>> in;  // kLocal too
  std::map<IpAddr, std::optional<uint32_t>> cost;

  struct Option {
    PeerId peer;
    Attributes a;
  };
  static bool has(const Attributes& a, uint32_t c) {
    return std::count(a.communities.begin(), a.communities.end(), c) > 0;
  }

  /// RFC 4271 9.1.2.2, a step at a time: true if b removes a from consideration, at equal standing before this step.
  static int step(int n, const Option& a, const Option& b, const Model& m) {
    const auto cmp = [](auto x, auto y) { return x < y ? -1 : x > y ? 1 : 0; };
    const auto role = [&](const Option& o) { return o.peer != kLocal && m.config.at(o.peer).role == PeerRole::ebgp; };
    const auto cost_of = [&](const Option& o) { return o.peer == kLocal ? 0u : *m.cost.at(o.a.next_hop); };
    const auto id = [&](const Option& o) {
      return o.a.originator_id ? *o.a.originator_id : o.peer == kLocal ? m.settings.id : m.config.at(o.peer).id;
    };
    switch (n) {
      case 0:
        return cmp(a.peer != kLocal, b.peer != kLocal);
      case 1:
        return cmp(has(a.a, kLlgrStale), has(b.a, kLlgrStale));
      case 2:
        return -cmp(a.a.local_pref.value_or(100), b.a.local_pref.value_or(100));
      case 3:
        return cmp(a.a.path_length(), b.a.path_length());
      case 4:
        return cmp(a.a.origin, b.a.origin);
      case 5:
        return a.a.neighbor_as() != b.a.neighbor_as() ? 0 : cmp(a.a.med.value_or(0), b.a.med.value_or(0));
      case 6:
        return -cmp(role(a), role(b));
      case 7:
        return cmp(cost_of(a), cost_of(b));
      case 8:
        return cmp(id(a), id(b));
      case 9:
        return cmp(a.a.cluster_list.size(), b.a.cluster_list.size());
      default:
        return cmp(m.config.at(a.peer).address, m.config.at(b.peer).address);
    }
  }

  std::optional<Option> best(const Prefix& prefix) const {
    std::vector<Option> left;
    for (const auto& [id, table] : in) {
      const auto held = table.find(prefix);
      if (held == table.end()) continue;
      Attributes a = held->second.raw;
      if (id != kLocal) {
        const RibPeer& p = config.at(id);
        if (p.role == PeerRole::ebgp) {
          a.local_pref.reset();
          a.originator_id.reset();
          a.cluster_list.clear();
        } else if (a.originator_id == settings.id ||
                   (settings.cluster_id &&
                    std::count(a.cluster_list.begin(), a.cluster_list.end(), settings.cluster_id))) {
          continue;
        }
        if (a.path_has(settings.asn)) continue;
        if (p.import_policy && !p.import_policy(prefix, a)) continue;
        if (held->second.long_lived) {
          a.communities.push_back(kLlgrStale);
          std::sort(a.communities.begin(), a.communities.end());
        }
        if (!cost.at(a.next_hop)) continue;
      }
      left.push_back({id, a});
    }
    for (int n = 0; n <= 10 && left.size() > 1; ++n) {
      std::vector<Option> kept;
      for (const Option& o : left) {
        if (std::none_of(left.begin(), left.end(), [&](const Option& other) { return step(n, other, o, *this) < 0; }))
          kept.push_back(o);
      }
      left = kept;
    }
    if (left.empty()) return std::nullopt;
    REQUIRE(left.size() == 1);
    return left[0];
  }

  std::map<Prefix, Attributes> told(PeerId to) const {
    const RibPeer& p = config.at(to);
    std::map<Prefix, Attributes> out;
    for (uint32_t n = 0; n < kNets; ++n) {
      const Prefix prefix = nth_net(n);
      if (!p.families[prefix.is_v6()]) continue;
      const auto b = best(prefix);
      if (!b || b->peer == to) continue;
      Attributes a = b->a;
      const bool from_ibgp = b->peer != kLocal && config.at(b->peer).role != PeerRole::ebgp;
      if (p.role == PeerRole::ebgp) {
        if (has(a, kNoExport) || has(a, kLlgrStale)) continue;
        if (b->peer != kLocal) a.med = a.as_path.empty() ? std::optional<uint32_t>(100) : std::nullopt;
        if (a.as_path.empty()) a.as_path = {{AsSegment::Type::sequence, {}}};
        a.as_path[0].asns.insert(a.as_path[0].asns.begin(), settings.asn);
        a.local_pref.reset();
        a.originator_id.reset();
        a.cluster_list.clear();
        a.next_hop = prefix.is_v6() ? p.other_local : p.local;
      } else {
        if (from_ibgp) {
          const bool client = config.at(b->peer).role == PeerRole::reflector_client;
          if (settings.cluster_id == 0 || (!client && p.role != PeerRole::reflector_client)) continue;
          if (!a.originator_id) a.originator_id = config.at(b->peer).id;
          a.cluster_list.insert(a.cluster_list.begin(), settings.cluster_id);
        } else if (!a.next_hop || p.next_hop_self) {
          a.next_hop = prefix.is_v6() ? p.other_local : p.local;
        }
        a.local_pref = a.local_pref.value_or(100);
        if (has(a, kLlgrStale)) {
          a.local_pref = 0;
          if (!has(a, kNoExport)) a.communities.push_back(kNoExport);
          std::sort(a.communities.begin(), a.communities.end());
        }
      }
      if (p.export_policy && !p.export_policy(prefix, a)) continue;
      out[prefix] = a;
    }
    return out;
  }
};

std::string text(const std::map<Prefix, Attributes>& table) {
  std::string out;
  for (const auto& [prefix, a] : table) {
    out += prefix.str() + " via " + a.next_hop.str() + " pref " + (a.local_pref ? std::to_string(*a.local_pref) : "-") +
           " med " + (a.med ? std::to_string(*a.med) : "-") + " path " + std::to_string(a.path_length()) + " from " +
           std::to_string(a.originator_id.value_or(0)) + " clusters " + std::to_string(a.cluster_list.size()) + "\n";
  }
  return out;
}

struct World {
  explicit World(uint32_t seed, size_t backlog_limit) : random(seed) {
    model.settings = reflector();
    model.settings.backlog_limit = backlog_limit;
    model.settings.max_paths = seed % 2 ? 1 : 3;
    for (uint32_t i = 0; i < 5; ++i) {
      hops4.push_back(IpAddr::v4(0xac100100 + i));
      IpAddr six = ip("fd01::");
      six.data()[15] = static_cast<uint8_t>(i + 1);
      hops6.push_back(six);
      model.cost[hops4[i]] = model.cost[hops6[i]] = i % 3;
    }
    rib = std::make_unique<Rib>(model.settings, [this](const IpAddr& hop) { return model.cost.at(hop); });
  }

  std::mt19937 random;
  Model model;
  std::unique_ptr<Rib> rib;
  std::map<PeerId, Listener> up;
  std::vector<IpAddr> hops4, hops6;
  size_t losses = 0;

  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random() % n); }

  RibPeer random_config(PeerId id) {
    RibPeer p = peer(static_cast<PeerRole>(below(3)), id);
    p.other_local = ip("fd02::1");
    p.families[1] = true;
    if (below(3) == 0) p.next_hop_self = true;
    if (below(3) == 0) p.import_policy = refuse_third;
    if (below(3) == 0) {
      p.export_key = "even";
      p.export_policy = drop_odd;
    }
    return p;
  }

  Attributes random_attributes(bool v6, bool local) {
    Attributes a;
    if (!local) a.next_hop = v6 ? hops6[below(5)] : hops4[below(5)];
    if (below(2)) a.local_pref = 90 + 10 * below(3);
    if (below(2)) a.med = below(3);
    a.origin = static_cast<OriginCode>(below(3) / 2);
    const uint32_t length = below(4);
    if (length) a.as_path = {{AsSegment::Type::sequence, {}}};
    for (uint32_t i = 0; i < length; ++i) a.as_path[0].asns.push_back(below(20) == 0 ? 64512 : 65000 + below(2));
    if (below(5) == 0) a.communities = {kNoExport};
    if (!local && below(5) == 0) a.originator_id = below(6) == 0 ? model.settings.id : 0x0a000000 + below(kPeers);
    if (!local && below(5) == 0) a.cluster_list = {below(6) == 0 ? model.settings.id : 77u};
    return a;
  }

  void routes(PeerId id) {
    Update update;
    const bool v6 = below(4) == 0;
    std::set<Prefix> chosen;
    for (uint32_t i = 0, n = 1 + below(6); i < n; ++i) {
      const Prefix prefix = nth_net(below(kNets));
      if (prefix.is_v6() == v6) chosen.insert(prefix);
    }
    auto& table = model.in[id];
    if (below(3) == 0) {
      update.withdrawn.assign(chosen.begin(), chosen.end());
      for (const Prefix& prefix : chosen) table.erase(prefix);
    } else {
      update.reachable.assign(chosen.begin(), chosen.end());
      update.attributes = random_attributes(v6, false);
      if (model.config.at(id).role == PeerRole::ebgp) {
        update.attributes->local_pref.reset();
        update.attributes->originator_id.reset();
        update.attributes->cluster_list.clear();
      }
      for (const Prefix& prefix : chosen) table[prefix] = {*update.attributes, false, false};
    }
    rib->receive(id, update);
  }

  void down(PeerId id) {
    up.erase(id);
    const uint32_t how = below(3);
    if (how == 0) {
      rib->remove_peer(id);
      model.in.erase(id);
      model.config.erase(id);
      return;
    }
    rib->drop_session(id, how == 1);
    auto& table = model.in[id];
    std::erase_if(table,
                  [&](const auto& entry) { return how == 2 || (entry.second.stale && !entry.second.long_lived); });
    for (auto& [prefix, held] : table) held.stale = true;
  }

  void sweep(PeerId id, Afi afi) {
    std::erase_if(model.in[id],
                  [&](const auto& entry) { return entry.second.stale && entry.first.is_v6() == (afi == Afi::v6); });
  }

  void event() {
    const PeerId id = below(kPeers);
    const bool known = model.config.contains(id), is_up = up.contains(id);
    const Afi afi = static_cast<Afi>(below(2));
    switch (below(15)) {
      case 0:
        if (is_up) {
          down(id);
        } else {
          const RibPeer p = random_config(id);
          model.config[id] = p;
          rib->add_peer(id, p);
          up.emplace(std::piecewise_construct, std::forward_as_tuple(id), std::forward_as_tuple(*rib, id, p.traits));
        }
        break;
      case 1:
        if (!known) break;
        if (is_up) {
          // A session stays inside or outside: its role towards us changes only between client and not.
          RibPeer p = random_config(id);
          const bool outside = model.config[id].role == PeerRole::ebgp;
          if (outside != (p.role == PeerRole::ebgp)) break;
          model.config[id] = p;
          rib->change_peer(id, p);
        }
        break;
      case 2:
        if (!known) break;
        if (is_up && below(2)) {
          rib->receive(id, end_of_rib(afi));
        } else {
          rib->sweep(id, afi);
        }
        sweep(id, afi);
        break;
      case 3:
        if (!known) break;
        rib->mark_llgr(id, afi);
        for (auto& [prefix, held] : model.in[id]) {
          if (held.stale && prefix.is_v6() == (afi == Afi::v6)) held.long_lived = true;
        }
        break;
      case 4: {
        const Prefix prefix = nth_net(below(kNets));
        if (below(2)) {
          rib->originate(prefix, std::nullopt);
          model.in[kLocal].erase(prefix);
        } else {
          const Attributes a = random_attributes(prefix.is_v6(), true);
          rib->originate(prefix, a);
          model.in[kLocal][prefix] = {a, false, false};
        }
        break;
      }
      case 5: {
        auto& cost = model.cost[below(2) ? hops4[below(5)] : hops6[below(5)]];
        cost = below(4) == 0 ? std::nullopt : std::optional<uint32_t>(below(3));
        rib->next_hops_changed();
        break;
      }
      case 6:
        if (is_up) rib->refresh(id, afi);
        break;
      case 7:
      case 8:
        rib->settle();
        break;
      case 9:
        if (is_up && !rib->lost(id)) up.at(id).read(1 + below(200));
        break;
      case 10:
        if (below(10) != 0) break;
        model.settings.cluster_id = model.settings.cluster_id ? 0 : model.settings.id;
        rib->set_settings(model.settings);
        break;
      default:
        if (is_up) routes(id);
    }
  }

  void check() {
    rib->settle();
    for (auto& [id, listener] : up) {
      if (rib->lost(id)) {
        ++losses;
        continue;
      }
      listener.drain();
      const auto expected = model.told(id);
      INFO("peer " << id << " has, and should have:\n" << text(listener.table) << "---\n" << text(expected));
      REQUIRE(listener.table == expected);
      REQUIRE(rib->counts(id).advertised == expected.size());
      const auto shown = rib->advertised(id);
      REQUIRE(shown.size() == expected.size());
      size_t i = 0;
      for (const auto& [prefix, a] : expected) {
        REQUIRE(shown[i].first == prefix);
        REQUIRE(*shown[i++].second == a);
      }
    }
  }
};

void run(uint32_t seeds, size_t backlog_limit, uint32_t check_every) {
  for (uint32_t seed = 1; seed <= seeds; ++seed) {
    World world(seed, backlog_limit);
    CAPTURE(seed);
    for (int i = 0; i < 1500; ++i) {
      world.event();
      if (world.below(check_every) == 0) world.check();
    }
    world.check();
    REQUIRE(world.losses == 0);
    // The kernel's side and what is left behind.
    for (PeerId id = 0; id < kPeers; ++id) {
      if (world.model.config.contains(id)) world.rib->remove_peer(id);
    }
    for (uint32_t n = 0; n < kNets; ++n) world.rib->originate(nth_net(n), std::nullopt);
    world.rib->settle();
    world.rib->take_changes();
    REQUIRE(world.rib->prefixes() == 0);
    REQUIRE(world.rib->groups() == 0);
  }
}

}  // namespace

TEST_CASE("Any sequence of events leaves each peer with what the naive model says") { run(30, 1 << 20, 40); }

TEST_CASE("The same with peers so slow that they fall out of the log again and again") { run(30, 300, 150); }

TEST_CASE("The changes of the loc-RIB, applied one after the other, are the model's best routes") {
  World world(7, 1 << 20);
  std::map<Prefix, std::pair<PeerId, std::vector<IpAddr>>> kernel;
  for (int i = 0; i < 3000; ++i) {
    world.event();
    if (i % 37 != 0) continue;
    world.rib->settle();
    std::set<Prefix> seen;
    for (const BestChange& change : world.rib->take_changes()) {
      REQUIRE(seen.insert(change.prefix).second);
      kernel[change.prefix] = {change.peer, change.next_hops};
    }
    for (uint32_t n = 0; n < kNets; ++n) {
      const auto best = world.model.best(nth_net(n));
      const auto& [id, hops] = kernel[nth_net(n)];
      std::vector<IpAddr> expected;
      if (best && best->a.next_hop) expected.push_back(best->a.next_hop);
      REQUIRE(hops == expected);
      if (best && !hops.empty()) REQUIRE(id == best->peer);
    }
  }
}
