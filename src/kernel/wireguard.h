// Wireguard devices over generic netlink: their port and key, and their peers by the thousand. Part of LinuxPlane; its
// thread, its namespace. Private keys pass through from their file to the kernel: they are never kept and never shown.
// Source: include/uapi/linux/wireguard.h.
#pragma once

#include <linux/netlink.h>

#include <map>
#include <vector>

#include "core/netstate.h"
#include "kernel/netlink.h"

namespace knet {

struct WireguardPeerOp {
  const WireguardPeer* peer = nullptr;
  bool remove = false;
  uint32_t cookie = 0;
};

class Wireguard {
 public:
  /// Peers' attributes are told whole, their allowed prefixes sorted. False: not read whole (a device that went, no
  /// privilege). A peer that has moved by itself (it is behind NAT) is told with the endpoint that we gave it, or as
  /// `roamed` where that isn't known.
  bool read(const DevName& dev, int index, WireguardAttrs& device, std::vector<WireguardPeer>& peers);

  /// Where it is not known which endpoint a peer was given, since another process did it: the one that it announces. So
  /// it is left alone if it has moved by itself, and followed when it announces another.
  void assume(int index, const WireguardPeer& peer);

  /// Private key (out of wireguard.key_file), port, no mark. The kernel leaves what is equal as it is.
  NlFailure set_device(int index, const WireguardAttrs& wireguard);

  /// Creates, overwrites or removes; many peers for each message. Failures carry the ops' cookies.
  std::vector<NlFailure> set_peers(int index, const std::vector<WireguardPeerOp>& ops);

 private:
  using Range = std::pair<size_t, size_t>;
  bool find_family();
  void begin(int command, int index);
  void put_peer(const WireguardPeerOp& op, Range allowed);
  NlFailure send_peers(int index, const WireguardPeerOp* first, const WireguardPeerOp* last);
  NlFailure send_long_peer(int index, const WireguardPeerOp& op);
  void remember(int index, const WireguardPeerOp& op);

  NlSocket socket_{NETLINK_GENERIC};
  NlMessage message_{48 << 10};
  uint16_t family_ = 0;
  // (ifindex, peer) -> the endpoint that we gave it last.
  std::map<std::pair<int, WireguardKey>, std::pair<IpAddr, uint16_t>> given_;
};

}  // namespace knet
