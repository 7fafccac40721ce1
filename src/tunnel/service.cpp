#include "tunnel/service.h"

#include <fmt/core.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "tunnel/carrier.h"

namespace knet {

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kFirstRetry{100}, kLastRetry{5000};
// Of what waits in the device's queue (500 packets) when the pump stops.
constexpr int kLastBatches = 8;

/// The thread that carries. Sleeps in epoll_wait without a limit unless something is missing.
class Pump {
 public:
  explicit Pump(TunnelCounters& counters);
  ~Pump();
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  /// From any thread; takes effect soon.
  void set(CarrierSetup setup);
  /// Something may have changed: what is missing is tried again now.
  void retry() { ring(); }
  std::vector<std::string> troubles() const;

 private:
  void ring();
  void run();
  void carry();
  void take_news();
  void bring_up();
  void watch(int fd, uint64_t tag);
  void dispatch(uint64_t tag);

  Fd bell_, epoll_;
  TunnelCounters& counters_;
  mutable std::mutex mutex_;
  std::optional<CarrierSetup> news_;   // under mutex_
  bool stop_ = false;                  // under mutex_
  std::vector<std::string> troubles_;  // under mutex_
  // The thread's own:
  CarrierSetup setup_;
  std::unique_ptr<Carrier> carrier_;
  bool stopping_ = false;
  milliseconds retry_{0};  // 0: nothing is missing
  Clock::time_point retry_at_;
  std::thread thread_;
};

enum Tag : uint64_t { bell, device, socket4, socket6 };

Pump::Pump(TunnelCounters& counters)
    : bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), epoll_(epoll_create1(EPOLL_CLOEXEC)), counters_(counters) {
  if (!bell_ || !epoll_) throw_errno(errno, "make an eventfd and an epoll for a tunnel");
  watch(bell_.get(), Tag::bell);
  // Signals are the main thread's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const Undo restore([&] { pthread_sigmask(SIG_SETMASK, &before, nullptr); });
  thread_ = std::thread([this] { run(); });
}

Pump::~Pump() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  ring();
  thread_.join();
}

void Pump::set(CarrierSetup setup) {
  {
    std::lock_guard lock(mutex_);
    news_ = std::move(setup);
  }
  ring();
}

std::vector<std::string> Pump::troubles() const {
  std::lock_guard lock(mutex_);
  return troubles_;
}

void Pump::ring() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(bell_.get(), &one, sizeof one);
}

void Pump::watch(int fd, uint64_t tag) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0 && errno != EEXIST)
    throw_errno(errno, "watch a tunnel's file descriptor");
}

void Pump::run() {
  try {
    carry();
  } catch (const std::exception& error) {
    log::error("{}: the tunnel's userspace side ended: {}", setup_.dev.view(), error.what());
    std::lock_guard lock(mutex_);
    troubles_ = {fmt::format("{}: ended: {}; restart the agent", setup_.dev.view(), error.what())};
  }
}

void Pump::carry() {
  carrier_ = std::make_unique<Carrier>(counters_);
  while (!stopping_) {
    epoll_event events[4];
    const int n = epoll_wait(epoll_.get(), events, 4, retry_.count() == 0 ? -1 : static_cast<int>(retry_.count()));
    if (n < 0 && errno != EINTR) throw_errno(errno, "wait for packets");
    if (retry_.count() != 0 && Clock::now() >= retry_at_) {
      retry_ = std::min(2 * retry_, kLastRetry);
      bring_up();
    }
    for (int i = 0; i < n; ++i) dispatch(events[i].data.u64);
  }
  // What the kernel has already queued to us is nobody else's any more.
  for (int i = 0; i < kLastBatches && carrier_->tun_fd() >= 0 && carrier_->from_tun(); ++i) {
  }
}

void Pump::dispatch(uint64_t tag) {
  switch (tag) {
    case Tag::bell:
      return take_news();
    case Tag::device:
      if (carrier_->tun_fd() < 0) return;
      carrier_->from_tun();
      if (carrier_->tun_fd() < 0) bring_up();
      return;
    case Tag::socket4:
    case Tag::socket6: {
      const Family family = tag == Tag::socket4 ? Family::v4 : Family::v6;
      if (carrier_->socket_fd(family) >= 0) carrier_->from_underlay(family);
      return;
    }
  }
}

void Pump::take_news() {
  uint64_t count;
  [[maybe_unused]] const ssize_t n = read(bell_.get(), &count, sizeof count);
  {
    std::lock_guard lock(mutex_);
    stopping_ = stop_;
    if (news_) setup_ = *std::exchange(news_, std::nullopt);
  }
  if (stopping_) return;
  retry_ = milliseconds{0};
  bring_up();
}

