// What the agent's service threads tell its loop: typed messages through a queue whose eventfd the loop polls.
// Any thread posts; only the loop takes.
#pragma once

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "core/membership.h"
#include "core/view.h"
#include "store/cluster_store.h"

namespace knet {

/// The watching connection came or went.
struct StoreStateMessage {
  bool connected;
  std::string why;
};
/// All keys below the prefix at one revision.
struct SnapshotMessage {
  std::vector<StoreEvent> all;
  Revision rev;
};
/// Changes after the snapshot, in order.
struct EventsMessage {
  std::vector<StoreEvent> events;
  Revision rev;
};
/// Our subnet was taken, or taken again, or its content changed.
struct LeaseMessage {
  Lease lease;
  Acquired::How how;
  std::vector<std::string> notices;
};
/// The lease lives on, by the store's word.
struct RenewedMessage {};
/// We take part without a subnet; what we held was given back.
struct SpeakingMessage {};
/// What the keeper of the lease could not do; it goes on trying.
struct LeaseTroubleMessage {
  ErrorKind kind;
  std::string text;  // empty: it is over
};

/// All routes that a mode's service has learned (ServiceHost::learned). `service`: the how manyth that we made.
struct LearnedMessage {
  std::shared_ptr<const std::vector<LearnedRoute>> routes;
  bool whole;
  uint64_t service;
};
/// `knet leave` runs: we are about to be stopped, and not to come back.
struct PartMessage {};

using AgentMessage = std::variant<StoreStateMessage, SnapshotMessage, EventsMessage, LeaseMessage, RenewedMessage,
                                  SpeakingMessage, LeaseTroubleMessage, LearnedMessage, PartMessage>;

class Mailbox {
 public:
  Mailbox() : bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!bell_) throw_errno(errno, "make an eventfd");
  }
  int fd() const { return bell_.get(); }

  void post(AgentMessage message) {
    {
      std::lock_guard lock(mutex_);
      messages_.push_back(std::move(message));
    }
    const uint64_t one = 1;
    [[maybe_unused]] ssize_t n = write(bell_.get(), &one, sizeof one);
  }
  std::vector<AgentMessage> take() {
    uint64_t count;
    [[maybe_unused]] ssize_t n = read(bell_.get(), &count, sizeof count);
    std::lock_guard lock(mutex_);
    return std::exchange(messages_, {});
  }

 private:
  Fd bell_;
  std::mutex mutex_;
  std::vector<AgentMessage> messages_;
};

}  // namespace knet
