// What the agent says about itself: StatusSnapshot and its JSON (schema 1), Prometheus text, and the rows of
// /v1/routes. Values and pure functions.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/route_rows.h"

namespace knet {

struct StatusSnapshot {
  static constexpr int kSchema = 1;
  int schema = kSchema;
  std::string node;
  std::string version;
  int64_t pid = 0;
  int64_t since = 0;  // Unix seconds; when this agent started
  int64_t at = 0;     // Unix seconds; when this snapshot was made

  std::string store;  // where, without secrets
  bool store_connected = false;
  bool from_cache = false;  // the view is the one kept on disk: added to, never deleted by
  int64_t store_since = 0;  // Unix seconds; since when (dis)connected
  std::string store_error;  // the last one, "" if none
  int64_t revision = 0;

  std::string mode;                   // the cluster's
  std::string announced;              // by this node; another one while the cluster changes its mode
  std::vector<std::string> receives;  // besides: modes that were announced before
  struct Path {
    std::string mode, name, why;
    bool operator==(const Path&) const = default;
  };
  std::vector<Path> datapaths;  // of the modes that take part, where they have several
  std::string network, network6;
  std::string subnet, subnet6;      // own lease; "" while there is none
  std::string no_pods;              // why this node is to run no pods; "" if it may
  std::string address, address6;    // announced
  std::string uplink;               // device
  uint32_t mtu_v4 = 0, mtu_v6 = 0;  // of pods
  int64_t lease_until = 0;          // Unix seconds as of the last renewal; 0 unknown or endless

  uint32_t peers = 0;
  uint32_t peers_silent = 0;  // knet nodes without presence
  uint32_t pods = 0;
  uint32_t objects = 0;                                  // wanted in the kernel
  uint32_t failing = 0;                                  // of them can't be applied now
  std::vector<std::pair<std::string, uint32_t>> wanted;  // by kind: ("route", 12)

  bool ready = false;
  std::vector<std::string> unready;   // why not: own lease, device or sysctl wrong, first sync not done
  std::vector<std::string> degraded;  // works, but: dead peers, failures, store away
  std::vector<std::string> problems;  // keys in the store that can't be read, and why
  std::vector<std::string> notices;   // compose's: "n3 192.168.78.3 is not on link: host-gw can't reach it"
  std::vector<std::string> foreign;   // foreign objects at keys that we want
  std::vector<std::string> fought_over;
  std::vector<std::pair<std::string, std::string>> failures;  // object, reason

  uint64_t turns = 0, applied = 0, repairs = 0, failed_ops = 0;  // counters since start
  std::vector<std::pair<std::string, uint64_t>> mode_counters;   // of the modes' services, sorted: Service::counters()
  std::vector<std::pair<std::string, uint64_t>> mode_gauges;     // likewise: Service::gauges()
  double first_route_seconds = 0;                                // start until the first convergence; 0: not yet
  int64_t last_turn_ms = 0;                                      // duration

  bool operator==(const StatusSnapshot&) const = default;
};

std::string format_status(const StatusSnapshot& status);
/// Throws Error{config}. A newer schema is read as far as it is known.
StatusSnapshot parse_status(std::string_view json);

/// Prometheus text format 0.0.4.
std::string format_metrics(const StatusSnapshot& status);

/// {"schema":1,"node":...,"routes":[...],"verdict":...}
std::string format_routes(const std::string& node, const std::vector<RouteRow>& rows);
/// Throws Error{config}.
std::vector<RouteRow> parse_routes(std::string_view json);

}  // namespace knet
