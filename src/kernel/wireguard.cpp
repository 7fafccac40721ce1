#include "kernel/wireguard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "core/wireguard_key.h"

namespace knet {

namespace {

// A message's attributes sit in one nest, whose length has 16 bits: well below it, and below the capacity of message_.
constexpr size_t kMessageBytes = 32 << 10;
// Of a peer without its allowed prefixes: nest, key, flags, preshared key, endpoint, keepalive, nest.
constexpr size_t kPeerBytes = 4 + 36 + 8 + 36 + 32 + 8 + 4;
constexpr size_t kAllowedBytes = 4 + 8 + 20 + 8;
constexpr size_t kAllowedPerMessage = (kMessageBytes - kPeerBytes) / kAllowedBytes;
// A session is no more used this long after its handshake (REJECT_AFTER_TIME, the protocol's paper 6.1).
constexpr int64_t kSessionSeconds = 180;

size_t size_of(const WireguardPeer& peer) { return kPeerBytes + peer.allowed.size() * kAllowedBytes; }

WireguardKey key_of(Attr attr) {
  WireguardKey key{};
  if (attr.size() == key.size()) memcpy(key.data(), attr.data(), key.size());
  return key;
}

void read_endpoint(Attr attr, WireguardPeer& peer) {
  sockaddr_in6 address{};
  if (attr.size() < sizeof(sockaddr_in) || attr.size() > sizeof address) return;
  memcpy(&address, attr.data(), attr.size());
  if (address.sin6_family == AF_INET6 && attr.size() == sizeof address) {
    peer.endpoint = IpAddr::from_bytes(Family::v6, &address.sin6_addr);
    peer.port = ntohs(address.sin6_port);
  } else if (address.sin6_family == AF_INET) {
    sockaddr_in v4;
    memcpy(&v4, attr.data(), sizeof v4);
    peer.endpoint = IpAddr::from_bytes(Family::v4, &v4.sin_addr);
    peer.port = ntohs(v4.sin_port);
  }
}

bool in_session(Attr last_handshake) {
  int64_t seconds = 0;
  if (last_handshake.size() < sizeof seconds) return false;
  memcpy(&seconds, last_handshake.data(), sizeof seconds);
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return seconds != 0 && now.tv_sec - seconds < kSessionSeconds;
}

void read_allowed(Attr list, WireguardPeer& peer) {
  list.for_each([&](Attr element) {
    Attrs<WGALLOWEDIP_A_CIDR_MASK> attrs(element);
    IpAddr address = attrs[WGALLOWEDIP_A_IPADDR].ip();
    if (address && attrs[WGALLOWEDIP_A_CIDR_MASK].u8() <= address.bits())
      peer.allowed.emplace_back(address, attrs[WGALLOWEDIP_A_CIDR_MASK].u8());
  });
}

void put_endpoint(NlMessage& message, const WireguardPeer& peer) {
  if (peer.endpoint.is_v4()) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(peer.port);
    memcpy(&address.sin_addr, peer.endpoint.data(), peer.endpoint.size());
    message.put(WGPEER_A_ENDPOINT, &address, sizeof address);
  } else if (peer.endpoint.is_v6()) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(peer.port);
    memcpy(&address.sin6_addr, peer.endpoint.data(), peer.endpoint.size());
    message.put(WGPEER_A_ENDPOINT, &address, sizeof address);
  }
}

}  // namespace

