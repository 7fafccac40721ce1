#include "tunnel/carrier.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "tunnel/tun_device.h"

namespace knet {

namespace {

// The IP header of a packet from the device lies on a multiple of 64 bytes, its virtio-net header right before it.
constexpr size_t kLine = 64;
constexpr size_t kRoom = kLine + 65536 + kLine;
constexpr size_t kPackets = 4 * kRoom;
constexpr int kTunBatch = 128;

constexpr uint32_t kLeastMtu6 = 1280;  // RFC 8200 5

size_t next_line(size_t at) { return (at + kLine - 1) / kLine * kLine; }

bool is_multicast(const IpHeader& ip, const uint8_t* packet) {
  const uint8_t first = packet[ip.addresses() + ip.address_size()];
  return ip.family == Family::v6 ? first == 0xff : first >= 224;
}

/// The headers and as much more as an error can quote, in one piece.
std::span<const uint8_t> quote(const Segment& packet, std::span<uint8_t> room) {
  if (packet.body.empty()) return packet.head;
  const size_t body = std::min(packet.body.size(), room.size() - packet.head.size());
  std::memcpy(room.data(), packet.head.data(), packet.head.size());
  std::memcpy(room.data() + packet.head.size(), packet.body.data(), body);
  return room.first(packet.head.size() + body);
}

}  // namespace

Carrier::Carrier(TunnelCounters& counters)
    : count_(counters),
      coalescer_([this](const VnetHeader& vnet, std::span<const iovec> pieces) { write_tun(vnet, pieces); }),
      packets_(new uint8_t[kPackets]) {}

std::vector<std::string> Carrier::set(CarrierSetup setup) {
  for (const Family family : {Family::v4, Family::v6})
    if (!setup.same_socket(setup_, family)) side(family).reset();
  if (setup.dev != setup_.dev) tun_.reset();
  setup_ = std::move(setup);
  coalescer_.set_mtu(setup_.underlay_mtu - outer_overhead(setup_.wire, Family::v4),
                     setup_.underlay_mtu - outer_overhead(setup_.wire, Family::v6));
  std::vector<std::string> troubles;
  const auto attempt = [&](auto open) {
    try {
      open();
    } catch (const Error& error) {
      troubles.push_back(fmt::format("{}: {}", setup_.dev.view(), error.text));
    }
  };
  if (!tun_) attempt([&] { tun_ = attach_tun(setup_.dev); });
  for (const Family family : {Family::v4, Family::v6})
    if (setup_.local_of(family) && !side(family)) attempt([&] { open_side(family); });
  return troubles;
}

void Carrier::open_side(Family family) {
  Fd fd = open_outer_socket(setup_.wire, setup_.local_of(family), setup_.port);
  const int number = fd.get();
  side(family).emplace(Side{
      std::move(fd),
      Outbox(number, setup_.wire, family, [this, family](const Outbox::Failure& failure) { not_sent(family, failure); }),
      Inbox(number, setup_.wire, family)});
}

bool Carrier::from_tun() {
  size_t used = kLine;
  bool more = true;
  for (int i = 0; i < kTunBatch; ++i) {
    if (used + kRoom > kPackets) {
      flush();
      used = kLine;
    }
    uint8_t* const packet = &packets_[used];
    const ssize_t n = read(tun_.get(), packet - sizeof(VnetHeader), sizeof(VnetHeader) + kRoom - kLine);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      more = false;
      if (errno != EAGAIN) tun_.reset();  // EBADFD: the device was removed
      break;
    }
    if (static_cast<size_t>(n) < sizeof(VnetHeader)) {
      count_.add(TunnelCounters::malformed);
      continue;
    }
    VnetHeader vnet;
    std::memcpy(&vnet, packet - sizeof vnet, sizeof vnet);
    const size_t size = static_cast<size_t>(n) - sizeof vnet;
    send(vnet, {packet, size});
    used = next_line(used + size + kLine);
  }
  flush();
  return more;
}

