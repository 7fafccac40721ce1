// Packets that came one by one through a tunnel made into super-packets for a TUN device with a virtio-net header: TCP
// segments of one flow that follow each other are joined by the rules of the kernel's generic receive offload, all else
// goes through as it is. One batch of received packets at a time. No allocation, no copying of payload. Pure.
#pragma once

#include <sys/uio.h>

#include <array>
#include <functional>

#include "tunnel/packet.h"
#include "tunnel/vnet.h"

namespace knet {

class Coalescer {
 public:
  /// One packet for the TUN device in pieces; nothing of it is kept.
  using Write = std::function<void(const VnetHeader& vnet, std::span<const iovec> pieces)>;
  explicit Coalescer(Write write) : write_(std::move(write)) {}

  /// What the device may carry, in bytes: what lies between two nodes of one machine may be a packet that was never cut up or summed (the
  /// kernel leaves that to the last device, and a veth is none); it is handed on as such, in segments of this size.
  void set_mtu(uint32_t v4, uint32_t v6) {
    mtu4_ = v4;
    mtu6_ = v6;
  }

  /// `packet` is exactly ip.length bytes, checked by read_ip_header; it is written to and must stay until flush().
  /// Order is kept within each flow. False if it is too big for any way on: dropped.
  bool add(const IpHeader& ip, std::span<uint8_t> packet);
  /// Writes all that is held.
  void flush();

 private:
  struct Tcp {
    uint8_t* at;       // its header
    uint32_t head;     // bytes of IP and TCP headers
    uint32_t payload;
  };
  struct Flow {
    IpHeader ip;
    uint8_t* packet;
    Tcp tcp;            // of the first packet
    bool verified;      // the first packet's checksum
    uint32_t count;
    uint32_t length;    // bytes of the super-packet
    uint32_t next_seq;
    std::array<iovec, 65> pieces;
  };
  static constexpr size_t kFlows = 8;

  static std::optional<Tcp> read_tcp(const IpHeader& ip, std::span<uint8_t> packet);
  static bool same_flow(const Flow& flow, const IpHeader& ip, const uint8_t* packet, const Tcp& tcp);
  static bool follows(const Flow& flow, const IpHeader& ip, const uint8_t* packet, const Tcp& tcp);
  static bool intact(const IpHeader& ip, const uint8_t* packet, const Tcp& tcp);
  bool add_unfinished(const IpHeader& ip, std::span<uint8_t> packet, const std::optional<Tcp>& tcp);
  void start(const IpHeader& ip, uint8_t* packet, const Tcp& tcp);
  void write_plain(std::span<uint8_t> packet);
  void write_out(Flow& flow);
  void close(size_t index);

  Write write_;
  uint32_t mtu4_ = 1500, mtu6_ = 1500;
  size_t open_ = 0;
  std::array<Flow, kFlows> flows_;
};

}  // namespace knet
