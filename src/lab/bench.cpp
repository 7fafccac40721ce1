#include "lab/bench.h"

#include <sys/wait.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "kernel/lab_links.h"
#include "kernel/netns.h"
#include "kernel/shortcut.h"
#include "lab/echo.h"
#include "lab/lab_down.h"
#include "lab/lab_up.h"
#include "lab/traffic.h"

namespace knet {
namespace {

using std::chrono::milliseconds;

using Clock = std::chrono::steady_clock;

constexpr milliseconds kFirstAnswer{3000}, kLookAgain{50};
constexpr std::chrono::seconds kShortcutTime{10};
constexpr double kGigabit = 1e9;
enum class Test { tcp, tcp4, datagrams, trips };
constexpr std::array<std::string_view, kBenchTests> kTests{"one TCP stream", "four TCP streams", "datagrams", "round trips"};

/// A lab that goes with its owner.
class OwnLab {
 public:
  explicit OwnLab(Lab lab) : lab_(std::move(lab)) {}
  OwnLab(const OwnLab&) = delete;
  OwnLab& operator=(const OwnLab&) = delete;
  ~OwnLab() {
    try {
      tear_down(lab_);
    } catch (...) {  // the namespaces and processes end with this process at the latest
    }
    for (const LabNode& node : lab_.nodes) waitpid(node.agent.pid, nullptr, WNOHANG);
  }
  TrafficEnd end(const Fd& netns, size_t node) const { return {netns.get(), lab_.nodes[node].pods.front().addresses.front()}; }
  /// Each node takes established TCP past its stack, at the uplink and the pod's link.
  bool has_shortcuts() const {
    return std::all_of(lab_.nodes.begin(), lab_.nodes.end(), [&](const LabNode& node) {
      const Fd netns = open_netns(lab_.netns_path(node.name));
      size_t attached = 0;
      in_netns(netns.get(), [&] {
        for (const Shortcut& one : read_shortcuts()) attached += one.intact;
      });
      return attached == 2;
    });
  }
  Fd pod_netns(size_t node) const { return open_netns(lab_.netns_path(lab_.nodes[node].pods.front().name)); }

 private:
  Lab lab_;
};

/// Two ends between which traffic runs, and what keeps them.
struct Pair {
  std::unique_ptr<OwnLab> lab;
  Fd from_netns, to_netns;
  TrafficEnd from, to;
};

void check_reach(const Pair& pair) {
  const EchoResult answer = echo_all({{pair.from.netns_fd, {pair.to.ip}}}, kFirstAnswer).front().front();
  if (!answer.ms) fail(ErrorKind::kernel, "{} does not reach {}: {}", pair.from.ip.str(), pair.to.ip.str(), answer.why);
}

Pair raw_pair(const BenchWords& words) {
  Pair pair;
  const auto make = [](const char* name) {
    add_named_netns(name);
    return open_netns(named_netns_path(name));
  };
  pair.from_netns = make("bench-raw-1");
  pair.to_netns = make("bench-raw-2");
  const Family family = words.v6 ? Family::v6 : Family::v4;
  const Prefix segment = lab_segment(0, family);
  pair.from = {pair.from_netns.get(), segment.addr().plus(1)};
  pair.to = {pair.to_netns.get(), segment.addr().plus(2)};
  auto nic = [&](const TrafficEnd& end, const char* port) {
    return LabNic{end.netns_fd, DevName("eth0"), DevName(port), 0, {Prefix(end.ip, segment.length())}, {}};
  };
  join_namespaces(nic(pair.from, "raw-1"), nic(pair.to, "raw-2"), kLabMtu);
  check_reach(pair);
  return pair;
}

Pair lab_pair(const BenchPath& path, const BenchWords& words, size_t number) {
  Lab lab = plan_lab(lab_words(path, words, number));
  lab.tied = lab.cable = true;  // a switch would cost as much as a node, and is no part of one
  Pair pair;
  pair.lab = std::make_unique<OwnLab>(lab_up(std::move(lab), {}));
  pair.from_netns = pair.lab->pod_netns(0);
  pair.to_netns = pair.lab->pod_netns(1);
  pair.from = pair.lab->end(pair.from_netns, 0);
  pair.to = pair.lab->end(pair.to_netns, 1);
  check_reach(pair);
  // The agent asks the kernel for it after its start.
  const bool shortcut = path.datapath == "bpf" && mode_registry().get(path.mode).takes_shortcuts({});
  for (const auto end = Clock::now() + kShortcutTime; shortcut && !pair.lab->has_shortcuts(); std::this_thread::sleep_for(kLookAgain))
    if (Clock::now() > end) fail(ErrorKind::kernel, "no shortcut on its nodes after {} s", kShortcutTime.count());
  return pair;
}

void measure(Test test, const Pair& pair, const TrafficTime& time, BenchSeries& out) {
  switch (test) {
    case Test::tcp: {
      const StreamRate rate = tcp_streams(pair.from, pair.to, 1, time);
      out.of(Figure::tcp).push_back(rate.bits_per_second / kGigabit);
      out.of(Figure::cpu).push_back(rate.cpu_per_gb);
      return;
    }
    case Test::tcp4: out.of(Figure::tcp4).push_back(tcp_streams(pair.from, pair.to, 4, time).bits_per_second / kGigabit); return;
    case Test::datagrams: {
      const DatagramRate rate = udp_datagrams(pair.from, pair.to, time);
      out.of(Figure::datagrams).push_back(rate.received_per_second);
      out.of(Figure::loss).push_back(rate.loss * 100);
      return;
    }
    case Test::trips: {
      const RoundTrips trips = udp_round_trips(pair.from, pair.to, time);
      out.of(Figure::trip).push_back(trips.median_us);
      out.of(Figure::trip99).push_back(trips.p99_us);
      return;
    }
  }
}

/// All paths, up at once, and what has been measured on them.
class Bench {
 public:
  Bench(const BenchPlan& plan, const BenchProgress& progress) : plan_(plan), progress_(progress), pairs_(plan.paths.size()) {
    result_.plan = plan;
    result_.paths.resize(plan.paths.size());
  }

