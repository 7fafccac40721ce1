// What the loop hands to the status server: immutable values behind one lock. The loop publishes, server threads read;
// rows are made on the server's thread from the shared view and a look of its own at the kernel, so that nobody waits
// for the loop.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "agent/status.h"
#include "core/mode.h"
#include "core/plan.h"
#include "core/view.h"

namespace knet {

class Published {
 public:
  struct State {
    StatusSnapshot status;
    std::shared_ptr<const ClusterView> view;
    std::shared_ptr<const DesiredState> desired;
    Failures failures;
    std::vector<std::weak_ptr<Service>> services;  // of the modes; held only while they are asked
  };
  /// `endpoints`: the directory of the pods' records.
  explicit Published(std::filesystem::path endpoints) : endpoints_(std::move(endpoints)) {}
  void set(State state);
  std::shared_ptr<const State> get() const;
  /// What a service says to it, asked on the calling thread; nothing if none does.
  std::optional<std::string> answer(const ServiceQuestion& question) const;
  /// The status with the modes' counters as of now, asked on the calling thread.
  StatusSnapshot status() const;

  /// Rows as of now. Observes the kernel and reads the pods' records on the calling thread.
  std::vector<RouteRow> rows();

 private:
  struct Seen {
    RowState state;
    int64_t since;
  };
  void date(std::vector<RouteRow>& rows, int64_t since_start);

  std::filesystem::path endpoints_;
  mutable std::mutex mutex_;
  std::shared_ptr<const State> state_;
  std::mutex rows_mutex_;
  std::map<std::pair<Prefix, uint32_t>, Seen> history_;  // of (destination, metric); under rows_mutex_
};

}  // namespace knet
