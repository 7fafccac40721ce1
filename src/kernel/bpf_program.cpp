#include "kernel/bpf_program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cstring>

#include "base/digest.h"
#include "base/error.h"
#include "kernel/bpf/tunnel_abi.h"
#include "kernel/bpf/tunnel_code.h"
#include "kernel/bpf_burn.h"
#include "kernel/bpf_tunnel.h"

namespace knet::bpf {

namespace {

// A trie takes memory for what is in it only.
constexpr uint32_t kMostPeers = 1 << 20;
// A walk that meets more keys than can be there goes in circles: somebody removes while we read.
constexpr uint32_t kMostSteps = 2 * kMostPeers;

constexpr MapShape kShapes[TunnelMaps::kMaps] = {
    {BPF_MAP_TYPE_LPM_TRIE, sizeof(knet_key4), sizeof(knet_peer4), kMostPeers, BPF_F_NO_PREALLOC, "knet_peers4"},
    {BPF_MAP_TYPE_LPM_TRIE, sizeof(knet_key6), sizeof(knet_peer6), kMostPeers, BPF_F_NO_PREALLOC, "knet_peers6"},
    {BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(uint32_t), sizeof(knet_count), KNET_COUNTED, 0, "knet_counts"}};

uint32_t net32(const IpAddr& ip) {
  uint32_t value = 0;
  if (ip.is_v4()) memcpy(&value, ip.data(), sizeof value);
  return value;
}

struct Entry4 {
  knet_key4 key{};
  knet_peer4 peer{};
  explicit Entry4(const TunnelPeer& from) {
    key.bits = static_cast<uint32_t>(from.inner.length());
    key.address = net32(from.inner.addr());
    peer.outer = net32(from.outer);
    peer.port = htons(from.port);
    peer.by_user = from.by_user;
  }
};
struct Entry6 {
  knet_key6 key{};
  knet_peer6 peer{};
  explicit Entry6(const TunnelPeer& from) {
    key.bits = static_cast<uint32_t>(from.inner.length());
    memcpy(key.address, from.inner.addr().data(), sizeof key.address);
    memcpy(peer.outer, from.outer.data(), sizeof peer.outer);
    peer.port = htons(from.port);
    peer.by_user = from.by_user;
  }
};

TunnelPeer peer_of(const DevName& tunnel, const knet_key4& key, const knet_peer4& peer) {
  const IpAddr inner = IpAddr::from_bytes(Family::v4, &key.address);
  return {tunnel, Prefix(inner, static_cast<int>(key.bits)), IpAddr::from_bytes(Family::v4, &peer.outer),
          ntohs(peer.port), {}, peer.by_user != 0};
}
TunnelPeer peer_of(const DevName& tunnel, const knet_key6& key, const knet_peer6& peer) {
  const IpAddr inner = IpAddr::from_bytes(Family::v6, reinterpret_cast<const char*>(&key) + offsetof(knet_key6, address));
  return {tunnel, Prefix(inner, static_cast<int>(key.bits)), IpAddr::from_bytes(Family::v6, peer.outer),
          ntohs(peer.port), {}, peer.by_user != 0};
}

/// One more round trip for each entry than a batch would have, but the same on every kernel.
template <typename Key, typename Value>
bool walk(const Fd& map, const DevName& tunnel, std::vector<TunnelPeer>& out) {
  Key key{}, next{};
  const void* from = nullptr;
  for (uint32_t steps = 0; map_next(map, from, &next); ++steps) {
    if (steps == kMostSteps) return false;
    key = next;
    from = &key;
    Value value{};
    if (map_get(map, &key, &value))
      out.push_back(peer_of(tunnel, key, value));
    else if (errno != ENOENT)
      return false;
  }
  return errno == ENOENT;
}

}  // namespace

TunnelMaps make_tunnel_maps() {
  TunnelMaps out;
  for (size_t i = 0; i < TunnelMaps::kMaps; ++i) {
    out.maps[i] = make_map(kShapes[i]);
    if (!out.maps[i]) throw_errno(errno, "BPF_MAP_CREATE {}", kShapes[i].name);
    out.ids[i] = map_id(out.maps[i]);
  }
  return out;
}

bool open_tunnel_maps(const ProgramInfo& program, TunnelMaps& out) {
  TunnelMaps found;
  for (uint32_t id : program.maps)
    for (size_t i = 0; i < TunnelMaps::kMaps; ++i) {
      if (found.maps[i]) continue;
      found.maps[i] = open_map(id, kShapes[i]);
      if (!found.maps[i]) continue;
      found.ids[i] = id;
      break;
    }
  for (const Fd& map : found.maps)
    if (!map) return false;
  out = std::move(found);
  return true;
}

Fd load_tunnel_program(const Filter& filter, const Place& place, const TunnelMaps& maps) {
  std::array<uint64_t, KNET_SLOTS> values{};
  for (size_t i = 0; i < TunnelMaps::kMaps; ++i) values[KNET_PEERS4 + i] = static_cast<uint32_t>(maps.maps[i].get());
  values[KNET_TUNNEL] = place.tunnel;
  values[KNET_UPLINK4] = place.uplink4;
  values[KNET_UPLINK6] = place.uplink6;
  values[KNET_LOCAL4] = net32(filter.local);
  if (filter.local6.is_v6()) memcpy(&values[KNET_LOCAL6], filter.local6.data(), 2 * sizeof(uint64_t));
  values[KNET_PORT] = htons(filter.port);
  values[KNET_ASK_ROUTE] = place.ask_route;
  values[KNET_MAC_BYTES] = place.ethernet ? 14 : 0;
  const bool encap = filter.end == TunnelEnd::encap;
  const std::vector<uint64_t> code =
      burn(encap ? std::span<const uint64_t>(kEncap) : std::span<const uint64_t>(kDecap), values, TunnelMaps::kMaps);
  std::string complaint;
  Fd program = load_classifier(code, encap ? "knet_encap" : "knet_decap", complaint);
  if (!program) throw Error(ErrorKind::kernel, complaint);
  return program;
}

uint64_t tunnel_code_digest() {
  static const uint64_t digest = [] {
    const uint64_t encap = fingerprint({reinterpret_cast<const char*>(kEncap), sizeof kEncap});
    return fingerprint({reinterpret_cast<const char*>(kDecap), sizeof kDecap}, encap);
  }();
  return digest;
}

bool put_peer(const TunnelMaps& maps, const TunnelPeer& peer) {
  if (peer.inner.family() != peer.outer.family()) {
    errno = EAFNOSUPPORT;
    return false;
  }
  if (peer.inner.is_v4()) {
    const Entry4 entry(peer);
    return map_put(maps.maps[TunnelMaps::kPeers4], &entry.key, &entry.peer);
  }
  const Entry6 entry(peer);
  return map_put(maps.maps[TunnelMaps::kPeers6], &entry.key, &entry.peer);
}

bool remove_peer(const TunnelMaps& maps, const TunnelPeer& peer) {
  const Entry4 entry4(peer);
  if (peer.inner.is_v4()) return map_remove(maps.maps[TunnelMaps::kPeers4], &entry4.key);
  const Entry6 entry6(peer);
  return map_remove(maps.maps[TunnelMaps::kPeers6], &entry6.key);
}

bool read_peers(const TunnelMaps& maps, const DevName& tunnel, std::vector<TunnelPeer>& out) {
  const size_t before = out.size();
  const bool whole = walk<knet_key4, knet_peer4>(maps.maps[TunnelMaps::kPeers4], tunnel, out) &&
                     walk<knet_key6, knet_peer6>(maps.maps[TunnelMaps::kPeers6], tunnel, out);
  // A walk that was disturbed may tell one twice.
  auto by_key = [](const TunnelPeer& a, const TunnelPeer& b) { return a.inner < b.inner; };
  auto same_key = [](const TunnelPeer& a, const TunnelPeer& b) { return a.inner == b.inner; };
  const auto begin = out.begin() + static_cast<std::ptrdiff_t>(before);
  std::sort(begin, out.end(), by_key);
  out.erase(std::unique(begin, out.end(), same_key), out.end());
  return whole;
}

std::vector<std::pair<uint64_t, uint64_t>> read_counts(const TunnelMaps& maps) {
  std::vector<std::pair<uint64_t, uint64_t>> out;
  std::vector<knet_count> each(possible_cpus());
  for (uint32_t what = 0; what < KNET_COUNTED; ++what) {
    if (!map_get(maps.maps[TunnelMaps::kCounts], &what, each.data())) return {};
    auto& [packets, bytes] = out.emplace_back();
    for (const knet_count& one : each) packets += one.packets, bytes += one.bytes;
  }
  return out;
}

}  // namespace knet::bpf

