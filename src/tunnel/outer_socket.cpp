#include "tunnel/outer_socket.h"

#include <fmt/core.h>
#include <linux/udp.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"

namespace knet {

namespace {

constexpr int kBufferBytes = 8 << 20;
// Behind a raw socket's or a datagram's start: IP headers then lie on four bytes.
constexpr size_t kLead = 64;

void set_option(int fd, int level, int name, int value) {
  if (setsockopt(fd, level, name, &value, sizeof value) != 0) throw_errno(errno, "setsockopt({}, {})", level, name);
}

/// An option that older kernels lack, or that is only for speed.
bool try_option(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

void set_fragmenting(int fd, bool v6, bool may) {
  if (v6)
    try_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, may ? IPV6_PMTUDISC_DONT : IPV6_PMTUDISC_DO);
  else
    try_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, may ? IP_PMTUDISC_DONT : IP_PMTUDISC_DO);
}

msghdr message(const OuterPeer& peer, iovec* pieces, size_t count) {
  msghdr header{};
  header.msg_name = const_cast<sockaddr*>(peer.name());
  header.msg_namelen = peer.name_size();
  header.msg_iov = pieces;
  header.msg_iovlen = count;
  return header;
}

size_t pieces_of(const Segment& segment, iovec* out) {
  size_t count = 0;
  for (const std::span<const uint8_t> piece : {segment.head, segment.body})
    if (!piece.empty()) out[count++] = {const_cast<uint8_t*>(piece.data()), piece.size()};
  return count;
}

}  // namespace

uint32_t outer_overhead(TunnelWire wire, Family family) {
  return (family == Family::v6 ? 40 : 20) + (wire == TunnelWire::udp ? 8 : 0);
}

