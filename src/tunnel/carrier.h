// Moves one tunnel's packets between its TUN device and the underlay's sockets: cuts up, joins, checks who sends, answers
// what can't be carried. Used by one thread; never blocks, never waits: that is the pump's.
#pragma once

#include <memory>
#include <optional>

#include "core/plan.h"
#include "tunnel/coalesce.h"
#include "tunnel/counters.h"
#include "tunnel/icmp.h"
#include "tunnel/outer_socket.h"

namespace knet {

/// A tunnel as it is to be carried.
struct CarrierSetup {
  DevName dev;
  TunnelWire wire = TunnelWire::udp;
  uint16_t port = 0;
  IpAddr local, local6;
  IpAddr address, address6;        // the device's: ICMP errors come from them; unset: none are sent
  uint32_t underlay_mtu = 1500;
  std::shared_ptr<const PeerTable> peers;

  const IpAddr& local_of(Family family) const { return family == Family::v6 ? local6 : local; }
  bool operator==(const CarrierSetup&) const = default;  // peers: the same table
  bool same_socket(const CarrierSetup& other, Family family) const {
    return wire == other.wire && port == other.port && local_of(family) == other.local_of(family);
  }
};

class Carrier {
 public:
  explicit Carrier(TunnelCounters& counters);

  /// Takes over the setup, and opens what it lacks: the device's queue, a socket for each family that has an address.
  /// What stays as it was stays open. Returns what could not be opened, one line each.
  std::vector<std::string> set(CarrierSetup setup);
  /// To be polled for reading; -1 where there is none. They change in set() and from_tun() only.
  int tun_fd() const { return tun_.get(); }
  int socket_fd(Family family) const { return side(family) ? side(family)->fd.get() : -1; }

  /// Carries what waits in the device's queue, up to a batch. False when it was empty before the batch was full. A device
  /// that is gone is let go (tun_fd() is -1).
  bool from_tun();
  /// Carries what waits in a socket, up to a batch.
  void from_underlay(Family family);

 private:
  struct Side {
    Fd fd;
    Outbox out;
    Inbox in;
  };
  std::optional<Side>& side(Family family) { return family == Family::v6 ? side6_ : side4_; }
  const std::optional<Side>& side(Family family) const { return family == Family::v6 ? side6_ : side4_; }
  void open_side(Family family);
  void send(const VnetHeader& vnet, std::span<uint8_t> packet);
  void flush();
  void flush(Family family);
  void not_sent(Family family, const Outbox::Failure& failure);
  void sent_too_big(Family family, const Outbox::Failure& failure);
  void receive(const Inbox::Datagram& datagram);
  /// A UDP super-packet of a pod's that a peer's kernel packed whole, and that met no device that cuts: over veth. The socket
  /// tells its segments' size as if it had merged datagrams. False: it is none.
  bool receive_uncut(const Inbox::Datagram& datagram);
  bool belongs(const IpHeader& ip, const uint8_t* packet, const IpAddr& from);
  void write_tun(const VnetHeader& vnet, std::span<const iovec> pieces);
  void answer(IcmpError error, const Segment& packet, uint32_t mtu);

  TunnelCounters& count_;
  CarrierSetup setup_;
  Fd tun_;
  std::optional<Side> side4_, side6_;
  Fd icmp4_, icmp6_;
  IcmpLimit limit_;
  Coalescer coalescer_;
  std::unique_ptr<uint8_t[]> packets_;  // from the device, until they are sent
};

}  // namespace knet