void Carrier::send(const VnetHeader& vnet, std::span<uint8_t> packet) {
  std::optional<Segmenter> cut = Segmenter::of(vnet, packet);
  if (!cut) return count_.add(TunnelCounters::malformed);
  const IpHeader& ip = cut->ip();
  const OuterPeer* peer =
      setup_.peers ? setup_.peers->find(ip.family, packet.data() + ip.addresses() + ip.address_size()) : nullptr;
  if (peer == nullptr) {
    count_.add(TunnelCounters::no_peer, cut->count());
    if (!is_multicast(ip, packet.data())) answer(IcmpError::no_route, {packet.first(ip.length), {}}, 0);
    return;
  }
  const Family family = peer->address.family();
  if (!side(family)) return count_.add(TunnelCounters::failed, cut->count());
  Outbox& out = side(family)->out;
  for (Segment segment;;) {
    if (out.full()) flush(family);
    if (!cut->next(out.head_room(), segment)) return;
    out.add(*peer, segment);
  }
}

void Carrier::flush() {
  flush(Family::v4);
  flush(Family::v6);
}

void Carrier::flush(Family family) {
  if (!side(family)) return;
  const Outbox::Sent sent = side(family)->out.flush();
  count_.add(TunnelCounters::sent_packets, sent.packets);
  count_.add(TunnelCounters::sent_bytes, sent.bytes);
}

void Carrier::not_sent(Family family, const Outbox::Failure& failure) {
  switch (failure.error) {
    case EMSGSIZE:
    case EINVAL:  // UDP_SEGMENT that is larger than the path takes
      return sent_too_big(family, failure);
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
      return count_.add(TunnelCounters::socket_full, failure.segments.size());
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
      count_.add(TunnelCounters::no_route, failure.segments.size());
      return answer(IcmpError::no_route, failure.segments[0], 0);
    default:
      count_.add(TunnelCounters::failed, failure.segments.size());
  }
}

void Carrier::sent_too_big(Family family, const Outbox::Failure& failure) {
  const uint32_t overhead = outer_overhead(setup_.wire, family);
  const uint32_t outer = path_mtu(setup_.local_of(family), failure.peer);
  const uint32_t path = outer > overhead ? outer - overhead : 0;
  bool answered = false;
  for (const Segment& segment : failure.segments) {
    const std::span<const uint8_t> start = segment.head;
    const bool v6 = start[0] >> 4 == 6;
    // What its sender does not allow to be cut up, it must send in smaller pieces; the rest is cut up outside.
    const bool fits = segment.size() <= path;
    const bool may_fragment = v6 ? segment.size() <= kLeastMtu6 : (start[6] & 0x40) == 0;
    if (!fits && !may_fragment) {
      count_.add(TunnelCounters::too_big);
      if (path != 0 && !answered) answer(IcmpError::too_big, segment, v6 ? std::max(path, kLeastMtu6) : path);
      answered = true;
      continue;
    }
    const int error = side(family)->out.send_one(failure.peer, segment, !fits);
    if (error == 0) {
      count_.add(TunnelCounters::sent_packets);
      count_.add(TunnelCounters::sent_bytes, segment.size());
    } else {
      count_.add(error == EMSGSIZE ? TunnelCounters::too_big
                 : error == EAGAIN ? TunnelCounters::socket_full
                                   : TunnelCounters::failed);
    }
  }
}

void Carrier::from_underlay(Family family) {
  Inbox& in = side(family)->in;
  const int n = in.receive();
  if (n < 0) {
    // A pending error of the socket: telling it has taken it away.
    count_.add(TunnelCounters::failed);
    return;
  }
  for (int i = 0; i < n; ++i) receive(in.datagram(static_cast<size_t>(i)));
  coalescer_.flush();
}

