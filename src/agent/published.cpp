#include "agent/published.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "agent/endpoint_watch.h"
#include "core/compose.h"
#include "kernel/linux_plane.h"

namespace knet {
namespace {

constexpr std::chrono::milliseconds kRecordComes{100};  // after its link, of a pod that is just made

bool is_pod_without_record(const RouteRow& row) { return row.state == RowState::stale && row.mode == "pod"; }

}  // namespace

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
  LinuxPlane plane;
  for (bool again = false;; again = true) {
    const auto state = get();
    if (!state || !state->view || !state->desired) return {};
    plane.watch_sysctls(state->desired->net);
    const Observed observed = plane.observe(all_kinds());
    // A pod that came since the loop's last turn is no stranger.
    auto view = state->view;
    auto desired = state->desired;
    if (auto pods = present_pods(endpoints_, observed); pods != view->endpoints) {
      auto fresh = std::make_shared<ClusterView>(*view);
      fresh->endpoints = std::move(pods);
      desired = std::make_shared<const DesiredState>(compose(*fresh, mode_registry()));
      view = std::move(fresh);
    }
    const Plan plan = diff(*desired, observed, ownership_of(*view));
    std::vector<RouteRow> rows = route_rows(*view, *desired, observed, plan, state->failures);
    if (!again && std::any_of(rows.begin(), rows.end(), is_pod_without_record)) {
      std::this_thread::sleep_for(kRecordComes);
      continue;
    }
    date(rows, state->status.since);
    return rows;
  }
}

}  // namespace knet
