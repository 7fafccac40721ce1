// The thread that keeps this node in the store: takes its subnet, or, for a node without pods, writes the record by which
// it speaks; brings that up to date, renews it, takes it again when it was lost, and refreshes presence. What it should
// say comes from the loop; what came of it goes to the mailbox.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "agent/mailbox.h"
#include "store/cluster_store.h"

namespace knet {

class LeaseKeeper {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::minutes kRenew{60};
  static constexpr std::chrono::seconds kPresence{20};
  /// All nodes together write at most 20 seen revisions a second.
  static constexpr std::chrono::milliseconds kSeenPerNode{50};
  static constexpr std::chrono::milliseconds kSeenAtLeast{5'000};
  static constexpr std::chrono::milliseconds kSeenHurried{250};  // while somebody waits for it
  /// One that is lost again within this time is taken again later, and later each time.
  static constexpr std::chrono::seconds kCalm{60};

  LeaseKeeper(const StoreOptions& options, Mailbox& mailbox);
  ~LeaseKeeper();  // stops and joins; lease and presence stay

  /// Who we are and what we announce from now on. Takes a subnet if we have none, or none that fits; without `subnet`
  /// gives back what we have.
  void announce(AcquireRequest request, bool subnet = true);
  /// Somebody changed or deleted our lease, or the record of a node without one, at this revision of the store.
  void disturbed(Revision at);
  /// The store answers again: look after the lease at once.
  void reconnected();
  /// The host's addresses are others: what is asked next goes over new connections. Before the announcement of it.
  void redial();
  /// What we have acted on, of leases and config; told to the others by and by, sooner with `hurry` (the cluster's mode
  /// changes). `nodes`: how many tell it. Less than before: the store is an earlier one.
  void seen(Revision rev, size_t nodes, bool hurry);

 private:
  struct Orders {
    std::optional<AcquireRequest> request;  // new since last taken
    bool subnet = true;                     // of the request
    Revision disturbed = 0;
    bool reconnected = false;
    bool redial = false;
    Revision seen = 0;
    size_t nodes = 0;
    bool hurry = false;
  };

  void run();
  void open();
  void work(Orders orders);
  void take_lease();
  void bring_up_to_date();
  void renew(Clock::time_point now);
  void silence();
  void begin_speaking();
  void keep_speaking(Clock::time_point now);
  void tell_presence(Clock::time_point now);
  Clock::time_point next_due() const;
  Clock::time_point seen_due() const;

  StoreOptions options_;
  Mailbox& mailbox_;
  std::unique_ptr<Store> store_;
  std::optional<ClusterStore> cluster_;  // over store_

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool ordered_ = false;
  Orders orders_;

  // The thread's own.
  std::optional<AcquireRequest> request_;
  bool subnet_ = true;  // what we are to have
  std::optional<Lease> lease_;
  std::optional<Speaking> speaking_;  // in the place of a lease
  bool silent_ = false;               // no record of ours is in the store that says otherwise
  bool lost_ = false;  // by the store's word; to be taken again at retake_at_
  Acquired::How how_ = Acquired::How::chosen;
  Presence presence_;
  Revision seen_ = 0;  // as we would tell it
  size_t nodes_ = 0;
  bool hurry_ = false;
  Clock::time_point renew_at_{}, presence_at_{}, seen_told_{}, retake_at_{};
  std::chrono::milliseconds retake_wait_{0};  // grows while somebody keeps taking it from us
  bool trouble_ = false;
  std::thread thread_;
};

}  // namespace knet
