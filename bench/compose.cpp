// compose and diff of 5,000 and 10,000 vxlan and host-gw peers: time and bytes. The reference of the same run is the
// least that any planner must do with so many objects: copying the desired state and sorting it by key.
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "core/compose.h"

using namespace knet;

namespace {

using Clock = std::chrono::steady_clock;

ClusterView cluster(const char* mode, uint32_t peers) {
  ClusterView view;
  view.config.network = *Prefix::parse("10.0.0.0/8");
  view.config.mode = mode;
  LocalNode& self = view.self;
  self.name = "n0";
  self.public_ip = *IpAddr::parse("172.16.0.1");
  self.uplink.dev = DevName("eth0");
  self.uplink.mtu = 1500;
  self.uplink.address = *Prefix::parse("172.16.0.1/12");
  self.lease.subnet = *Prefix::parse("10.255.0.0/24");
  self.lease.mode = mode;
  view.leases.reserve(peers);
  for (uint32_t i = 0; i < peers; ++i) {
    Lease lease;
    lease.subnet = Prefix(IpAddr::v4(0x0a000000 + (i << 8)), 24);
    lease.public_ip = IpAddr::v4(0xac100002 + i);
    lease.mode = mode;
    const Mac mac{{2, 0, 1, static_cast<uint8_t>(i >> 16), static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)}};
    if (lease.mode == "vxlan") lease.data.v4 = R"({"VNI":1,"VtepMAC":")" + mac.str() + "\"}";
    view.leases.push_back(std::move(lease));
    view.names.push_back("n" + std::to_string(i + 1));
  }
  return view;
}

// What a kernel that holds all of it would show.
Observed settled(const DesiredState& desired) {
  Observed seen;
  seen.net = desired.net;
  seen.complete = all_kinds();
  for (Link& link : seen.net.links) link.ours = true;
  Link uplink;
  uplink.name = DevName("eth0");
  uplink.type = LinkType::veth;
  seen.net.links.push_back(uplink);
  sort_by_key(seen.net);
  return seen;
}

// The best of a few runs, in milliseconds: the machine is shared.
template <typename Work>
double best(Work&& work) {
  double least = 1e9;
  for (int i = 0; i < 7; ++i) {
    const auto start = Clock::now();
    work();
    least = std::min(least, std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  return least;
}

size_t in_use() { return mallinfo2().uordblks + mallinfo2().hblkhd; }

void measure(const char* mode, uint32_t peers) {
  const ClusterView view = cluster(mode, peers);
  const Ownership own = ownership_of(view);
  const size_t before = in_use();
  const DesiredState desired = compose(view, mode_registry());
  const size_t desired_bytes = in_use() - before;
  const Observed seen = settled(desired);
  Observed empty;
  empty.complete = all_kinds();
  for (const Link& link : seen.net.links)
    if (!link.ours) empty.net.links.push_back(link);

  const size_t before_plan = in_use();
  const Plan full = diff(desired, empty, own);
  const size_t plan_bytes = in_use() - before_plan;

  const double reference = best([&] {
    NetState copy = desired.net;
    for_each_kind(copy, [](auto& objects) { std::reverse(objects.begin(), objects.end()); });
    sort_by_key(copy);
  });
  const double compose_ms = best([&] { compose(view, mode_registry()); });
  const double first_ms = best([&] { diff(desired, empty, own); });
  size_t idle_ops = 0;
  const double idle_ms = best([&] { idle_ops = diff(desired, seen, own).size(); });
  std::printf(
      "%-8s %6u peers: compose %6.2f ms (%4.1fx), diff to empty %6.2f ms (%4.1fx), diff to settled %6.2f ms (%4.1fx), "
      "copy+sort %5.2f ms; desired %4zu kB, plan %4zu kB for %zu ops, settled plan %zu ops\n",
      mode, peers, compose_ms, compose_ms / reference, first_ms, first_ms / reference, idle_ms, idle_ms / reference,
      reference, desired_bytes / 1024, plan_bytes / 1024, full.size(), idle_ops);
}

}  // namespace

int main() {
  for (const char* mode : {"vxlan", "host-gw"})
    for (const uint32_t peers : {5000u, 10000u}) measure(mode, peers);
}