namespace knet {

namespace {

constexpr uint32_t kShot = 2, kRedirect = 7;  // TC_ACT_SHOT, TC_ACT_REDIRECT
constexpr size_t kMacBytes = 14;

/// An Ethernet frame with a UDP packet from and to the same address, which is behind this node itself: so what encap
/// makes of it is for decap.
std::string trial_frame(const IpAddr& inner) {
  constexpr size_t kPayload = 40;  // long enough that no padding is needed
  std::string frame(12, '\0');  // the loopback device's address: to this host
  auto put16 = [&](uint16_t value) { frame += {static_cast<char>(value >> 8), static_cast<char>(value)}; };
  auto put_address = [&] { frame.append(reinterpret_cast<const char*>(inner.data()), inner.size()); };
  put16(inner.is_v4() ? 0x0800 : 0x86dd);
  if (inner.is_v4()) {
    put16(0x4500), put16(20 + 8 + kPayload), put16(0x1234), put16(0), put16(63 << 8 | 17), put16(0);
  } else {
    put16(0x6000), put16(0), put16(8 + kPayload), put16(17 << 8 | 63);
  }
  put_address(), put_address();
  put16(1111), put16(2222), put16(8 + kPayload), put16(0);
  frame.append(kPayload, '\5');
  return frame;
}

/// There and back; empty if all is well.
std::string try_round(const Fd& encap, const Fd& decap, const IpAddr& inner) {
  const std::string frame = trial_frame(inner);
  const size_t header = inner.is_v4() ? 28 : 48;
  const size_t source_end = kMacBytes + (inner.is_v4() ? 16 : 24);
  const std::string_view family = inner.is_v4() ? "IPv4" : "IPv6";
  bpf::Trial there, back;
  if (!bpf::try_program(encap, frame, there)) return "BPF_PROG_TEST_RUN: " + errno_text(errno);
  if (there.verdict != kRedirect || there.frame.size() != frame.size() + header)
    return fmt::format("this kernel does not put an outer {} header before a packet", family);
  if (!bpf::try_program(decap, there.frame, back)) return "BPF_PROG_TEST_RUN: " + errno_text(errno);
  if (back.verdict != kRedirect || back.frame != frame)
    return fmt::format("this kernel does not take an outer {} header off a packet", family);
  there.frame[source_end - 1] = static_cast<char>(there.frame[source_end - 1] + 1);
  if (inner.is_v4()) there.frame[kMacBytes + 11] = static_cast<char>(there.frame[kMacBytes + 11] - 1);  // its checksum
  if (!bpf::try_program(decap, there.frame, back) || back.verdict != kShot)
    return fmt::format("a stranger's {} packet is not dropped by this kernel", family);
  return {};
}

}  // namespace

std::string try_bpf_tunnel() {
  try {
    Filter filter;
    filter.port = 8285;
    filter.local = IpAddr::v4(0xc0000201);
    filter.local6 = *IpAddr::parse("2001:db8::1");
    const TunnelPeer peers[] = {{{}, *Prefix::parse("10.1.0.0/16"), filter.local, filter.port, {}},
                                {{}, *Prefix::parse("fd00:1::/32"), filter.local6, filter.port, {}}};
    const bpf::TunnelMaps maps = bpf::make_tunnel_maps();
    for (const TunnelPeer& peer : peers)
      if (!bpf::put_peer(maps, peer)) return "BPF_MAP_UPDATE_ELEM: " + errno_text(errno);
    const bpf::Place loopback{1, 1, 1, false, true};
    const Fd encap = bpf::load_tunnel_program(filter, loopback, maps);
    filter.end = TunnelEnd::decap;
    const Fd decap = bpf::load_tunnel_program(filter, loopback, maps);
    for (const TunnelPeer& peer : peers)
      if (std::string trouble = try_round(encap, decap, peer.inner.addr().plus(2)); !trouble.empty()) return trouble;
    return {};
  } catch (const Error& error) {
    return error.text;
  }
}

}  // namespace knet
