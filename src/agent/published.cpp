#include "agent/published.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "agent/endpoint_watch.h"
#include "core/compose.h"
#include "kernel/bpf_tunnel.h"
#include "kernel/linux_plane.h"
#include "kernel/shortcut.h"

namespace knet {
namespace {

constexpr std::chrono::milliseconds kRecordComes{100};  // after its link, of a pod that is just made

bool is_pod_without_record(const RouteRow& row) { return row.state == RowState::stale && row.mode == "pod"; }

// What the kernel's part of the tunnels counted, in the words of the userspace part (src/tunnel/service.cpp).
void add_bpf_counters(StatusSnapshot& status) {
  for (const TunnelCounter& counter : read_tunnel_counters()) {
    const auto add = [&](std::string_view what, std::string_view unit, uint64_t count) {
      const bool reason = what == "dropped" || what == "passed";
      status.mode_counters.emplace_back(
          fmt::format("tunnel_{}_{}{{dev=\"{}\",path=\"bpf\"{}}}", what, unit, counter.dev.view(),
                      reason ? fmt::format(",why=\"{}\"", counter.name) : ""),
          count);
    };
    if (counter.name == "encapsulated" || counter.name == "decapsulated") {
      const std::string_view what = counter.name == "encapsulated" ? "sent" : "received";
      add(what, "packets", counter.packets);
      add(what, "bytes", counter.bytes);
    } else {
      add(counter.dropped ? "dropped" : "passed", "packets", counter.packets);
    }
  }
}

void add_shortcut_counters(StatusSnapshot& status) {
  const Shortcuts::Taken taken = read_shortcut_counters();
  if (taken.packets == 0) return;
  status.mode_counters.emplace_back("shortcut_packets", taken.packets);
  status.mode_counters.emplace_back("shortcut_bytes", taken.bytes);
}

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

std::optional<std::string> Published::answer(const ServiceQuestion& question) const {
  const auto state = get();
  for (const auto& weak : state->services)
    if (const auto service = weak.lock())
      if (auto answer = service->answer(question)) return answer;
  return std::nullopt;
}

StatusSnapshot Published::status() const {
  const auto state = get();
  StatusSnapshot status = state->status;
  for (const auto& weak : state->services)
    if (const auto service = weak.lock()) {
      for (auto& counter : service->counters()) status.mode_counters.push_back(std::move(counter));
      for (auto& gauge : service->gauges()) status.mode_gauges.push_back(std::move(gauge));
    }
  if (state->desired && !state->desired->net.filters.empty()) add_bpf_counters(status);
  if (state->desired && !state->desired->net.shortcuts.empty()) add_shortcut_counters(status);
  std::sort(status.mode_counters.begin(), status.mode_counters.end());
  std::sort(status.mode_gauges.begin(), status.mode_gauges.end());
  return status;
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
    plane.expect(state->desired->net);
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
