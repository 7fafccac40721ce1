// The bench's traffic between two network namespaces, without any program: TCP streams, small datagrams, round trips.
// Sockets belong to the namespace in which they are made; the threads that drive them stay in ours. Each call runs its
// own threads and joins them before it returns. Throws Error{kernel} if nothing arrives. Not for use on real networks:
// it sends as fast as it can.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/ip.h"

namespace knet {

struct TrafficEnd {
  int netns_fd = -1;
  IpAddr ip;
};

/// Traffic runs for both; what passes during `window` is counted.
struct TrafficTime {
  std::chrono::milliseconds warmup{200};
  std::chrono::milliseconds window{1000};
};

struct StreamRate {
  double bits_per_second = 0;  // of payload, taken in at the far end
  double cpu_per_gb = 0;       // seconds that this machine's cores were busy (with whatever) per 10^9 bytes
};

/// `streams` connections at once, each written to in large pieces and read until the time is over.
StreamRate tcp_streams(const TrafficEnd& from, const TrafficEnd& to, unsigned streams, const TrafficTime& time);

struct DatagramRate {
  double received_per_second = 0;
  double loss = 0;  // 0 to 1, of what was sent in the same time
};

/// One sender with payloads of kDatagram bytes, as many as go.
inline constexpr uint32_t kDatagram = 64;
DatagramRate udp_datagrams(const TrafficEnd& from, const TrafficEnd& to, const TrafficTime& time);

struct RoundTrips {
  double median_us = 0;
  double p99_us = 0;
  uint64_t count = 0;
};

/// One datagram of kDatagram bytes at a time, there and back, between two sleeping readers.
RoundTrips udp_round_trips(const TrafficEnd& from, const TrafficEnd& to, const TrafficTime& time);

}  // namespace knet
