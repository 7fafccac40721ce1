#include "modes/common/bgp_answers.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

std::string dotted(uint32_t id) { return IpAddr::v4(id).str(); }

std::string_view word(bgp::OriginCode origin) {
  switch (origin) {
    case bgp::OriginCode::igp:
      return "igp";
    case bgp::OriginCode::egp:
      return "egp";
    case bgp::OriginCode::incomplete:
      break;
  }
  return "incomplete";
}

Json families(const bool (&spoken)[bgp::kAfis]) {
  Json out = Json::array();
  if (spoken[0]) out.push_back("ipv4");
  if (spoken[1]) out.push_back("ipv6");
  return out;
}

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json peer_json(const bgp::PeerStatus& peer) {
  Json out;
  out["address"] = peer.address.str();
  out["name"] = peer.name;
  out["type"] = peer.type;
  out["asn"] = peer.asn;
  out["router_id"] = peer.id != 0 ? Json(dotted(peer.id)) : Json(nullptr);
  out["state"] = to_string(peer.state);
  out["since"] = peer.since;
  out["received"] = peer.counts.received;
  out["accepted"] = peer.counts.accepted;
  out["best"] = peer.counts.best;
  out["advertised"] = peer.counts.advertised;
  out["stale"] = peer.counts.stale;
  out["messages_in"] = peer.messages_in;
  out["messages_out"] = peer.messages_out;
  out["backlog"] = peer.backlog;
  out["hold_time"] = peer.hold_time;
  out["families"] = families(peer.families);
  out["dynamic"] = peer.dynamic;
  out["restarting"] = peer.restarting;
  out["last_error"] = peer.last_error;
  out["local"] = peer.local;
  return out;
}

Json route_json(const bgp::RouteStatus& route) {
  Json out;
  out["prefix"] = route.prefix.str();
  out["peer"] = route.peer;
  out["peer_address"] = route.peer_address ? Json(route.peer_address.str()) : Json(nullptr);
  if (route.attributes) {
    const bgp::Attributes& a = *route.attributes;
    out["next_hop"] = a.next_hop ? Json(a.next_hop.str()) : Json(nullptr);
    out["as_path"] = format_as_path(a.as_path);
    out["origin"] = word(a.origin);
    out["local_pref"] = or_null(a.local_pref);
    out["med"] = or_null(a.med);
    Json communities = Json::array(), large = Json::array(), clusters = Json::array();
    for (const uint32_t community : a.communities) communities.push_back(format_community(community));
    for (const bgp::LargeCommunity& c : a.large_communities)
      large.push_back(fmt::format("{}:{}:{}", c.global, c.local1, c.local2));
    for (const uint32_t id : a.cluster_list) clusters.push_back(dotted(id));
    out["communities"] = std::move(communities);
    out["large_communities"] = std::move(large);
    out["originator_id"] = a.originator_id ? Json(dotted(*a.originator_id)) : Json(nullptr);
    out["cluster_list"] = std::move(clusters);
  }
  out["best"] = route.best;
  out["multipath"] = route.multipath;
  out["stale"] = route.stale;
  out["loss"] = route.loss;
  return out;
}

// What a peer sent into a text must not break the JSON.
std::string dump(const Json& tree) { return tree.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

std::string format_community(uint32_t community) {
  switch (community) {
    case bgp::kNoExport:
      return "no-export";
    case bgp::kNoAdvertise:
      return "no-advertise";
    case bgp::kNoExportSubconfed:
      return "no-export-subconfed";
    case bgp::kGracefulShutdown:
      return "graceful-shutdown";
    case bgp::kLlgrStale:
      return "llgr-stale";
    case bgp::kNoLlgr:
      return "no-llgr";
    default:
      return fmt::format("{}:{}", community >> 16, community & 0xffff);
  }
}

std::string format_as_path(const std::vector<bgp::AsSegment>& path) {
  std::string out;
  for (const bgp::AsSegment& segment : path) {
    const std::string asns = fmt::format("{}", fmt::join(segment.asns, " "));
    if (!out.empty()) out += ' ';
    switch (segment.type) {
      case bgp::AsSegment::Type::sequence:
        out += asns;
        break;
      case bgp::AsSegment::Type::set:
        out += '{' + asns + '}';
        break;
      case bgp::AsSegment::Type::confed_sequence:
        out += '(' + asns + ')';
        break;
      case bgp::AsSegment::Type::confed_set:
        out += "({" + asns + "})";
        break;
    }
  }
  return out;
}

std::string format_peers_answer(const BgpFacts& facts, const std::vector<std::string>& troubles,
                                const std::vector<bgp::PeerStatus>& peers) {
  Json out;
  out["schema"] = 1;
  out["node"] = facts.node;
  out["asn"] = facts.asn;
  out["router_id"] = dotted(facts.id);
  out["cluster_id"] = facts.cluster_id != 0 ? Json(dotted(facts.cluster_id)) : Json(nullptr);
  out["mesh"] = facts.mesh;
  out["listen"] = facts.listen;
  out["troubles"] = troubles;
  out["peers"] = Json::array();
  for (const bgp::PeerStatus& peer : peers) out["peers"].push_back(peer_json(peer));
  return dump(out);
}

std::string format_routes_answer(const BgpFacts& facts, const std::vector<bgp::RouteStatus>& routes) {
  Json out;
  out["schema"] = 1;
  out["node"] = facts.node;
  out["routes"] = Json::array();
  for (const bgp::RouteStatus& route : routes) out["routes"].push_back(route_json(route));
  return dump(out);
}

std::string format_reset_answer(const std::vector<std::string>& reset) {
  Json out;
  out["schema"] = 1;
  out["reset"] = reset;
  return dump(out);
}

}  // namespace knet
