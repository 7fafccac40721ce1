// The underlay's side of a tunnel for one family: a UDP socket on our address and port, or a raw one (IP protocols 4 and
// 41), and the two ways through it in batches: Outbox (sendmmsg, UDP_SEGMENT) and Inbox (recvmmsg, UDP_GRO). Used by
// one thread; never blocks.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <functional>
#include <memory>

#include "base/fd.h"
#include "tunnel/peer_table.h"
#include "tunnel/segment.h"

namespace knet {

/// What one packet grows by on this wire: 28, 48, 20 or 40 bytes.
uint32_t outer_overhead(TunnelWire wire, Family family);

/// Bound to `local`, unconnected, for packets that must not be fragmented. Throws Error{kernel}.
Fd open_outer_socket(TunnelWire wire, const IpAddr& local, uint16_t port);

/// What the kernel thinks may go to the peer in one piece, outer headers included; 0 if it has no route.
uint32_t path_mtu(const IpAddr& local, const OuterPeer& peer);

class Outbox {
 public:
  struct Failure {
    const OuterPeer& peer;
    std::span<const Segment> segments;
    int error;
  };
  struct Sent {
    uint64_t packets = 0, bytes = 0;
  };
  using OnFailure = std::function<void(const Failure&)>;

  /// `on_failure` is told of what could not be sent, within flush().
  Outbox(int fd, TunnelWire wire, Family family, OnFailure on_failure);

  bool full() const { return segments_used_ == kSegments || messages_used_ == kMessages; }
  /// For the headers of the segment that is added next (Segmenter::kMostHead bytes).
  uint8_t* head_room() { return &heads_[segments_used_ * Segmenter::kMostHead]; }
  /// Not when full(). Segment and peer must stay until flush().
  void add(const OuterPeer& peer, const Segment& segment);
  /// Sends everything; what the socket has no room for is a failure, not waited for.
  Sent flush();
  /// Sends one packet now; with `may_fragment` the outer packet may be cut up on its way. 0 or an errno.
  int send_one(const OuterPeer& peer, const Segment& segment, bool may_fragment);

 private:
  // The kernel's limit of UDP_SEGMENT is 64 segments up to Linux 6.9, and a datagram's size.
  static constexpr size_t kSegments = 256, kMessages = 128, kMerged = 64, kMergedBytes = 65487;
  struct Message {
    const OuterPeer* peer;
    uint32_t first, count, bytes, each;
    bool open;  // more may be merged into it
  };
  void send_singly(size_t message, Sent& sent);
  void fail(size_t message, int error);

  int fd_;
  bool v6_;
  bool merges_;
  OnFailure on_failure_;
  size_t segments_used_ = 0, messages_used_ = 0, pieces_used_ = 0;
  std::array<Segment, kSegments> segments_;
  std::array<Message, kMessages> messages_;
  std::array<mmsghdr, kMessages> headers_;
  std::array<iovec, 2 * kSegments> pieces_;
  struct alignas(cmsghdr) Control {
    std::array<uint8_t, CMSG_SPACE(sizeof(uint16_t))> bytes;
  };
  std::array<Control, kMessages> controls_;
  std::unique_ptr<uint8_t[]> heads_;
};

class Inbox {
 public:
  /// Inner packets of one peer, one after the other, each `each` bytes but for the last.
  struct Datagram {
    IpAddr from;
    std::span<uint8_t> bytes;
    size_t each = 0;
    bool cut = false;  // more came than fits a buffer: none of it may be used
  };
  Inbox(int fd, TunnelWire wire, Family family);

  /// Takes what is there; how many, 0 if nothing, -1 for an error (errno). The bytes stay until the next call.
  int receive();
  Datagram datagram(size_t index);
  size_t most() const { return count_; }

 private:
  // Off the power of two: the same offset of each buffer would fall into the same cache lines.
  static constexpr size_t kBuffer = 65536 + 192, kMost = 64;
  int fd_;
  bool raw4_;
  size_t count_;
  struct alignas(cmsghdr) Control {
    std::array<uint8_t, CMSG_SPACE(sizeof(int))> bytes;
  };
  std::array<mmsghdr, kMost> headers_;
  std::array<iovec, kMost> pieces_;
  std::array<sockaddr_in6, kMost> names_;
  std::array<Control, kMost> controls_;
  std::unique_ptr<uint8_t[]> buffers_;  // touched as far as they are used
};

}  // namespace knet
