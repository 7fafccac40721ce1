#include "bgp/rib_decision.h"

#include <algorithm>

namespace knet::bgp {
namespace {

/// Those with the least key stay; the others fall for this reason.
template <class Key>
void keep_least(std::vector<Candidate*>& left, Loss loss, Key key) {
  if (left.size() < 2) return;
  auto least = key(*left[0]);
  for (const Candidate* c : left) least = std::min(least, key(*c));
  std::erase_if(left, [&](Candidate* c) {
    if (key(*c) == least) return false;
    c->loss = loss;
    return true;
  });
}

/// RFC 4271 9.1.2.2 c: out go those whose neighbouring AS offers a lower MED elsewhere. A missing MED is 0.
void keep_least_med(std::vector<Candidate*>& left) {
  if (left.size() < 2) return;
  struct Med {
    Asn neighbor;
    uint32_t med;
    auto operator<=>(const Med&) const = default;
  };
  std::vector<Med> meds;
  meds.reserve(left.size());
  for (const Candidate* c : left) meds.push_back({c->attributes->neighbor_as(), c->attributes->med.value_or(0)});
  std::vector<Med> sorted = meds;
  std::sort(sorted.begin(), sorted.end());
  size_t kept = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    const auto lowest = std::lower_bound(sorted.begin(), sorted.end(), Med{meds[i].neighbor, 0});
    if (meds[i].med == lowest->med) {
      left[kept++] = left[i];
    } else {
      left[i]->loss = Loss::med;
    }
  }
  left.resize(kept);
}

RouterId originator(const Candidate& c) { return c.attributes->originator_id.value_or(c.peer_id); }

void mark_multipath(std::vector<Candidate*> equal, const Candidate& best, int max_paths) {
  std::sort(equal.begin(), equal.end(), [](const Candidate* a, const Candidate* b) {
    if (originator(*a) != originator(*b)) return originator(*a) < originator(*b);
    if (a->attributes->cluster_list.size() != b->attributes->cluster_list.size())
      return a->attributes->cluster_list.size() < b->attributes->cluster_list.size();
    return a->peer_address < b->peer_address;
  });
  std::vector<IpAddr> hops{best.attributes->next_hop};
  for (Candidate* c : equal) {
    if (static_cast<int>(hops.size()) >= max_paths) return;
    if (c == &best || std::find(hops.begin(), hops.end(), c->attributes->next_hop) != hops.end()) continue;
    hops.push_back(c->attributes->next_hop);
    c->multipath = true;
  }
}

}  // namespace

bool has_community(const Attributes& attributes, uint32_t community) {
  return std::binary_search(attributes.communities.begin(), attributes.communities.end(), community);
}

int decide(std::span<Candidate> candidates, int max_paths) {
  std::vector<Candidate*> left;
  left.reserve(candidates.size());
  for (Candidate& c : candidates) {
    if (c.loss != Loss::none) continue;
    if (!c.cost || (!c.local && !c.attributes->next_hop)) {
      c.loss = Loss::unreachable;
    } else {
      left.push_back(&c);
    }
  }
  if (left.empty()) return -1;
  if (left.size() == 1) return static_cast<int>(left[0] - candidates.data());

  keep_least(left, Loss::own, [](const Candidate& c) { return !c.local; });
  keep_least(left, Loss::stale, [](const Candidate& c) { return has_community(*c.attributes, kLlgrStale); });
  keep_least(left, Loss::local_pref,
             [](const Candidate& c) { return ~c.attributes->local_pref.value_or(kDefaultLocalPref); });
  keep_least(left, Loss::path_length, [](const Candidate& c) { return c.attributes->path_length(); });
  keep_least(left, Loss::origin, [](const Candidate& c) { return c.attributes->origin; });
  keep_least_med(left);
  keep_least(left, Loss::ebgp, [](const Candidate& c) { return !c.ebgp; });
  keep_least(left, Loss::metric, [](const Candidate& c) { return *c.cost; });
  const std::vector<Candidate*> equal = max_paths > 1 ? left : std::vector<Candidate*>();
  keep_least(left, Loss::originator, originator);
  keep_least(left, Loss::cluster_list, [](const Candidate& c) { return c.attributes->cluster_list.size(); });
  keep_least(left, Loss::address, [](const Candidate& c) { return c.peer_address; });
  if (equal.size() > 1) mark_multipath(equal, *left[0], max_paths);
  return static_cast<int>(left[0] - candidates.data());
}

