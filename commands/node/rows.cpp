#include "commands/node/rows.h"

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "commands/common/table.h"

namespace knet {

using Json = nlohmann::ordered_json;

std::string_view state_text(NodeState state) {
  switch (state) {
    case NodeState::ready: return "ready";
    case NodeState::silent: return "silent";
    case NodeState::flannel: return "flannel";
    case NodeState::joining: return "joining";
    case NodeState::gone: return "gone";
  }
  return "-";
}

std::string why_text(const NodeRow& row) {
  switch (row.state) {
    case NodeState::silent: return row.no_pods ? "no presence; kept as it is" : "no presence; lease and routes kept";
    case NodeState::joining: return row.no_pods ? "" : "no subnet yet";
    case NodeState::gone: return "not in the cluster; what was set for it is kept";
    default: return "";
  }
}

std::string version_text(const NodeRow& row) { return row.state == NodeState::flannel ? "flanneld" : row.version; }

std::string age_text(const std::optional<std::chrono::seconds>& time) { return time ? format_age(*time) : "-"; }

std::string address_text(const IpAddr& v4, const IpAddr& v6) {
  if (v4 && v6) return v4.str() + " " + v6.str();
  return (v4 ? v4 : v6).str();
}

std::string receives_text(const NodeRow& row, const std::string& announced) {
  std::vector<std::string> others;
  if (row.record)
    for (const std::string& mode : row.record->receives)
      if (mode != announced) others.push_back(mode);
  return others.empty() ? "" : "still receives " + join(others, ", ");
}

std::string reflector_text(const NodeRow& row) {
  if (!row.spec || !row.spec->reflector) return "";
  return format_cluster_id(*row.spec->reflector) + (row.spec->clients.empty() ? "" : ", of " + row.spec->clients);
}

std::string labels_text(const NodeRow& row) {
  std::vector<std::string> out;
  if (row.spec)
    for (const auto& [key, value] : row.spec->labels) out.push_back(key + "=" + value);
  return join(out, ",");
}

uint32_t asn_of(const NodeRow& row, uint32_t usual) { return row.spec && row.spec->asn ? *row.spec->asn : usual; }

std::string own_name(const NodePaths& paths) { return std::string(trim(read_file(paths.node_name(), 4096).value_or(""))); }

Json node_json(const NodeRow& row, const std::string& own, uint32_t usual_asn) {
  Json leases = Json::array();
  for (const LeaseRow& lease : row.leases) {
    leases.push_back({{"subnet", text_of(lease.lease.subnet)}, {"subnet6", text_of(lease.lease.subnet6)}, {"mode", lease.lease.mode},
                      {"address", text_of(lease.lease.public_ip)}, {"address6", text_of(lease.lease.public_ip6)},
                      {"left_seconds", lease.left ? Json(lease.left->count()) : Json(nullptr)},
                      {"reserved_for", lease.reserved_for.value_or("")}});
  }
  Json labels = Json::object();
  if (row.record)
    for (const auto& [key, value] : row.record->labels) labels[key] = value;
  if (row.spec)
    for (const auto& [key, value] : row.spec->labels) labels[key] = value;
  const bool reflects = row.spec && row.spec->reflector;
  return {{"name", row.name},
          {"state", state_text(row.state)},
          {"this_node", row.name == own},
          {"seen_seconds", row.seen ? Json(row.seen->count()) : Json(nullptr)},
          {"version", version_text(row)},
          {"machine_id", row.record ? row.record->machine_id : row.leases.empty() ? "" : row.leases.front().machine_id},
          {"seen_revision", row.record ? row.record->seen_rev : 0},
          {"receives", row.record ? row.record->receives : std::vector<std::string>{}},
          {"asn", asn_of(row, usual_asn)},
          {"own_asn", row.spec && row.spec->asn.has_value()},
          {"reflector", reflects ? Json(format_cluster_id(*row.spec->reflector)) : Json(nullptr)},
          {"clients", reflects ? Json(row.spec->clients) : Json(nullptr)},
          {"pods", !row.no_pods && (!row.spec || row.spec->pods)},
          {"labels", labels},
          {"leases", leases}};
}

}  // namespace knet
