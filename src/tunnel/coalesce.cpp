#include "tunnel/coalesce.h"

#include "tunnel/checksum.h"

namespace knet {

namespace {

constexpr uint8_t kFin = 0x01, kPsh = 0x08, kAck = 0x10, kEce = 0x40;

/// Whether the field holds only the pseudo header's sum: the sender's kernel left the rest to a device that never was.
/// By chance it is so for one finished packet in 65,536, which then is not verified here, and is right all the same.
bool unfinished(const IpHeader& ip, const uint8_t* packet, size_t offset) {
  const uint16_t field = load16(packet + ip.size + offset);
  return field != 0 && field == fold_checksum(pseudo_header_sum(ip, packet, ip.protocol, ip.length - ip.size));
}

iovec piece(const uint8_t* data, size_t size) { return {const_cast<uint8_t*>(data), size}; }

}  // namespace

std::optional<Coalescer::Tcp> Coalescer::read_tcp(const IpHeader& ip, std::span<uint8_t> packet) {
  if (ip.protocol != kTcp || ip.fragment || packet.size() < ip.size + 20) return std::nullopt;
  Tcp tcp;
  tcp.at = &packet[ip.size];
  const uint32_t header = (tcp.at[12] >> 4) * 4u;
  tcp.head = ip.size + header;
  if (header < 20 || tcp.head > packet.size()) return std::nullopt;
  tcp.payload = static_cast<uint32_t>(packet.size()) - tcp.head;
  return tcp;
}

bool Coalescer::same_flow(const Flow& flow, const IpHeader& ip, const uint8_t* packet, const Tcp& tcp) {
  return flow.ip.family == ip.family && std::memcmp(flow.tcp.at, tcp.at, 4) == 0 &&
         std::memcmp(flow.packet + ip.addresses(), packet + ip.addresses(), 2 * ip.address_size()) == 0;
}

bool Coalescer::follows(const Flow& flow, const IpHeader& ip, const uint8_t* packet, const Tcp& tcp) {
  const uint8_t* a = flow.packet;
  const uint8_t* b = packet;
  if (ip.family == Family::v4) {  // type of service; time to live; DF and, without it, the next identification
    if (ip.size != 20 || flow.ip.size != 20 || a[1] != b[1] || a[8] != b[8] || get16(a + 6) != get16(b + 6)) return false;
    if (!ip.dont_fragment && get16(b + 4) != static_cast<uint16_t>(get16(a + 4) + flow.count)) return false;
  } else if (std::memcmp(a, b, 4) != 0 || a[7] != b[7]) {  // class and flow label; hop limit
    return false;
  }
  if (tcp.head != flow.tcp.head || get32(tcp.at + 4) != flow.next_seq) return false;
  if (flow.length + tcp.payload > kLargestPacket || flow.count + 1 == flow.pieces.size()) return false;
  const uint8_t* t = flow.tcp.at;
  return tcp.payload <= flow.tcp.payload &&
         std::memcmp(t + 8, tcp.at + 8, 5) == 0 &&  // acknowledgement, data offset
         ((t[kTcpFlags] ^ tcp.at[kTcpFlags]) & ~(kFin | kPsh)) == 0 &&
         std::memcmp(t + 14, tcp.at + 14, 2) == 0 &&  // window
         std::memcmp(t + 20, tcp.at + 20, tcp.head - ip.size - 20) == 0;  // options
}

bool Coalescer::intact(const IpHeader& ip, const uint8_t* packet, const Tcp& tcp) {
  const uint32_t length = ip.length - ip.size;
  return checksum_holds(add_to_checksum(pseudo_header_sum(ip, packet, kTcp, length), tcp.at, length));
}

bool Coalescer::add(const IpHeader& ip, std::span<uint8_t> packet) {
  const std::optional<Tcp> tcp = read_tcp(ip, packet);
  size_t index = 0;
  if (tcp)
    while (index < open_ && !same_flow(flows_[index], ip, packet.data(), *tcp)) ++index;
  else
    index = open_;
  const bool known = index < open_;

  const bool udp = ip.protocol == kUdp && !ip.fragment && packet.size() >= ip.size + 8;
  if ((tcp || udp) && unfinished(ip, packet.data(), tcp ? kTcpChecksum : kUdpChecksum)) {
    if (known) close(index);
    return add_unfinished(ip, packet, tcp);
  }
  const uint8_t flags = tcp ? tcp->at[kTcpFlags] : 0;
  if (!tcp || tcp->payload == 0 || (flags & ~(kFin | kPsh | kEce)) != kAck) {
    if (known) close(index);
    write_plain(packet);
    return true;
  }
  if (known) {
    Flow& flow = flows_[index];
    if (!flow.verified) flow.verified = intact(flow.ip, flow.packet, flow.tcp);
    if (flow.verified && follows(flow, ip, packet.data(), *tcp) && intact(ip, packet.data(), *tcp)) {
      flow.pieces[flow.count++] = piece(tcp->at + (tcp->head - ip.size), tcp->payload);
      flow.length += tcp->payload;
      flow.next_seq += tcp->payload;
      flow.tcp.at[kTcpFlags] |= flags & (kFin | kPsh);
      if (tcp->payload < flow.tcp.payload || (flags & (kFin | kPsh)) != 0) close(index);
      return true;
    }
    close(index);
  }
  if ((flags & (kFin | kPsh)) != 0)
    write_plain(packet);  // nothing may follow it
  else
    start(ip, packet.data(), *tcp);
  return true;
}

bool Coalescer::add_unfinished(const IpHeader& ip, std::span<uint8_t> packet, const std::optional<Tcp>& tcp) {
  VnetHeader vnet{};
  vnet.flags = VnetHeader::kNeedsChecksum;
  vnet.csum_start = static_cast<uint16_t>(ip.size);
  vnet.csum_offset = tcp ? kTcpChecksum : kUdpChecksum;
  const uint32_t mtu = ip.family == Family::v6 ? mtu6_ : mtu4_;
  if (packet.size() > mtu) {
    // How the sender would have cut a UDP super-packet can't be known.
    if (!tcp || mtu <= tcp->head) return false;
    vnet.gso_type = ip.family == Family::v6 ? VnetHeader::kGsoTcp6 : VnetHeader::kGsoTcp4;
    if ((tcp->at[kTcpFlags] & 0x80) != 0) vnet.gso_type |= VnetHeader::kGsoEcn;
    vnet.hdr_len = static_cast<uint16_t>(tcp->head);
    vnet.gso_size = static_cast<uint16_t>(mtu - tcp->head);
  }
  const iovec whole = piece(packet.data(), packet.size());
  write_(vnet, {&whole, 1});
  return true;
}

void Coalescer::start(const IpHeader& ip, uint8_t* packet, const Tcp& tcp) {
  if (open_ == kFlows) flush();
  Flow& flow = flows_[open_++];
  flow.ip = ip;
  flow.packet = packet;
  flow.tcp = tcp;
  flow.verified = false;
  flow.count = 1;
  flow.length = ip.length;
  flow.next_seq = get32(tcp.at + 4) + tcp.payload;
  flow.pieces[0] = piece(packet, ip.length);
}

void Coalescer::write_plain(std::span<uint8_t> packet) {
  const iovec whole = piece(packet.data(), packet.size());
  write_(VnetHeader{}, {&whole, 1});
}

void Coalescer::write_out(Flow& flow) {
  VnetHeader vnet{};
  if (flow.count > 1) {
    const IpHeader& ip = flow.ip;
    set_length(ip, flow.packet, flow.length);
    store16(flow.tcp.at + kTcpChecksum,
            fold_checksum(pseudo_header_sum(ip, flow.packet, kTcp, flow.length - ip.size)));
    vnet.flags = VnetHeader::kNeedsChecksum;
    vnet.gso_type = ip.family == Family::v6 ? VnetHeader::kGsoTcp6 : VnetHeader::kGsoTcp4;
    vnet.hdr_len = static_cast<uint16_t>(flow.tcp.head);
    vnet.gso_size = static_cast<uint16_t>(flow.tcp.payload);
    vnet.csum_start = static_cast<uint16_t>(ip.size);
    vnet.csum_offset = kTcpChecksum;
  }
  write_(vnet, {flow.pieces.data(), flow.count});
}

void Coalescer::close(size_t index) {
  write_out(flows_[index]);
  // The others' order among each other is of no matter.
  if (index != --open_) flows_[index] = flows_[open_];
}

void Coalescer::flush() {
  for (size_t i = 0; i < open_; ++i) write_out(flows_[i]);
  open_ = 0;
}

}  // namespace knet
