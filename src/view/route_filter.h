// What `knet route show` does with rows: pick, turn into text for `ip -batch`, tell what changed between two looks. Pure.
#pragma once

#include <string>
#include <vector>

#include "core/route_rows.h"

namespace knet {

/// Empty lists let everything through; else one of the words must fit. States are lower case.
struct RowFilter {
  std::vector<std::string> states;  // ok, pending, broken, foreign, stale, unknown
  std::vector<std::string> devs;
  std::vector<std::string> nodes;
  bool matches(const RouteRow& row) const;
};
std::vector<RouteRow> pick(std::vector<RouteRow> rows, const RowFilter& filter);

/// Lines that `ip -batch` accepts and that make the wanted routes as knet would; the rest as comments.
std::string ip_batch(const std::vector<RouteRow>& rows);

/// One row that is new, went, or is not as it was.
struct RowChange {
  RouteRow row;              // as it is now; where it went, as it was
  std::string from, to;      // states; "" where there was, or is, no row
  std::string text() const;  // "ok -> BROKEN", "new, ok", "gone", "ok, mended meanwhile"
};
/// In the order of the rows. Rows of equal state whose time of change differs were something else in between.
std::vector<RowChange> changes(const std::vector<RouteRow>& before, const std::vector<RouteRow>& after);

/// "ok", and in capitals what is broken: "BROKEN".
std::string shown_state(RowState state);

}  // namespace knet
