// A node's part in a live change of the cluster's mode: which mode it announces, which ones it goes on receiving, and
// until when. Create the receiving side, announce, let the senders follow each peer's announcement, reap. A value of
// the agent's loop; the time is given; it sends and changes nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "core/lease.h"
#include "core/view.h"

namespace knet {

/// The mode whose routes are learned from the peers themselves, after their leases announce it.
inline constexpr std::string_view kLearningMode = "bgp";

/// A mode that this node announced before and still receives.
struct ReceivedMode {
  std::string mode;
  Revision rev = 0;   // of our lease when it first named another mode
  int64_t since = 0;  // Unix seconds; for people
  bool operator==(const ReceivedMode&) const = default;
};

class Rollover {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// For packets that are under way, after the last node has said that it sends by the new mode.
  static constexpr std::chrono::seconds kAfterSeen{5};

  /// The mode to announce: the config's, but as long as its receiving side does not stand (`stands`) the one that our
  /// lease names (`current`; "": none yet), where the config still knows that one.
  static const std::string& to_announce(const NetworkConfig& config, const std::string& current, bool stands);

  /// As the agent kept it over a restart.
  void restore(std::vector<ReceivedMode> kept) { received_ = entries(std::move(kept)); }
  /// Our lease names `now`, and named `before` until the revision `rev`.
  void announced(const std::string& before, const std::string& now, Revision rev, int64_t unix_now);
  /// The store is an earlier one than we knew (restored from a backup): what was to be seen is part of its `rev`.
  void went_back(Revision rev);
  /// Lets go what nobody sends any more: the config has done with it, or every other node has acted on our
  /// announcement (`seen_by_all`, 0 while one gives no sign of life) kAfterSeen ago. Returns what was let go.
  std::vector<std::string> reap(const NetworkConfig& config, Revision seen_by_all, Time now);
  /// When reap() would let go more though nothing happens.
  std::optional<Time> due() const;

  bool empty() const { return received_.empty(); }
  std::vector<ReceivedMode> received() const;
  std::vector<std::string> modes() const;
  /// The latest of our announcements that others must have acted on; 0 if none.
  Revision awaited() const;

 private:
  struct Entry {
    ReceivedMode what;
    std::optional<Time> seen_at;  // by all
  };
  static std::vector<Entry> entries(std::vector<ReceivedMode> kept);

  std::vector<Entry> received_;
};

/// Peers that announce bgp while no route to their subnets is learned: as long as the config knows the mode by which
/// `before` (the leases that were acted on last, sorted like the view's) reached them, they stand in the view as they did
/// there, and their addresses in view.bgp.joined. While the cluster changes away from bgp so do the addresses of those who
/// announce its next mode: they speak to those who do not yet. Returns the revision of the earliest announcement that is not acted on
/// so; 0: none.
Revision keep_former_ways(ClusterView& view, const std::vector<Lease>& before);
/// Without the store, of a view that was kept: those among `joined` whose routes are learned by now are bgp's.
void take_learned_ways(ClusterView& view);

/// Whether the config still knows this mode as an earlier one.
bool is_earlier(const NetworkConfig& config, std::string_view mode);

}  // namespace knet
