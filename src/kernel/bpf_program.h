// The tunnels' programs (src/kernel/bpf/tunnel.c) and the maps that they share: constants are burnt into the code here, and the
// entries of the maps are made of core's values. Owns nothing but descriptors; knows nothing of devices and filters.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "core/netstate.h"
#include "kernel/bpf_syscall.h"

namespace knet::bpf {

/// The peers of one tunnel, and what its programs count.
struct TunnelMaps {
  enum Which : size_t { kPeers4, kPeers6, kCounts, kMaps };
  std::array<Fd, kMaps> maps;
  std::array<uint32_t, kMaps> ids{};  // 0: not known

  explicit operator bool() const { return static_cast<bool>(maps[kPeers4]); }
};
/// Throws Error{kernel} with what was refused.
TunnelMaps make_tunnel_maps();
/// Those that a program refers to; false where they are not all there, or of another knet's shape.
bool open_tunnel_maps(const ProgramInfo& program, TunnelMaps& out);

/// What a program is told of its place.
struct Place {
  uint32_t tunnel = 0;              // index of the TUN device
  uint32_t uplink4 = 0, uplink6 = 0;  // indexes of the devices that carry local and local6; 0 where that is unset
  bool ask_route = true;            // for each packet, by which uplink it goes; else by those above
  bool ethernet = true;             // the device that it is attached to has MAC headers
};
/// Throws Error{kernel} with the verifier's last lines.
Fd load_tunnel_program(const Filter& filter, const Place& place, const TunnelMaps& maps);
/// Of the code before anything is burnt in: another one is another knet's.
uint64_t tunnel_code_digest();

/// False with errno where the kernel refuses.
bool put_peer(const TunnelMaps& maps, const TunnelPeer& peer);
bool remove_peer(const TunnelMaps& maps, const TunnelPeer& peer);
/// Adds the entries of both maps, as peers of `tunnel`; false if they could not all be read.
bool read_peers(const TunnelMaps& maps, const DevName& tunnel, std::vector<TunnelPeer>& out);
/// One (packets, bytes) for each counter of tunnel_abi.h; empty if they could not be read.
std::vector<std::pair<uint64_t, uint64_t>> read_counts(const TunnelMaps& maps);

}  // namespace knet::bpf
