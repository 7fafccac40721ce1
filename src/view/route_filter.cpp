#include "view/route_filter.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"

namespace knet {
namespace {

bool has(const std::vector<std::string>& words, std::string_view word) {
  return words.empty() || std::find(words.begin(), words.end(), word) != words.end();
}

// Two rows can have one destination: ours and a foreign one of another metric or table.
using RowKey = std::tuple<Prefix, uint32_t, uint32_t, std::string, std::string>;
RowKey key_of(const RouteRow& row) { return {row.dst, row.table, row.metric, row.source, row.dev}; }

// ip-route(8) wants the family named where it is not the destination's.
std::string via_text(const Prefix& dst, const IpAddr& via) {
  return via.family() == dst.family() ? via.str() : "inet6 " + via.str();
}

bool is_special(const std::string& dev) { return dev == "blackhole" || dev == "unreachable" || dev == "prohibit"; }

}  // namespace

bool RowFilter::matches(const RouteRow& row) const {
  return has(states, to_string(row.state)) && (has(devs, row.dev) || std::any_of(row.others.begin(), row.others.end(), [&](const RouteHop& hop) {
           return has(devs, hop.dev.view());
         })) && has(nodes, row.node);
}

std::vector<RouteRow> pick(std::vector<RouteRow> rows, const RowFilter& filter) {
  std::erase_if(rows, [&](const RouteRow& row) { return !filter.matches(row); });
  return rows;
}

std::string ip_batch(const std::vector<RouteRow>& rows) {
  std::string out;
  for (const RouteRow& row : rows) {
    if (row.state == RowState::foreign || row.state == RowState::stale ||
        row.state == RowState::kept) {
      out += fmt::format("# {} {}: {}\n", to_string(row.state), row.dst.str(), row.why);
      continue;
    }
    out += "route replace ";
    if (is_special(row.dev)) out += row.dev + " ";
    out += row.dst.str();
    if (row.others.empty()) {
      if (row.via) out += " via " + via_text(row.dst, row.via);
      if (!is_special(row.dev) && row.dev != "-") out += " dev " + row.dev;
    }
    out += fmt::format(" proto {}", Route::kProtocol);
    if (row.metric != 0) out += fmt::format(" metric {}", row.metric);
    if (row.table != Route::kMainTable) out += fmt::format(" table {}", row.table);
    const auto hop = [&](const IpAddr& via, std::string_view dev, bool onlink) {
      out += fmt::format(" nexthop{} dev {}{}", via ? " via " + via_text(row.dst, via) : "", dev, onlink ? " onlink" : "");
    };
    if (row.others.empty())
      out += row.onlink ? " onlink" : "";
    else
      hop(row.via, row.dev, row.onlink);
    for (const RouteHop& other : row.others) hop(other.via, other.dev.view(), other.onlink);
    out += '\n';
  }
  return out;
}

std::string shown_state(RowState state) { return state == RowState::broken ? "BROKEN" : std::string(to_string(state)); }

std::string RowChange::text() const {
  if (from.empty()) return "new, " + to;
  if (to.empty()) return "gone";
  return from == to ? to + ", mended meanwhile" : from + " -> " + to;
}

std::vector<RowChange> changes(const std::vector<RouteRow>& before, const std::vector<RouteRow>& after) {
  std::map<RowKey, const RouteRow*> left;
  for (const RouteRow& row : before) left.emplace(key_of(row), &row);
  std::vector<RowChange> out;
  for (const RouteRow& row : after) {
    const auto was = left.find(key_of(row));
    if (was == left.end()) {
      out.push_back({row, "", shown_state(row.state)});
      continue;
    }
    const RouteRow& old = *was->second;
    if (old.state != row.state || (old.since != row.since && old.since != 0))
      out.push_back({row, shown_state(old.state), shown_state(row.state)});
    left.erase(was);
  }
  for (const auto& [key, row] : left) out.push_back({*row, shown_state(row->state), ""});
  std::stable_sort(out.begin(), out.end(), [](const RowChange& a, const RowChange& b) { return a.row.dst < b.row.dst; });
  return out;
}

}  // namespace knet