  BenchResult run() {
    for (size_t i = 0; i < pairs_.size(); ++i) {
      tell("bringing up " + plan_.paths[i].name);
      attempt(i, [&] { pairs_[i] = i == 0 ? raw_pair(plan_.words) : lab_pair(plan_.paths[i], plan_.words, i); });
    }
    for (int round = 0; round < plan_.words.rounds; ++round)
      for (size_t test = 0; test < kBenchTests; ++test) measure_all(round, test);
    tell("taking it down");
    pairs_.clear();
    return std::move(result_);
  }

 private:
  /// One test on each path. Each round begins with another path: none is always the one after the longest pause.
  void measure_all(int round, size_t test) {
    const TrafficTime time{bench_warmup(plan_.words), bench_window(plan_.words)};
    for (size_t step = 0; step < pairs_.size(); ++step) {
      const size_t i = (step + static_cast<size_t>(round)) % pairs_.size();
      if (!pairs_[i]) continue;
      tell(fmt::format("round {} of {}: {}, {}", round + 1, plan_.words.rounds, plan_.paths[i].name, kTests[test]));
      attempt(i, [&] { measure(static_cast<Test>(test), *pairs_[i], time, result_.paths[i].series); });
      ++done_;
    }
  }

  template <typename Work>
  void attempt(size_t i, const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      const BenchPath& path = plan_.paths[i];
      if (path.mode.empty() || is_reference(path.mode, path.datapath)) throw with_context(error, path.name);
      result_.paths[i] = {{}, error.text};
      pairs_[i].reset();
    }
  }

  void tell(const std::string& step) const {
    const size_t all = plan_.paths.size() * kBenchTests * static_cast<size_t>(plan_.words.rounds);
    const auto left = bench_time(plan_) * (all - std::min(done_, all)) / all;
    if (progress_) progress_(step, std::chrono::ceil<std::chrono::seconds>(left));
  }

  const BenchPlan& plan_;
  const BenchProgress& progress_;
  std::vector<std::optional<Pair>> pairs_;
  BenchResult result_;
  size_t done_ = 0;
};

}  // namespace

BenchResult run_bench(const BenchPlan& plan, const BenchProgress& progress) { return Bench(plan, progress).run(); }

}  // namespace knet