Fd open_outer_socket(TunnelWire wire, const IpAddr& local, uint16_t port) {
  const bool v6 = local.is_v6(), udp = wire == TunnelWire::udp;
  const int family = v6 ? AF_INET6 : AF_INET;
  const int protocol = udp ? IPPROTO_UDP : v6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
  Fd fd(socket(family, (udp ? SOCK_DGRAM : SOCK_RAW) | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  if (!fd) throw_errno(errno, "open a {} socket", udp ? "UDP" : "raw");
  // A raw socket has its protocol for a port, and takes this no more (net/ipv6/ipv6_sockglue.c); it is of one family anyhow.
  if (v6 && udp) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  set_fragmenting(fd.get(), v6, false);
  for (const int name : {SO_RCVBUFFORCE, SO_SNDBUFFORCE}) try_option(fd.get(), SOL_SOCKET, name, kBufferBytes);
  if (udp) {
    try_option(fd.get(), IPPROTO_UDP, UDP_GRO, 1);
    // A peer's kernel path sends IPv6 without the outer checksum (RFC 6935).
    if (v6) try_option(fd.get(), IPPROTO_UDP, UDP_NO_CHECK6_RX, 1);
  }
  const OuterPeer name = OuterPeer::of(local, udp ? port : 0);
  if (bind(fd.get(), name.name(), name.name_size()) != 0) {
    const int error = errno;
    if (udp)
      throw_errno(error, "bind to {}, UDP port {}{}", local.str(), port,
                  error == EADDRINUSE ? " (does another program, flanneld perhaps, listen there?)" : "");
    throw_errno(error, "bind to {}", local.str());
  }
  return fd;
}

uint32_t path_mtu(const IpAddr& local, const OuterPeer& peer) {
  const bool v6 = local.is_v6();
  const Fd fd(socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const OuterPeer from = OuterPeer::of(local, 0), to = OuterPeer::of(peer.address, 9);
  int mtu = 0;
  socklen_t size = sizeof mtu;
  if (!fd || bind(fd.get(), from.name(), from.name_size()) != 0 ||
      connect(fd.get(), to.name(), to.name_size()) != 0 ||
      getsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size) != 0)
    return 0;
  return static_cast<uint32_t>(std::max(mtu, 0));
}

Outbox::Outbox(int fd, TunnelWire wire, Family family, OnFailure on_failure)
    : fd_(fd), v6_(family == Family::v6), on_failure_(std::move(on_failure)),
      heads_(new uint8_t[kSegments * Segmenter::kMostHead]) {
  int value;
  socklen_t size = sizeof value;
  merges_ = wire == TunnelWire::udp && getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &value, &size) == 0;
}

void Outbox::add(const OuterPeer& peer, const Segment& segment) {
  const uint32_t size = segment.size();
  const auto index = static_cast<uint32_t>(segments_used_);
  segments_[segments_used_++] = segment;
  const size_t pieces = pieces_of(segment, &pieces_[pieces_used_]);
  pieces_used_ += pieces;
  if (messages_used_ != 0 && merges_) {
    Message& last = messages_[messages_used_ - 1];
    if (last.open && last.peer == &peer && size <= last.each && last.count < kMerged &&
        last.bytes + size <= kMergedBytes) {
      ++last.count;
      last.bytes += size;
      last.open = size == last.each;
      headers_[messages_used_ - 1].msg_hdr.msg_iovlen += pieces;
      return;
    }
  }
  messages_[messages_used_] = {&peer, index, 1, size, size, true};
  headers_[messages_used_++].msg_hdr = message(peer, &pieces_[pieces_used_ - pieces], pieces);
}

Outbox::Sent Outbox::flush() {
  Sent sent;
  for (size_t i = 0; i < messages_used_; ++i) {
    if (messages_[i].count == 1) continue;
    msghdr& header = headers_[i].msg_hdr;
    header.msg_control = controls_[i].bytes.data();
    header.msg_controllen = controls_[i].bytes.size();
    cmsghdr* control = CMSG_FIRSTHDR(&header);
    control->cmsg_level = IPPROTO_UDP;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    const auto each = static_cast<uint16_t>(messages_[i].each);
    std::memcpy(CMSG_DATA(control), &each, sizeof each);
  }
  for (size_t done = 0; done < messages_used_;) {
    const int n = sendmmsg(fd_, &headers_[done], static_cast<unsigned>(messages_used_ - done), MSG_DONTWAIT);
    if (n > 0) {
      for (const size_t end = done + static_cast<size_t>(n); done < end; ++done) {
        sent.packets += messages_[done].count;
        sent.bytes += messages_[done].bytes;
      }
      continue;
    }
    const int error = errno;
    if (error == EINTR) continue;
    if (error == EIO && messages_[done].count > 1) {  // an underlay without checksum offload, before Linux 6.11
      merges_ = false;
      send_singly(done++, sent);
    } else if (error == EAGAIN) {
      for (; done < messages_used_; ++done) fail(done, error);
    } else {
      fail(done++, error);
    }
  }
  segments_used_ = messages_used_ = pieces_used_ = 0;
  return sent;
}

void Outbox::send_singly(size_t message, Sent& sent) {
  const Message& whole = messages_[message];
  for (uint32_t i = 0; i < whole.count; ++i) {
    const Segment& segment = segments_[whole.first + i];
    if (const int error = send_one(*whole.peer, segment, false)) {
      on_failure_({*whole.peer, {&segment, 1}, error});
    } else {
      ++sent.packets;
      sent.bytes += segment.size();
    }
  }
}

void Outbox::fail(size_t message, int error) {
  const Message& whole = messages_[message];
  on_failure_({*whole.peer, {&segments_[whole.first], whole.count}, error});
}

int Outbox::send_one(const OuterPeer& peer, const Segment& segment, bool may_fragment) {
  iovec pieces[2];
  const msghdr header = message(peer, pieces, pieces_of(segment, pieces));
  if (may_fragment) set_fragmenting(fd_, v6_, true);
  const int error = sendmsg(fd_, &header, MSG_DONTWAIT) < 0 ? errno : 0;
  if (may_fragment) set_fragmenting(fd_, v6_, false);
  return error;
}

Inbox::Inbox(int fd, TunnelWire wire, Family family)
    : fd_(fd), raw4_(wire == TunnelWire::ipip && family == Family::v4), count_(wire == TunnelWire::udp ? 16 : kMost),
      buffers_(new uint8_t[count_ * kBuffer]) {}

int Inbox::receive() {
  for (size_t i = 0; i < count_; ++i) {
    pieces_[i] = {&buffers_[i * kBuffer + kLead], kBuffer - kLead};
    msghdr& header = headers_[i].msg_hdr;
    header = {};
    header.msg_name = &names_[i];
    header.msg_namelen = sizeof names_[i];
    header.msg_iov = &pieces_[i];
    header.msg_iovlen = 1;
    header.msg_control = controls_[i].bytes.data();
    header.msg_controllen = controls_[i].bytes.size();
  }
  for (;;) {
    const int n = recvmmsg(fd_, headers_.data(), static_cast<unsigned>(count_), MSG_DONTWAIT, nullptr);
    if (n >= 0) return n;
    if (errno == EAGAIN) return 0;
    if (errno != EINTR) return -1;
  }
}

Inbox::Datagram Inbox::datagram(size_t index) {
  msghdr& header = headers_[index].msg_hdr;
  Datagram out;
  const sockaddr_in6& name = names_[index];
  if (name.sin6_family == AF_INET6)
    out.from = IpAddr::from_bytes(Family::v6, &name.sin6_addr);
  else
    out.from = IpAddr::from_bytes(Family::v4, &reinterpret_cast<const sockaddr_in&>(name).sin_addr);
  out.bytes = {static_cast<uint8_t*>(pieces_[index].iov_base), headers_[index].msg_len};
  out.cut = (header.msg_flags & MSG_TRUNC) != 0;
  if (raw4_) {  // begins with the outer header
    const size_t outer = out.bytes.empty() ? 0 : (out.bytes[0] & 15u) * 4;
    out.bytes = outer >= 20 && outer <= out.bytes.size() ? out.bytes.subspan(outer) : std::span<uint8_t>();
  }
  out.each = out.bytes.size();
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr; control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != IPPROTO_UDP || control->cmsg_type != UDP_GRO) continue;
    int each;
    std::memcpy(&each, CMSG_DATA(control), sizeof each);
    if (each > 0) out.each = std::min(out.each, static_cast<size_t>(each));
  }
  return out;
}

}  // namespace knet