void Carrier::receive(const Inbox::Datagram& datagram) {
  if (datagram.cut) return count_.add(TunnelCounters::too_big);
  if (datagram.bytes.empty()) return count_.add(TunnelCounters::malformed);
  if (datagram.each < datagram.bytes.size() && receive_uncut(datagram)) return;
  const uint8_t* checked = nullptr;  // a packet of this datagram whose source is the sender's
  std::span<uint8_t> rest = datagram.bytes;
  while (!rest.empty()) {
    const std::span<uint8_t> bytes = rest.first(std::min(datagram.each, rest.size()));
    rest = rest.subspan(bytes.size());
    const std::optional<IpHeader> ip = read_ip_header(bytes);
    uint8_t* const packet = bytes.data();
    if (!ip || !header_checksum_holds(*ip, packet) || packet[ip->family == Family::v6 ? 7 : 8] == 0) {
      count_.add(TunnelCounters::malformed);
      continue;
    }
    const bool same = checked != nullptr && (checked[0] >> 4) == (packet[0] >> 4) &&
                      std::memcmp(checked + ip->addresses(), packet + ip->addresses(), ip->address_size()) == 0;
    if (!same && !belongs(*ip, packet, datagram.from)) continue;
    checked = packet;
    if (!coalescer_.add(*ip, bytes.first(ip->length))) {
      count_.add(TunnelCounters::too_big);
      continue;
    }
    count_.add(TunnelCounters::received_packets);
    count_.add(TunnelCounters::received_bytes, ip->length);
  }
}

bool Carrier::receive_uncut(const Inbox::Datagram& datagram) {
  const std::optional<IpHeader> ip = read_ip_header(datagram.bytes);
  if (!ip || ip->length <= datagram.each || ip->protocol != kUdp) return false;
  const std::span<uint8_t> packet = datagram.bytes.first(ip->length);
  VnetHeader vnet{};
  vnet.gso_type = VnetHeader::kGsoUdp;
  vnet.gso_size = static_cast<uint16_t>(datagram.each);
  std::optional<Segmenter> cut = Segmenter::of(vnet, packet);
  if (!cut || !header_checksum_holds(*ip, packet.data())) return false;
  if (!belongs(*ip, packet.data(), datagram.from)) return true;
  std::array<uint8_t, Segmenter::kMostHead> room;
  for (Segment segment; cut->next(room.data(), segment);) {
    const std::array<iovec, 2> pieces = {{{const_cast<uint8_t*>(segment.head.data()), segment.head.size()},
                                          {const_cast<uint8_t*>(segment.body.data()), segment.body.size()}}};
    write_tun(VnetHeader{}, pieces);
    count_.add(TunnelCounters::received_packets);
    count_.add(TunnelCounters::received_bytes, segment.size());
  }
  return true;
}

bool Carrier::belongs(const IpHeader& ip, const uint8_t* packet, const IpAddr& from) {
  const OuterPeer* peer = setup_.peers ? setup_.peers->find(ip.family, packet + ip.addresses()) : nullptr;
  if (peer != nullptr && peer->address == from) return true;
  count_.add(setup_.peers && setup_.peers->is_member(from) ? TunnelCounters::spoofed : TunnelCounters::not_member);
  return false;
}

void Carrier::write_tun(const VnetHeader& vnet, std::span<const iovec> pieces) {
  std::array<iovec, 80> all;
  all[0] = {const_cast<VnetHeader*>(&vnet), sizeof vnet};
  std::copy(pieces.begin(), pieces.end(), all.begin() + 1);
  ssize_t n;
  do {
    n = writev(tun_.get(), all.data(), static_cast<int>(pieces.size() + 1));
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return;
  // EIO: the device is down; EINVAL: the kernel found fault with the packet.
  count_.add(errno == EINVAL ? TunnelCounters::malformed : TunnelCounters::tun_full);
}

void Carrier::answer(IcmpError error, const Segment& packet, uint32_t mtu) {
  const bool v6 = packet.head[0] >> 4 == 6;
  const IpAddr& source = v6 ? setup_.address6 : setup_.address;
  Fd& fd = v6 ? icmp6_ : icmp4_;
  if (!source) return;
  // Through the device it would come from an address of this node's, which the kernel takes for a lie.
  if (!fd) fd.reset(socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
  std::array<uint8_t, 2 * kMostIcmp6> room;
  std::array<uint8_t, kMostIcmp6> out;
  const size_t size = make_icmp_error(error, quote(packet, room), source, mtu, out);
  if (size == 0) return;
  const IpAddr to = IpAddr::from_bytes(source.family(), &out[v6 ? 24 : 16]);
  if (!limit_.allow(to, std::chrono::steady_clock::now())) return;
  const OuterPeer host = OuterPeer::of(to, 0);
  if (sendto(fd.get(), out.data(), size, MSG_DONTWAIT, host.name(), host.name_size()) >= 0)
    count_.add(TunnelCounters::answered);
}

}  // namespace knet
