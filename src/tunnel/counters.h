// What one tunnel's userspace side did: written by its thread alone, read by any.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace knet {

class TunnelCounters {
 public:
  enum What : uint8_t {
    sent_packets,
    sent_bytes,
    received_packets,
    received_bytes,
    answered,     // ICMP errors
    // drops:
    not_member,   // from an outer address that is no peer's
    spoofed,      // from a peer, with an inner source that isn't its own
    malformed,    // headers that contradict themselves or each other
    too_big,      // more than a packet can have, or more than the path to the peer takes
    no_peer,      // nobody has the destination
    no_route,     // the underlay has no route to the peer
    socket_full,  // the underlay's socket or device takes no more
    tun_full,     // the TUN device takes no more, or is down
    failed,       // the kernel refused for another reason
    kCount
  };
  static constexpr What kFirstDrop = not_member;
  static constexpr std::array<std::string_view, kCount> kNames = {
      "", "", "", "", "", "not a member", "spoofed source", "malformed", "too big", "no such peer",
      "no route", "socket full", "device full", "refused"};

  void add(What what, uint64_t count = 1) {
    std::atomic<uint64_t>& value = values_[what];
    value.store(value.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  uint64_t get(What what) const { return values_[what].load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<uint64_t>, kCount> values_{};
};

}  // namespace knet