void Pump::bring_up() {
  if (!setup_.dev) return;
  pthread_setname_np(pthread_self(), setup_.dev.c_str());
  const bool carried = carrier_->tun_fd() >= 0;
  std::vector<std::string> troubles = carrier_->set(setup_);
  if (carrier_->tun_fd() >= 0) watch(carrier_->tun_fd(), Tag::device);
  for (const Family family : {Family::v4, Family::v6})
    if (const int fd = carrier_->socket_fd(family); fd >= 0) watch(fd, family == Family::v4 ? Tag::socket4 : Tag::socket6);
  if (!carried && carrier_->tun_fd() >= 0) log::debug("{}: attached", setup_.dev.view());
  if (troubles.empty())
    retry_ = milliseconds{0};
  else if (retry_.count() == 0)
    retry_ = kFirstRetry;
  retry_at_ = Clock::now() + retry_;
  std::lock_guard lock(mutex_);
  if (troubles != troubles_)
    for (const std::string& trouble : troubles) log::warning("{}", trouble);
  troubles_ = std::move(troubles);
}

class TunnelService : public Service {
 public:
  explicit TunnelService(DevName dev) : dev_(dev) {}

  void follow(const ClusterView&, const DesiredState& desired) override {
    const auto pump = std::find_if(desired.pumps.begin(), desired.pumps.end(),
                                   [&](const TunnelPump& candidate) { return candidate.dev == dev_; });
    if (pump == desired.pumps.end()) {
      pump_.reset();
      setup_ = {};
      peers_.clear();
      return;
    }
    CarrierSetup setup;
    setup.dev = dev_;
    setup.wire = pump->wire;
    setup.port = pump->port;
    setup.local = pump->local;
    setup.local6 = pump->local6;
    if (pump->underlay_mtu != 0) setup.underlay_mtu = pump->underlay_mtu;
    for (const Address& address : desired.net.addresses)
      if (address.dev == dev_) (address.prefix.is_v6() ? setup.address6 : setup.address) = address.prefix.addr();
    setup.peers = setup_.peers;
    if (!setup.peers || !same_peers(pump->peers)) {
      peers_ = pump->peers;
      setup.peers = std::make_shared<const PeerTable>(peers_);
    }
    if (!pump_) {
      pump_ = std::make_unique<Pump>(counters_);
    } else if (setup == setup_) {
      if (!pump_->troubles().empty()) pump_->retry();
      return;
    }
    setup_ = setup;
    pump_->set(std::move(setup));
  }

  std::vector<std::string> troubles() const override {
    return pump_ ? pump_->troubles() : std::vector<std::string>();
  }

  std::vector<std::pair<std::string, uint64_t>> counters() const override {
    std::vector<std::pair<std::string, uint64_t>> out;
    const auto add = [&](std::string_view name, std::string_view more, TunnelCounters::What what) {
      out.emplace_back(fmt::format("{}{{dev=\"{}\",path=\"user\"{}}}", name, dev_.view(), more), counters_.get(what));
    };
    add("tunnel_sent_packets", "", TunnelCounters::sent_packets);
    add("tunnel_sent_bytes", "", TunnelCounters::sent_bytes);
    add("tunnel_received_packets", "", TunnelCounters::received_packets);
    add("tunnel_received_bytes", "", TunnelCounters::received_bytes);
    add("tunnel_answered_packets", "", TunnelCounters::answered);
    for (int what = TunnelCounters::kFirstDrop; what < TunnelCounters::kCount; ++what)
      add("tunnel_dropped_packets", fmt::format(",why=\"{}\"", TunnelCounters::kNames[static_cast<size_t>(what)]),
          static_cast<TunnelCounters::What>(what));
    return out;
  }

 private:
  bool same_peers(const std::vector<TunnelPeer>& peers) const {
    return std::equal(peers.begin(), peers.end(), peers_.begin(), peers_.end(),
                      [](const TunnelPeer& a, const TunnelPeer& b) {
                        return a.inner == b.inner && a.outer == b.outer && a.port == b.port;
                      });
  }

  const DevName dev_;
  TunnelCounters counters_;
  CarrierSetup setup_;
  std::vector<TunnelPeer> peers_;  // that setup_.peers was built from
  std::unique_ptr<Pump> pump_;     // last: its thread uses the counters
};

}  // namespace

std::unique_ptr<Service> make_tunnel_service(DevName dev) { return std::make_unique<TunnelService>(dev); }

}  // namespace knet
