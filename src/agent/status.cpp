#include "agent/status.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

Json time_text(int64_t seconds) {
  if (seconds == 0) return nullptr;
  return format_time(std::chrono::system_clock::time_point(std::chrono::seconds(seconds)));
}

template <typename Key>
int64_t time_of(const nlohmann::json& tree, Key key) {
  auto at = tree.find(key);
  if (at == tree.end() || !at->is_string()) return 0;
  auto time = parse_time(at->template get<std::string>());
  return time ? std::chrono::duration_cast<std::chrono::seconds>(time->time_since_epoch()).count() : 0;
}

// A field that is absent, or of a type that a newer version gave it, keeps its default.
template <typename T>
void read(const nlohmann::json& tree, const char* key, T& value) {
  auto at = tree.find(key);
  if (at == tree.end()) return;
  try {
    value = at->template get<T>();
  } catch (const nlohmann::json::exception&) {
  }
}

Json pairs(const std::vector<std::pair<std::string, std::string>>& items, const char* first, const char* second) {
  Json out = Json::array();
  for (const auto& [a, b] : items) out.push_back({{first, a}, {second, b}});
  return out;
}

}  // namespace

std::string format_status(const StatusSnapshot& s) {
  Json wanted = Json::object();
  for (const auto& [kind, count] : s.wanted) wanted[kind] = count;
  Json paths = Json::array();
  for (const auto& [mode, name, why] : s.datapaths) paths.push_back({{"mode", mode}, {"datapath", name}, {"why", why}});
  Json mode_counters = Json::object(), mode_gauges = Json::object();
  for (const auto& [name, count] : s.mode_counters) mode_counters[name] = count;
  for (const auto& [name, count] : s.mode_gauges) mode_gauges[name] = count;
  const Json tree = {
      {"schema", s.schema},
      {"node", s.node},
      {"version", s.version},
      {"pid", s.pid},
      {"since", time_text(s.since)},
      {"at", time_text(s.at)},
      {"store",
       {{"where", s.store},
        {"connected", s.store_connected},
        {"from_cache", s.from_cache},
        {"since", time_text(s.store_since)},
        {"revision", s.revision},
        {"last_error", s.store_error}}},
      {"mode", s.mode},
      {"announced", s.announced},
      {"receives", s.receives},
      {"datapaths", std::move(paths)},
      {"network", s.network},
      {"network6", s.network6},
      {"subnet", s.subnet},
      {"subnet6", s.subnet6},
      {"no_pods", s.no_pods},
      {"address", s.address},
      {"address6", s.address6},
      {"uplink", s.uplink},
      {"mtu_v4", s.mtu_v4},
      {"mtu_v6", s.mtu_v6},
      {"lease_until", time_text(s.lease_until)},
      {"peers", s.peers},
      {"peers_silent", s.peers_silent},
      {"pods", s.pods},
      {"objects", s.objects},
      {"failing", s.failing},
      {"wanted", std::move(wanted)},
      {"ready", s.ready},
      {"unready", s.unready},
      {"degraded", s.degraded},
      {"problems", s.problems},
      {"notices", s.notices},
      {"foreign", s.foreign},
      {"fought_over", s.fought_over},
      {"failures", pairs(s.failures, "object", "reason")},
      {"counters", {{"turns", s.turns}, {"applied", s.applied}, {"repairs", s.repairs}, {"failed_ops", s.failed_ops}}},
      {"mode_counters", std::move(mode_counters)},
      {"mode_gauges", std::move(mode_gauges)},
      {"first_route_seconds", s.first_route_seconds},
      {"last_turn_ms", s.last_turn_ms},
  };
  return tree.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

StatusSnapshot parse_status(std::string_view json) {
  const nlohmann::json tree = parse_json(json, "the agent's status");
  if (!tree.is_object()) fail(ErrorKind::config, "the agent's status is not a JSON object");
  StatusSnapshot s;
  read(tree, "schema", s.schema);
  read(tree, "node", s.node);
  read(tree, "version", s.version);
  read(tree, "pid", s.pid);
  s.since = time_of(tree, "since");
  s.at = time_of(tree, "at");
  if (auto store = tree.find("store"); store != tree.end() && store->is_object()) {
    read(*store, "where", s.store);
    read(*store, "connected", s.store_connected);
    read(*store, "from_cache", s.from_cache);
    s.store_since = time_of(*store, "since");
    read(*store, "revision", s.revision);
    read(*store, "last_error", s.store_error);
  }
  read(tree, "mode", s.mode);
  read(tree, "announced", s.announced);
  read(tree, "receives", s.receives);
  if (auto paths = tree.find("datapaths"); paths != tree.end() && paths->is_array())
    for (const auto& item : *paths)
      if (item.is_object()) {
        StatusSnapshot::Path& path = s.datapaths.emplace_back();
        read(item, "mode", path.mode);
        read(item, "datapath", path.name);
        read(item, "why", path.why);
      }
  const auto read_counts = [&](const char* key, std::vector<std::pair<std::string, uint64_t>>& to) {
    const auto counts = tree.find(key);
    if (counts == tree.end() || !counts->is_object()) return;
    for (const auto& [name, count] : counts->items())
      if (count.is_number_unsigned()) to.emplace_back(name, count.get<uint64_t>());
  };
  read_counts("mode_counters", s.mode_counters);
  read_counts("mode_gauges", s.mode_gauges);
  read(tree, "network", s.network);
  read(tree, "network6", s.network6);
  read(tree, "subnet", s.subnet);
  read(tree, "subnet6", s.subnet6);
  read(tree, "no_pods", s.no_pods);
  read(tree, "address", s.address);
  read(tree, "address6", s.address6);
  read(tree, "uplink", s.uplink);
  read(tree, "mtu_v4", s.mtu_v4);
  read(tree, "mtu_v6", s.mtu_v6);
  s.lease_until = time_of(tree, "lease_until");
  read(tree, "peers", s.peers);
  read(tree, "peers_silent", s.peers_silent);
  read(tree, "pods", s.pods);
  read(tree, "objects", s.objects);
  read(tree, "failing", s.failing);
  if (auto wanted = tree.find("wanted"); wanted != tree.end() && wanted->is_object())
    for (const auto& [kind, count] : wanted->items())
      if (count.is_number_unsigned()) s.wanted.emplace_back(kind, count.get<uint32_t>());
  read(tree, "ready", s.ready);
  read(tree, "unready", s.unready);
  read(tree, "degraded", s.degraded);
  read(tree, "problems", s.problems);
  read(tree, "notices", s.notices);
  read(tree, "foreign", s.foreign);
  read(tree, "fought_over", s.fought_over);
  if (auto failures = tree.find("failures"); failures != tree.end() && failures->is_array())
    for (const auto& item : *failures)
      if (item.is_object()) {
        std::pair<std::string, std::string> failure;
        read(item, "object", failure.first);
        read(item, "reason", failure.second);
        s.failures.push_back(std::move(failure));
      }
  if (auto counters = tree.find("counters"); counters != tree.end() && counters->is_object()) {
    read(*counters, "turns", s.turns);
    read(*counters, "applied", s.applied);
    read(*counters, "repairs", s.repairs);
    read(*counters, "failed_ops", s.failed_ops);
  }
  read(tree, "first_route_seconds", s.first_route_seconds);
  read(tree, "last_turn_ms", s.last_turn_ms);
  return s;
}

std::string format_routes(const std::string& node, const std::vector<RouteRow>& rows) {
  Json list = Json::array();
  for (const RouteRow& row : rows) {
    Json item = {{"destination", row.dst.str()}};
    item["via"] = row.via ? Json(row.via.str()) : Json(nullptr);
    item["dev"] = row.dev;
    if (!row.others.empty()) {
      Json& hops = item["nexthops"] = Json::array({{{"via", item["via"]}, {"dev", row.dev}, {"onlink", row.onlink}}});
      for (const RouteHop& hop : row.others)
        hops.push_back({{"via", hop.via ? Json(hop.via.str()) : Json(nullptr)}, {"dev", hop.dev.str()}, {"onlink", hop.onlink}});
    }
    item["mode"] = row.mode;
    item["node"] = row.node;
    item["source"] = row.source;
    item["state"] = to_string(row.state);
    item["why"] = row.why;
    item["since"] = time_text(row.since);
    item["table"] = row.table;
    item["metric"] = row.metric;
    item["mtu"] = row.mtu;
    item["onlink"] = row.onlink;
    item["nexthop"] = row.part_nexthop;
    item["neighbor"] = row.part_neighbor;
    item["fdb"] = row.part_fdb;
    item["filter"] = row.part_filter;
    item["peer"] = row.part_peer;
    item["path"] = row.path;
    list.push_back(std::move(item));
  }
  const Json tree = {
      {"schema", StatusSnapshot::kSchema}, {"node", node}, {"routes", std::move(list)}, {"verdict", verdict(rows)}};
  return tree.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

namespace {

RouteHop parse_hop(const nlohmann::json& item) {
  RouteHop hop;
  if (!item.is_object()) return hop;
  std::string via, dev;
  read(item, "via", via);
  read(item, "dev", dev);
  hop.via = IpAddr::parse(via).value_or(IpAddr{});
  if (!dev.empty()) hop.dev = DevName(dev);
  read(item, "onlink", hop.onlink);
  return hop;
}

}  // namespace

std::vector<RouteRow> parse_routes(std::string_view json) {
  const nlohmann::json tree = parse_json(json, "the agent's routes");
  const auto list = tree.is_object() ? tree.find("routes") : tree.end();
  if (!tree.is_object() || list == tree.end() || !list->is_array())
    fail(ErrorKind::config, "the agent's routes are not a list");
  std::vector<RouteRow> rows;
  rows.reserve(list->size());
  for (const nlohmann::json& item : *list) {
    if (!item.is_object()) continue;
    RouteRow row;
    std::string text;
    read(item, "destination", text);
    auto dst = Prefix::parse(text);
    if (!dst) fail(ErrorKind::config, "the agent's routes: '{}' is not a destination", printable(text));
    row.dst = *dst;
    text.clear();
    read(item, "via", text);
    row.via = IpAddr::parse(text).value_or(IpAddr{});
    read(item, "dev", row.dev);
    if (const auto hops = item.find("nexthops"); hops != item.end() && hops->is_array())
      for (size_t i = 1; i < hops->size(); ++i) row.others.push_back(parse_hop((*hops)[i]));
    read(item, "mode", row.mode);
    read(item, "node", row.node);
    read(item, "source", row.source);
    text.clear();
    read(item, "state", text);
    row.state = RowState::unknown;
    for (RowState state : {RowState::ok, RowState::pending, RowState::broken, RowState::foreign, RowState::stale,
                           RowState::kept})
      if (text == to_string(state)) row.state = state;
    read(item, "why", row.why);
    row.since = time_of(item, "since");
    read(item, "table", row.table);
    read(item, "metric", row.metric);
    read(item, "mtu", row.mtu);
    read(item, "onlink", row.onlink);
    read(item, "nexthop", row.part_nexthop);
    read(item, "neighbor", row.part_neighbor);
    read(item, "fdb", row.part_fdb);
    read(item, "filter", row.part_filter);
    read(item, "peer", row.part_peer);
    read(item, "path", row.path);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace knet