namespace {

void prepend(std::vector<AsSegment>& path, Asn asn) {
  if (path.empty() || path[0].type != AsSegment::Type::sequence || path[0].asns.size() >= 255) {
    path.insert(path.begin(), AsSegment{AsSegment::Type::sequence, {asn}});
  } else {
    path[0].asns.insert(path[0].asns.begin(), asn);
  }
}

void next_hop_self(Attributes& out, Afi afi, const RibPeer& to) {
  const bool same = to.local.is_v6() == (afi == Afi::v6);
  out.next_hop = same || !to.other_local ? to.local : to.other_local;
  out.link_local = {};
}

/// An IPv6 route needs an IPv6 next hop (RFC 2545), an IPv4 route may have one where both sides said so (RFC 8950).
bool can_carry(const Attributes& out, Afi afi, const RibPeer& to) {
  if (afi == Afi::v6) return out.next_hop.is_v6();
  return out.next_hop.is_v4() || (out.next_hop.is_v6() && to.traits.extended_next_hop);
}

// A router that hears the same subnet from its own node and from others takes the node itself, rather than one that would send
// packets back to that router.
constexpr uint32_t kMedOfOthers = 100;

void towards_ebgp(Attributes& out, Afi afi, const RouteSource& source, const RibPeer& to) {
  const bool from_our_as = out.as_path.empty();
  prepend(out.as_path, to.traits.local_as);
  const bool third_party = to.link && to.link.contains(out.next_hop);
  if (!out.next_hop || out.next_hop.is_link_local() || !(to.next_hop_unchanged || third_party)) next_hop_self(out, afi, to);
  if (!source.local) {
    out.med.reset();  // RFC 4271 5.1.4: not to other neighbouring ASes
    if (from_our_as) out.med = kMedOfOthers;
  }
  out.local_pref.reset();
  out.originator_id.reset();
  out.cluster_list.clear();
  // Non-transitive between ASes (RFC 4360 section 6).
  std::erase_if(out.extended_communities, [](const auto& community) { return (community[0] & 0x40) != 0; });
}

}  // namespace

std::optional<Attributes> export_route(const Attributes& in, Afi afi, const RouteSource& source, const RibPeer& to,
                                       const RibSettings& settings) {
  const bool outside = to.role == PeerRole::ebgp;
  const bool reflected = !outside && !source.local && source.role != PeerRole::ebgp;
  if (reflected && settings.cluster_id == 0) return std::nullopt;
  if (reflected && source.role == PeerRole::ibgp && to.role == PeerRole::ibgp) return std::nullopt;
  if (has_community(in, kNoAdvertise)) return std::nullopt;
  if (outside && (has_community(in, kNoExport) || has_community(in, kNoExportSubconfed))) return std::nullopt;
  const bool crippled = has_community(in, kLlgrStale) && !to.long_lived;
  if (crippled && outside) return std::nullopt;

  std::optional<Attributes> out(in);
  if (outside) {
    towards_ebgp(*out, afi, source, to);
  } else {
    if (reflected && out->next_hop.is_link_local()) return std::nullopt;
    if (!out->next_hop || out->next_hop.is_link_local() || (to.next_hop_self && !reflected)) next_hop_self(*out, afi, to);
    if (!out->local_pref) out->local_pref = kDefaultLocalPref;
    if (reflected) {
      if (!out->originator_id) out->originator_id = source.id;
      out->cluster_list.insert(out->cluster_list.begin(), settings.cluster_id);
    }
    if (crippled) {  // RFC 9494 4.6: others of our AS may hold it for their last resort, and keep it inside
      out->local_pref = 0;
      auto& list = out->communities;
      const auto at = std::lower_bound(list.begin(), list.end(), kNoExport);
      if (at == list.end() || *at != kNoExport) list.insert(at, kNoExport);
    }
  }
  // The link-local address is for who shares the next hop's link (RFC 2545 section 3).
  if (!to.link || !to.link.contains(out->next_hop)) out->link_local = {};
  if (!can_carry(*out, afi, to)) return std::nullopt;
  return out;
}

bool is_loop(const Attributes& in, const RibPeer& from, const RibSettings& settings) {
  int own = 0;
  for (const AsSegment& segment : in.as_path) {
    for (const Asn asn : segment.asns) own += asn == settings.asn || asn == from.traits.local_as;
  }
  if (own > from.allowed_own_as) return true;
  if (in.next_hop && (in.next_hop == from.local || in.next_hop == from.other_local)) return true;
  if (from.role == PeerRole::ebgp) return false;
  if (in.originator_id && *in.originator_id == settings.id) return true;
  return settings.cluster_id != 0 &&
         std::find(in.cluster_list.begin(), in.cluster_list.end(), settings.cluster_id) != in.cluster_list.end();
}

}  // namespace knet::bgp
