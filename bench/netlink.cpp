// 5,000 peers into an empty network namespace by LinuxPlane::apply, against `ip -batch` and `bridge -batch` with the
// same content in the same run, for vxlan (neighbour, fdb entry, nexthop, route each) and host-gw (nexthop, route
// each); and a pod's veth by add_pod_link against the `ip` commands for the like. Needs root; touches nothing outside
// its namespaces.
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "core/plan.h"
#include "kernel/linux_plane.h"
#include "kernel/netns.h"
#include "kernel/pod_link.h"

using namespace knet;

namespace {

constexpr uint32_t kPeers = 5000;
constexpr int kRuns = 5;
constexpr int kPods = 20;

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void must(const std::string& command) {
  if (system(command.c_str()) != 0) fail(ErrorKind::kernel, "'{}' failed", command);
}

/// A fresh namespace with eth0 192.168.0.1/16 for the calling thread.
void enter_fresh_netns() {
  if (unshare(CLONE_NEWNET) < 0) throw_errno(errno, "make a network namespace");
  must(
      "ip link set lo up; ip link add eth0 type veth peer name eth1; ip link set eth0 up; ip link set eth1 up; "
      "ip address add 192.168.0.1/16 dev eth0; ip link show eth0 > /dev/null");
}

Mac mac_of(uint32_t peer) { return Mac{{2, 0, 0, 0, static_cast<uint8_t>(peer >> 8), static_cast<uint8_t>(peer)}}; }

DesiredState desired_state(bool vxlan) {
  DesiredState desired;
  NetState& net = desired.net;
  const DevName dev(vxlan ? "knet.1" : "eth0");
  if (vxlan) {
    Link link;
    link.name = dev;
    link.type = LinkType::vxlan;
    link.mtu = 1450;
    link.vxlan = VxlanAttrs{1, 8472, *IpAddr::parse("192.168.0.1"), DevName("eth0"), false};
    net.links.push_back(link);
  }
  for (uint32_t i = 2; i < 2 + kPeers; ++i) {
    const IpAddr subnet = IpAddr::v4(0x0a800000 + i * 256), outer = IpAddr::v4(0xc0a80000 + i);
    if (vxlan) {
      net.neighbors.push_back({dev, subnet, mac_of(i), {}});
      net.fdb.push_back({dev, mac_of(i), outer, {}});
    }
    Nexthop nexthop;
    nexthop.dev = dev;
    nexthop.via = vxlan ? subnet : outer;
    nexthop.onlink = vxlan;
    net.nexthops.push_back(nexthop);
    Route route;
    route.dst = Prefix(subnet, 24);
    route.dev = dev;
    route.via = nexthop.via;
    route.onlink = vxlan;
    route.by_nexthop = true;
    net.routes.push_back(route);
  }
  sort_by_key(net);
  return desired;
}

/// The same for iproute2; `nexthops` false: routes that carry their gateway, as flannel makes them.
void write_batches(const std::string& path, bool vxlan, bool nexthops) {
  std::ofstream ip(path + ".ip"), bridge(path + ".bridge");
  const std::string dev = vxlan ? "knet.1" : "eth0";
  if (vxlan)
    ip << "link add knet.1 type vxlan id 1 dstport 8472 local 192.168.0.1 dev eth0 nolearning\nlink set knet.1 up\n";
  for (uint32_t i = 2; i < 2 + kPeers; ++i) {
    const std::string subnet = IpAddr::v4(0x0a800000 + i * 256).str(), outer = IpAddr::v4(0xc0a80000 + i).str();
    const std::string via = (vxlan ? subnet : outer) + " dev " + dev + (vxlan ? " onlink" : "");
    if (vxlan) {
      ip << "neigh add " << subnet << " lladdr " << mac_of(i).str() << " dev knet.1 nud permanent\n";
      bridge << "fdb add " << mac_of(i).str() << " dev knet.1 dst " << outer << " self permanent\n";
    }
    if (nexthops) {
      ip << "nexthop add id " << i << " via " << via << " proto 107\n";
      ip << "route add " << subnet << "/24 nhid " << i << " proto 107\n";
    } else {
      ip << "route add " << subnet << "/24 via " << via << " proto 107\n";
    }
  }
}

double by_plane(const DesiredState& desired, double& observed) {
  Ownership own;
  own.networks = {*Prefix::parse("10.128.0.0/9")};
  LinuxPlane plane;
  const Observed before = plane.observe(all_kinds());
  const Plan plan = diff(desired, before, own);
  auto start = Clock::now();
  const auto failures = plane.apply(plan);
  const double time = ms_since(start);
  if (!failures.empty()) fail(ErrorKind::kernel, "{} ops failed: {}", failures.size(), failures[0].reason);
  start = Clock::now();
  const Observed after = plane.observe(all_kinds());
  observed = ms_since(start);
  if (!diff(desired, after, own).empty()) fail(ErrorKind::bug, "what was applied is not what is seen");
  return time;
}

double by_iproute2(const std::string& batches) {
  const auto start = Clock::now();
  must("ip -batch " + batches + ".ip && bridge -batch " + batches + ".bridge");
  return ms_since(start);
}

/// In a thread of its own, whose namespace dies with it.
template <typename Work>
double in_fresh_netns(Work work) {
  double result = 0;
  std::string error;
  std::thread([&] {
    try {
      enter_fresh_netns();
      result = work();
    } catch (const Error& failed) {
      error = failed.text;
    }
  }).join();
  if (!error.empty()) throw Error(ErrorKind::kernel, error);
  return result;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void bench_peers(const std::string& directory, bool vxlan) {
  const DesiredState desired = desired_state(vxlan);
  const std::string with = directory + "/nexthops", without = directory + "/gateways";
  write_batches(with, vxlan, true);
  write_batches(without, vxlan, false);
  std::vector<double> ours, observes, nexthops, gateways;
  for (int run = 0; run < kRuns; ++run) {
    double observed = 0;
    ours.push_back(in_fresh_netns([&] { return by_plane(desired, observed); }));
    observes.push_back(observed);
    nexthops.push_back(in_fresh_netns([&] { return by_iproute2(with); }));
    gateways.push_back(in_fresh_netns([&] { return by_iproute2(without); }));
  }
  const char* mode = vxlan ? "vxlan" : "host-gw";
  std::printf(
      "%-8s %u peers: knet %.0f ms; ip -batch with nexthop objects %.0f ms (knet %.2f of it), with gateways %.0f ms "
      "(knet %.2f of it); observing them all %.0f ms\n",
      mode, kPeers, median(ours), median(nexthops), median(ours) / median(nexthops), median(gateways),
      median(ours) / median(gateways), median(observes));
}

double pods_by_knet() {
  std::vector<double> times;
  for (int i = 0; i < kPods; ++i) {
    Fd netns;
    std::thread([&] {
      if (unshare(CLONE_NEWNET) == 0) netns = current_netns();
    }).join();
    PodLinkRequest request;
    request.host_dev = DevName(fmt::format("knet{:011x}", i));
    request.ifname = "eth0";
    request.netns_fd = netns.get();
    request.mtu = 1450;
    request.addresses = {IpAddr::v4(0x0af40102 + static_cast<uint32_t>(i)),
                         IpAddr::parse("fd10:0:0:1::2")->plus(static_cast<uint64_t>(i))};
    const auto start = Clock::now();
    add_pod_link(request);
    times.push_back(ms_since(start));
  }
  return median(times);
}

/// Only the link, an address and a route, by one batch on each side: less than add_pod_link does.
double pods_by_ip() {
  std::vector<double> times;
  for (int i = 0; i < kPods; ++i) {
    pid_t pod = fork();
    if (pod == 0) {
      if (unshare(CLONE_NEWNET) < 0) _exit(1);
      pause();
      _exit(0);
    }
    const std::string pid = std::to_string(pod), dev = fmt::format("knet{:011x}", i);
    must("while [ $(readlink /proc/" + pid + "/ns/net) = $(readlink /proc/self/ns/net) ]; do :; done");
    const auto start = Clock::now();
    must("ip link add " + dev + " mtu 1450 type veth peer name eth0 netns " + pid + " && ip link set " + dev +
         " up && ip route add 10.244.1." + std::to_string(2 + i) + " dev " + dev + " && nsenter -t " + pid +
         " -n ip -batch - <<END\nlink set eth0 up\naddress add 10.244.1." + std::to_string(2 + i) +
         "/32 dev eth0\nroute add 169.254.1.1 dev eth0\nroute add default via 169.254.1.1\nEND");
    times.push_back(ms_since(start));
    kill(pod, SIGKILL);
    waitpid(pod, nullptr, 0);
  }
  return median(times);
}

void bench_pods() {
  double ours = in_fresh_netns(pods_by_knet);
  double theirs = in_fresh_netns(pods_by_ip);
  std::printf("pod veth, both families: knet %.2f ms; the ip commands for less %.2f ms (knet %.2f of it)\n", ours,
              theirs, ours / theirs);
}

}  // namespace

int main() {
  if (geteuid() != 0) {
    std::printf("skip: needs root\n");
    return 0;
  }
  char directory[] = "/tmp/knet-bench-XXXXXX";
  if (!mkdtemp(directory)) return 1;
  int status = 0;
  try {
    bench_peers(directory, true);
    bench_peers(directory, false);
    bench_pods();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    status = 1;
  }
  must(std::string("rm -r ") + directory);
  return status;
}