bool Wireguard::find_family() {
  if (family_) return true;
  genlmsghdr head{CTRL_CMD_GETFAMILY, 1, 0};
  message_.begin(GENL_ID_CTRL, 0, head).put_text(CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
  socket_.request(message_, [&](const nlmsghdr* answer) {
    family_ = Attrs<CTRL_ATTR_FAMILY_ID>(answer, sizeof head)[CTRL_ATTR_FAMILY_ID].u16();
  });
  return family_ != 0;
}

void Wireguard::begin(int command, int index) {
  genlmsghdr head{static_cast<uint8_t>(command), WG_GENL_VERSION, 0};
  message_.begin(family_, 0, head).put_u32(WGDEVICE_A_IFINDEX, static_cast<uint32_t>(index));
}

bool Wireguard::read(const DevName& dev, int index, WireguardAttrs& device, std::vector<WireguardPeer>& peers) {
  if (!find_family()) return false;
  const size_t start = peers.size();
  std::vector<bool> sessions;
  auto peer_found = [&](Attr element) {
    Attrs<WGPEER_A_ALLOWEDIPS> attrs(element);
    const WireguardKey key = key_of(attrs[WGPEER_A_PUBLIC_KEY]);
    // One whose prefixes did not fit goes on in the next message, with nothing but its key and more of them.
    const bool goes_on = peers.size() > start && peers.back().public_key == key;
    WireguardPeer& peer = goes_on ? peers.back() : peers.emplace_back();
    if (!goes_on) {
      peer.dev = dev;
      peer.public_key = key;
      read_endpoint(attrs[WGPEER_A_ENDPOINT], peer);
      peer.keepalive = attrs[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL].u16();
      const WireguardKey preshared = key_of(attrs[WGPEER_A_PRESHARED_KEY]);
      if (preshared != WireguardKey{}) peer.preshared_key = preshared;
      sessions.push_back(in_session(attrs[WGPEER_A_LAST_HANDSHAKE_TIME]));
    }
    read_allowed(attrs[WGPEER_A_ALLOWEDIPS], peer);
  };
  begin(WG_CMD_GET_DEVICE, index);
  auto result = socket_.dump(
      message_,
      [&] {
        peers.resize(start);
        sessions.clear();
      },
      [&](const nlmsghdr* answer) {
        Attrs<WGDEVICE_A_PEERS> attrs(answer, sizeof(genlmsghdr));
        if (attrs[WGDEVICE_A_LISTEN_PORT]) device.port = attrs[WGDEVICE_A_LISTEN_PORT].u16();
        if (attrs[WGDEVICE_A_PUBLIC_KEY]) device.public_key = key_of(attrs[WGDEVICE_A_PUBLIC_KEY]);
        attrs[WGDEVICE_A_PEERS].for_each(peer_found);
      });
  for (size_t i = start; i < peers.size(); ++i) {
    WireguardPeer& peer = peers[i];
    std::sort(peer.allowed.begin(), peer.allowed.end());
    if (!sessions[i - start]) continue;
    // The endpoint is where the peer's last authenticated packet came from, which need not be the one announced.
    auto given = given_.find({index, peer.public_key});
    if (given == given_.end())
      peer.roamed = true;
    else
      std::tie(peer.endpoint, peer.port) = given->second;
  }
  return result == NlSocket::Dump::whole;
}

NlFailure Wireguard::set_device(int index, const WireguardAttrs& wireguard) {
  if (!find_family()) return {0, EOPNOTSUPP, "this kernel has no wireguard"};
  std::optional<WireguardKey> key;
  try {
    std::string text = read_file(wireguard.key_file, 4096).value_or("");
    key = parse_wireguard_key(trim(text));
    explicit_bzero(text.data(), text.size());
  } catch (const Error& error) {
    return {0, EIO, error.text};
  }
  if (!key)
    return {0, EINVAL, fmt::format("'{}' holds no wireguard key (32 bytes in base64)", wireguard.key_file)};
  begin(WG_CMD_SET_DEVICE, index);
  message_.put(WGDEVICE_A_PRIVATE_KEY, key->data(), key->size());
  explicit_bzero(key->data(), key->size());
  message_.put_u16(WGDEVICE_A_LISTEN_PORT, wireguard.port).put_u32(WGDEVICE_A_FWMARK, 0);
  NlFailure result = socket_.request(message_);
  explicit_bzero(message_.header(), message_.size());
  if (result.error == EADDRINUSE) result.reason = fmt::format("UDP port {} is taken", wireguard.port);
  if (result.error) return result;
  WireguardAttrs now;
  std::vector<WireguardPeer> peers;
  if (read({}, index, now, peers) && now.public_key != wireguard.public_key)
    return {0, EKEYREJECTED,
            fmt::format("the private key in {} does not belong to the public key that this node announces",
                        wireguard.key_file)};
  return {};
}

void Wireguard::put_peer(const WireguardPeerOp& op, Range allowed) {
  const WireguardPeer& peer = *op.peer;
  const bool first = allowed.first == 0;
  auto element = message_.nest(0);
  message_.put(WGPEER_A_PUBLIC_KEY, peer.public_key.data(), peer.public_key.size());
  if (op.remove) {
    message_.put_u32(WGPEER_A_FLAGS, WGPEER_F_REMOVE_ME);
    return;
  }
  if (first) {
    // A key of zeros is none.
    const WireguardKey preshared = peer.preshared_key.value_or(WireguardKey{});
    message_.put_u32(WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS);
    message_.put(WGPEER_A_PRESHARED_KEY, preshared.data(), preshared.size());
    put_endpoint(message_, peer);
    message_.put_u16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, peer.keepalive);
  }
  auto list = message_.nest(WGPEER_A_ALLOWEDIPS);
  for (size_t i = allowed.first; i < allowed.second; ++i) {
    const Prefix& prefix = peer.allowed[i];
    auto entry = message_.nest(0);
    message_.put_u16(WGALLOWEDIP_A_FAMILY, prefix.is_v4() ? AF_INET : AF_INET6);
    message_.put_ip(WGALLOWEDIP_A_IPADDR, prefix.addr());
    message_.put_u8(WGALLOWEDIP_A_CIDR_MASK, static_cast<uint8_t>(prefix.length()));
  }
}

