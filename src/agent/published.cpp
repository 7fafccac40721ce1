#include "agent/published.h"

#include <chrono>

#include "core/compose.h"
#include "kernel/linux_plane.h"

namespace knet {

void Published::set(State state) {
  auto fresh = std::make_shared<const State>(std::move(state));
  std::lock_guard lock(mutex_);
  state_ = std::move(fresh);
}

std::shared_ptr<const Published::State> Published::get() const {
  std::lock_guard lock(mutex_);
  return state_;
}

// A row keeps the time at which it was first seen in its state.
void Published::date(std::vector<RouteRow>& rows, int64_t since_start) {
  const int64_t now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  const bool first = history_.empty();
  std::map<std::pair<Prefix, uint32_t>, Seen> fresh;
  for (RouteRow& row : rows) {
    const std::pair key(row.dst, row.metric);
    auto known = history_.find(key);
    int64_t since = first && row.state == RowState::ok ? since_start : now;
    if (known != history_.end() && known->second.state == row.state) since = known->second.since;
    row.since = since;
    fresh[key] = {row.state, since};
  }
  history_ = std::move(fresh);
}

std::vector<RouteRow> Published::rows() {
  std::lock_guard lock(rows_mutex_);
  const auto state = get();
  if (!state || !state->view || !state->desired) return {};
  LinuxPlane plane;
  plane.watch_sysctls(state->desired->net);
  const Observed observed = plane.observe(all_kinds());
  const Plan plan = diff(*state->desired, observed, ownership_of(*state->view));
  std::vector<RouteRow> rows = route_rows(*state->view, *state->desired, observed, plan, state->failures);
  date(rows, state->status.since);
  return rows;
}

}  // namespace knet
