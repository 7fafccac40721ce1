// The agent at work: the one epoll loop that owns the node's state. Store threads post messages to it, the kernel and
// CNI wake it by events; it keeps the view, runs the reconciler, publishes the status. agent_loop.cpp waits and
// dispatches, agent_view.cpp makes the view out of what came in, agent_mode.cpp changes from one mode to another and
// keeps the modes' services, agent_status.cpp says how things stand.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "agent/endpoint_watch.h"
#include "agent/enrol.h"
#include "agent/lease_keeper.h"
#include "agent/mailbox.h"
#include "agent/published.h"
#include "agent/reconciler.h"
#include "agent/status_server.h"
#include "agent/store_watch.h"
#include "agent/view_cache.h"
#include "core/rollover.h"
#include "kernel/linux_plane.h"
#include "kernel/monitor.h"

namespace knet {

class AgentLoop {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;

  /// `signals`: a signalfd of SIGTERM, SIGINT and SIGHUP; `single`: the claimed namespace. Both outlive the loop.
  AgentLoop(const AgentOptions& options, int signals, int single);
  ~AgentLoop();
  /// Until a signal. Throws Error{conflict} if this node may not have what it asks for and never had it.
  int run();

 private:
  // Waiting and dispatching.
  void watch(int fd);
  void wait();
  void dispatch(int fd);
  void take_signals();
  void soon(Time now);  // coalesces
  void at_once();
  void turn();
  void timers();
  Time next_wake() const;

  // What came in, and the view made of it.
  void on(StoreStateMessage& message);
  void on(SnapshotMessage& message);
  void on(EventsMessage& message);
  void on(LeaseMessage& message);
  void on(RenewedMessage& message);
  void on(LeaseTroubleMessage& message);
  void on(SpeakingMessage& message);
  void on(LearnedMessage& message);
  void on(PartMessage& message);
  void on_changes(const Membership::Change& change, Revision at);
  void use_config(const std::string& json);
  void use_cache();
  void look_at_host(const Observed& observed, Kinds kinds);
  void look_for_flannel(const NetState& state);
  void refresh_self(const Observed& observed);
  void announce();
  std::string no_pods_why() const;
  bool is_to_have_subnet();
  bool note_nodes();
  void make_view();
  void write_files();
  void save_cache();

  // The modes: which is announced, which are received, what runs for them.
  std::string current_mode() const;
  void begin_announcing(const Lease& fresh, Acquired::How how);
  void switch_over();
  void reap_modes();
  void reap_soon();
  std::vector<std::string> still_received() const;
  const NodeSpec* own_spec() const;
  void keep_former_ways(ClusterView& view, bool live);
  void ask_kernel(ClusterView& view);
  void drop_services(const ClusterView& view);
  void make_service(const Mode& mode);
  void follow_with_services();
  void tell_what_runs();
  std::vector<std::string> service_troubles() const;

  // How things stand.
  void publish();
  void log_turn(const Reconciler::Turn& turn);
  std::vector<std::string> unready() const;
  std::vector<std::string> degraded() const;
  void log_conditions(const StatusSnapshot& status);
  void tell_service(const std::vector<std::string>& unready);

  AgentOptions options_;
  Identity identity_;
  Mailbox mailbox_;
  std::unique_ptr<StoreWatch> store_watch_;
  std::unique_ptr<LeaseKeeper> keeper_;
  LinuxPlane plane_;
  KernelMonitor monitor_;
  EndpointWatch endpoints_;
  Reconciler reconciler_;
  Membership membership_;
  Published published_;
  std::unique_ptr<StatusServer> server_;
  Fd epoll_;
  int signals_;
  int single_;

  // The view's parts.
  std::string config_json_;       // as last read, used or refused
  std::string used_config_json_;  // what config_ was read from
  std::optional<NetworkConfig> config_;
  std::string config_trouble_;
  std::optional<LocalNode> self_;  // without its lease
  std::string self_trouble_;
  std::string flannel_trouble_;
  std::optional<Time> other_uplink_since_;  // another device would be chosen; we wait whether it stays so
  std::optional<Time> uplink_check_at_;
  std::vector<Endpoint> pods_;  // whose links were seen
  std::optional<Lease> lease_;
  bool speaking_ = false;               // we have no lease and are to have none
  bool announced_subnet_ = true;        // the keeper was told to have one
  std::optional<Time> pods_refused_;    // since when CNI is told to make no more
  std::optional<Time> pods_check_at_;   // whether the last pod has gone
  std::shared_ptr<const std::vector<LearnedRoute>> learned_;
  bool learned_whole_ = false;
  Revision unlearned_ = 0;  // the earliest announcement of bgp by a peer whose route we wait for; 0: none
  std::optional<AcquireRequest> announced_;
  std::string lease_trouble_;
  bool synced_ = false;                        // a complete snapshot came
  bool cached_ = false;                        // the reconciler works from the cache
  std::optional<CachedView> cache_;            // as loaded, with a subnet; until the store answers
  Revision seen_ = 0;                          // of leases and config
  std::vector<std::string> firewalls_;         // that drop pods' traffic and can't be opened by us
  std::vector<std::string> conflicts_;         // leases that drop_conflicts put out
  std::map<Prefix, std::string> known_nodes_;  // by subnet: nodes that gave a sign of life since we run
  bool view_dirty_ = false;                    // something came in that the reconciler's view lacks

  // The modes.
  Rollover rollover_;
  bool stands_ = false;                   // the receiving side of the config's mode
  std::string mode_trouble_;              // why the config's mode is not announced
  std::optional<KernelFeatures> kernel_;  // asked once, when a mode that wants to know takes part
  std::vector<std::pair<std::string, std::string>> runs_here_;  // NodeRecord::modes
  struct Running {
    std::shared_ptr<Service> service;
    Time since;
    uint64_t number = 0;
  };
  std::map<const Mode*, Running> services_;                     // of the modes that take part and have one
  uint64_t made_services_ = 0;                                  // so many
  uint64_t learning_ = 0;                                       // the number of the one whose routes count
  bool ran_before_;                                             // BGP of this node, in this boot, before us
  bool parting_ = false;                                        // the node leaves
  std::shared_ptr<const DesiredState> serviced_;                // the services are those of this state
  std::map<std::string, Datapath> datapaths_;                   // by mode, of those that take part

  // Store.
  std::string where_;
  bool connected_ = false;
  std::string store_error_;
  int64_t store_since_ = 0;
  int64_t lease_until_ = 0;

  // Times.
  Time started_;
  int64_t started_unix_;
  std::optional<Time> quiet_from_, burst_from_;  // of events not yet acted on
  bool now_ = true;                              // act without waiting for quiet
  std::optional<Time> retry_at_;                 // after a turn that failed as a whole
  std::optional<Time> save_at_;
  std::optional<Time> trim_at_;  // memory is given back after a large change
  std::optional<Time> reap_at_;  // when a mode may no longer be received
  std::optional<Time> switch_at_;  // when the config's mode may be announced
  std::optional<Time> tell_at_;  // when the others are told what this kernel runs
  Time last_save_{};
  bool fresh_start_ = true;  // nothing applied yet
  bool service_told_ = false;
  std::vector<std::string> told_unready_;
  bool stopping_ = false;
  std::optional<Error> fatal_;

  // Counters.
  uint64_t turns_ = 0, applied_ = 0, repairs_ = 0, failed_ops_ = 0;
  double first_route_seconds_ = 0;
  int64_t last_turn_ms_ = 0;
  std::set<std::string> logged_;  // lasting conditions that the log has
};

}  // namespace knet