NlFailure Wireguard::send_peers(int index, const WireguardPeerOp* first, const WireguardPeerOp* last) {
  begin(WG_CMD_SET_DEVICE, index);
  {
    auto list = message_.nest(WGDEVICE_A_PEERS);
    for (const WireguardPeerOp* op = first; op != last; ++op) put_peer(*op, {0, op->peer->allowed.size()});
  }
  NlFailure result = socket_.request(message_);
  explicit_bzero(message_.header(), message_.size());  // preshared keys
  return result;
}

NlFailure Wireguard::send_long_peer(int index, const WireguardPeerOp& op) {
  const size_t count = op.peer->allowed.size();
  for (size_t at = 0; at < count; at += kAllowedPerMessage) {
    begin(WG_CMD_SET_DEVICE, index);
    {
      auto list = message_.nest(WGDEVICE_A_PEERS);
      put_peer(op, {at, std::min(count, at + kAllowedPerMessage)});
    }
    NlFailure result = socket_.request(message_);
    explicit_bzero(message_.header(), message_.size());
    if (result.error) return result;
  }
  return {};
}

void Wireguard::assume(int index, const WireguardPeer& peer) {
  if (peer.endpoint) given_.try_emplace({index, peer.public_key}, peer.endpoint, peer.port);
}

void Wireguard::remember(int index, const WireguardPeerOp& op) {
  const std::pair<int, WireguardKey> key{index, op.peer->public_key};
  if (op.remove || !op.peer->endpoint)
    given_.erase(key);
  else
    given_[key] = {op.peer->endpoint, op.peer->port};
}

std::vector<NlFailure> Wireguard::set_peers(int index, const std::vector<WireguardPeerOp>& ops) {
  std::vector<NlFailure> failures;
  if (!find_family()) {
    for (const WireguardPeerOp& op : ops) failures.push_back({op.cookie, EOPNOTSUPP, "this kernel has no wireguard"});
    return failures;
  }
  auto settle = [&](const WireguardPeerOp& op, NlFailure result) {
    result.cookie = op.cookie;
    if (result.error)
      failures.push_back(std::move(result));
    else
      remember(index, op);
  };
  const WireguardPeerOp* const end = ops.data() + ops.size();
  for (const WireguardPeerOp* at = ops.data(); at != end;) {
    if (!at->remove && at->peer->allowed.size() > kAllowedPerMessage) {
      settle(*at, send_long_peer(index, *at));
      ++at;
      continue;
    }
    const WireguardPeerOp* last = at;
    for (size_t size = 0; last != end && (size += last->remove ? kPeerBytes : size_of(*last->peer)) <= kMessageBytes;)
      ++last;
    // The kernel stops at the first peer that it refuses, and does not say which: then one by one.
    const bool all = send_peers(index, at, last).error == 0;
    for (; at != last; ++at) settle(*at, all ? NlFailure{} : send_peers(index, at, at + 1));
  }
  return failures;
}

}  // namespace knet
