#include "agent/lease_keeper.h"

#include <algorithm>

#include "base/log.h"

namespace knet {
namespace {

constexpr std::chrono::milliseconds kFirstPause{200};
constexpr std::chrono::milliseconds kLongestPause{15'000};

}  // namespace

LeaseKeeper::LeaseKeeper(const StoreOptions& options, Mailbox& mailbox)
    : options_(options), mailbox_(mailbox) {
  open();
  thread_ = std::thread([this] { run(); });
}

LeaseKeeper::~LeaseKeeper() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void LeaseKeeper::open() {
  auto fresh = open_store(options_);
  cluster_.reset();
  store_ = std::move(fresh);
  cluster_.emplace(*store_, StorePaths{options_.prefix});
}

void LeaseKeeper::announce(AcquireRequest request, bool subnet) {
  std::lock_guard lock(mutex_);
  orders_.request = std::move(request);
  orders_.subnet = subnet;
  ordered_ = true;
  wake_.notify_all();
}

void LeaseKeeper::disturbed(Revision at) {
  std::lock_guard lock(mutex_);
  orders_.disturbed = at;
  ordered_ = true;
  wake_.notify_all();
}

void LeaseKeeper::reconnected() {
  std::lock_guard lock(mutex_);
  orders_.reconnected = true;
  ordered_ = true;
  wake_.notify_all();
}

void LeaseKeeper::redial() {
  std::lock_guard lock(mutex_);
  orders_.redial = true;  // nobody is woken: it is the next request that wants it
}

void LeaseKeeper::seen(Revision rev, size_t nodes, bool hurry) {
  std::lock_guard lock(mutex_);
  const bool news = rev != orders_.seen || hurry != orders_.hurry;
  orders_.seen = rev;
  orders_.nodes = nodes;
  orders_.hurry = hurry;
  if (!news) return;
  ordered_ = true;
  wake_.notify_all();
}

LeaseKeeper::Clock::time_point LeaseKeeper::seen_due() const {
  const auto least = hurry_ ? kSeenHurried : kSeenAtLeast;
  return seen_told_ + std::max<std::chrono::milliseconds>(least, kSeenPerNode * static_cast<int64_t>(nodes_));
}

LeaseKeeper::Clock::time_point LeaseKeeper::next_due() const {
  if (!lease_ && !speaking_) return Clock::time_point::max();  // waits for an announcement
  if (lost_) return retake_at_;
  Clock::time_point due = std::min(renew_at_, presence_at_);
  if (request_ && seen_ != request_->node.seen_rev) due = std::min(due, seen_due());
  return due;
}

void LeaseKeeper::run() {
  std::chrono::milliseconds wait{0};  // after trouble
  for (;;) {
    Orders orders;
    {
      std::unique_lock lock(mutex_);
      const auto until = wait.count() > 0 ? Clock::now() + wait : next_due();
      auto ready = [&] {
        // In trouble, what the cluster does must not make us try more often.
        const bool urgent = orders_.request || orders_.disturbed != 0 || orders_.reconnected;
        return stopping_ || (ordered_ && (urgent || wait.count() == 0));
      };
      if (until == Clock::time_point::max())
        wake_.wait(lock, ready);
      else
        wake_.wait_until(lock, until, ready);
      if (stopping_) return;
      orders = std::exchange(orders_, Orders{{}, true, 0, false, false, orders_.seen, orders_.nodes, orders_.hurry});
      ordered_ = false;
    }
    try {
      work(std::move(orders));
      if (trouble_) mailbox_.post(LeaseTroubleMessage{ErrorKind::store, ""});
      trouble_ = false;
      wait = std::chrono::milliseconds(0);
    } catch (const Error& error) {
      trouble_ = true;
      mailbox_.post(LeaseTroubleMessage{error.kind, error.text});
      wait = std::clamp(wait * 2, kFirstPause, kLongestPause);
    } catch (const std::exception& error) {
      trouble_ = true;
      mailbox_.post(LeaseTroubleMessage{ErrorKind::bug, error.what()});
      wait = kLongestPause;
    }
  }
}

void LeaseKeeper::work(Orders orders) {
  seen_ = orders.seen;
  nodes_ = orders.nodes;
  hurry_ = orders.hurry;
  if (orders.request) {
    if (request_) orders.request->node.seen_rev = request_->node.seen_rev;
    request_ = std::move(*orders.request);
    subnet_ = orders.subnet;
    presence_at_ = Clock::now();  // the record tells of it
  }
  if (orders.redial && !store_->embedded()) open();
  if (orders.reconnected) renew_at_ = presence_at_ = Clock::now();
  // Our own writes come back to us as events too.
  const Revision ours = lease_ ? lease_->rev : speaking_ ? speaking_->rev : orders.disturbed;
  if (orders.disturbed > ours && !lost_) {
    lost_ = true;
    const auto now = Clock::now();
    // Two machines that take themselves for one node would take it from each other as fast as the store can.
    const bool again = retake_at_ != Clock::time_point{} && now < retake_at_ + kCalm;
    retake_wait_ = again ? std::clamp(retake_wait_ * 2, kFirstPause, kLongestPause) : std::chrono::milliseconds{0};
    retake_at_ = now + retake_wait_;
    log::warning("{} was changed or deleted in the store; taking it again",
                 lease_ ? "our lease of " + subnets_text(*lease_) : "our record");
  }
  // What was ordered is kept by now, should the store fail us from here on.
  if (!request_) return;
  const SubnetChoice have = lease_ ? SubnetChoice{lease_->subnet, lease_->subnet6} : SubnetChoice{};
  const auto now = Clock::now();
  if (!subnet_) {
    keep_speaking(now);
  } else if (!lease_ || !fits(request_->config, have) || (lost_ && now >= retake_at_)) {
    take_lease();
  } else if (!lost_) {
    renew(now);  // first: it must not wait for content that the store refuses
    bring_up_to_date();
    silence();
  }
  if (!lost_) tell_presence(Clock::now());
}

void LeaseKeeper::take_lease() {
  if (lease_) request_->previous = {lease_->subnet, lease_->subnet6};
  Acquired acquired = cluster_->acquire(*request_);
  lease_ = std::move(acquired.lease);
  lost_ = false;
  how_ = acquired.how;
  presence_ = std::move(acquired.presence);
  const auto now = Clock::now();
  renew_at_ = now + kRenew;
  presence_at_ = now;  // the record learns our subnet
  mailbox_.post(LeaseMessage{*lease_, how_, std::move(acquired.notices)});
  silence();
}

void LeaseKeeper::bring_up_to_date() {
  Lease content = *lease_;
  content.public_ip = request_->node.public_ip;
  content.public_ip6 = request_->node.public_ip6;
  content.mode = request_->mode;
  content.data = request_->data;
  if (content.same_content(*lease_)) return;
  auto updated = cluster_->update_lease(*lease_, content);
  if (!updated) return take_lease();
  lease_ = std::move(*updated);
  presence_at_ = Clock::now();
  mailbox_.post(LeaseMessage{*lease_, how_, {}});
}

void LeaseKeeper::renew(Clock::time_point now) {
  if (now < renew_at_) return;
  if (lease_->lease_id != 0 && !cluster_->renew(*lease_)) {
    log::warning("our lease of {} has ended; taking it again", subnets_text(*lease_));
    return take_lease();
  }
  renew_at_ = now + kRenew;
  mailbox_.post(RenewedMessage{});
}

// Our own record of a node without a subnet, or one of an earlier life. With a subnet it says nothing that is needed.
void LeaseKeeper::silence() {
  speaking_.reset();
  if (silent_) return;
  cluster_->end_speaking(request_->node.name, request_->node.machine_id);
  silent_ = true;
}

void LeaseKeeper::begin_speaking() {
  silent_ = false;
  speaking_ = cluster_->speak(request_->node);
  if (lease_) log::info("{} was given back: this node runs no pods", subnets_text(*lease_));
  lease_.reset();
  lost_ = false;
  presence_ = std::exchange(speaking_->presence, {});
  const auto now = Clock::now();
  renew_at_ = now + kRenew;
  presence_at_ = now;
  mailbox_.post(SpeakingMessage{});
}

void LeaseKeeper::keep_speaking(Clock::time_point now) {
  if (!speaking_ || (lost_ && now >= retake_at_)) return begin_speaking();
  if (lost_) return;
  if (now >= renew_at_) {
    if (!cluster_->renew(*speaking_)) return begin_speaking();
    renew_at_ = now + kRenew;
    mailbox_.post(RenewedMessage{});
  }
  auto updated = cluster_->update_speaking(*speaking_, request_->node);
  if (!updated) return begin_speaking();
  speaking_ = std::move(updated);
}

void LeaseKeeper::tell_presence(Clock::time_point now) {
  if (seen_ != request_->node.seen_rev && now >= seen_due()) presence_at_ = now;
  if (now < presence_at_) return;
  NodeRecord& node = request_->node;
  node.subnets.clear();
  if (lease_ && lease_->subnet) node.subnets.push_back(lease_->subnet);
  if (lease_ && lease_->subnet6) node.subnets.push_back(lease_->subnet6);
  if (node.seen_rev != seen_) seen_told_ = now;
  node.seen_rev = seen_;
  cluster_->refresh(node, presence_);
  presence_at_ = now + kPresence;
}

}  // namespace knet
