#include "tunnel/peer_table.h"

#include <algorithm>
#include <cstring>

namespace knet {

OuterPeer OuterPeer::of(const IpAddr& address, uint16_t port) {
  OuterPeer outer;
  outer.address = address;
  if (address.is_v6()) {
    outer.to.v6.sin6_family = AF_INET6;
    outer.to.v6.sin6_port = htons(port);
    std::memcpy(&outer.to.v6.sin6_addr, address.data(), 16);
  } else {
    outer.to.v4.sin_family = AF_INET;
    outer.to.v4.sin_port = htons(port);
    std::memcpy(&outer.to.v4.sin_addr, address.data(), 4);
  }
  return outer;
}

uint32_t PeerTable::number4(const uint8_t* bytes) {
  uint32_t number;
  std::memcpy(&number, bytes, sizeof number);
  return ntohl(number);
}

PeerTable::Address6 PeerTable::number6(const uint8_t* bytes) {
  return {uint64_t{number4(bytes)} << 32 | number4(bytes + 4), uint64_t{number4(bytes + 8)} << 32 | number4(bytes + 12)};
}

template <typename Address>
uint32_t PeerTable::Ranges<Address>::find(Address address) const {
  const auto after = std::upper_bound(starts.begin(), starts.end(), address);
  return after == starts.begin() ? kNobody : owners[static_cast<size_t>(after - starts.begin()) - 1];
}

template <typename Address>
void PeerTable::Ranges<Address>::mark(Address start, uint32_t owner) {
  if (!starts.empty() && starts.back() == start) {
    owners.back() = owner;
    return;
  }
  starts.push_back(start);
  owners.push_back(owner);
}

template <typename Address>
void PeerTable::Ranges<Address>::build(std::vector<Entry> entries) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.first != b.first ? a.first < b.first : a.length < b.length; });
  starts.reserve(2 * entries.size());
  owners.reserve(2 * entries.size());
  std::vector<Entry> open;  // each lies within the one before
  const auto leave = [&] {
    const Entry done = open.back();
    open.pop_back();
    Address next = done.last;
    if (step(next)) mark(next, open.empty() ? kNobody : open.back().owner);
  };
  for (const Entry& entry : entries) {
    while (!open.empty() && open.back().last < entry.first) leave();
    mark(entry.first, entry.owner);
    open.push_back(entry);
  }
  while (!open.empty()) leave();
}

PeerTable::PeerTable(std::span<const TunnelPeer> peers) {
  peers_.reserve(peers.size());
  members_.reserve(peers.size());
  std::vector<Ranges<uint32_t>::Entry> entries4;
  std::vector<Ranges<Address6>::Entry> entries6;
  for (const TunnelPeer& peer : peers) {
    if (!peer.outer) continue;
    const auto owner = static_cast<uint32_t>(peers_.size());
    const Prefix inner = peer.inner.masked();
    if (inner.is_v4())
      entries4.push_back({number4(inner.addr().data()), number4(inner.last().data()), inner.length(), owner});
    else
      entries6.push_back({number6(inner.addr().data()), number6(inner.last().data()), inner.length(), owner});
    peers_.push_back(OuterPeer::of(peer.outer, peer.port));
    members_.push_back(peer.outer);
  }
  std::sort(members_.begin(), members_.end());
  members_.erase(std::unique(members_.begin(), members_.end()), members_.end());
  ranges4_.build(std::move(entries4));
  ranges6_.build(std::move(entries6));
}

const OuterPeer* PeerTable::find(Family family, const uint8_t* address) const {
  const uint32_t owner = family == Family::v6 ? ranges6_.find(number6(address)) : ranges4_.find(number4(address));
  return owner == kNobody ? nullptr : &peers_[owner];
}

bool PeerTable::is_member(const IpAddr& outer) const {
  return std::binary_search(members_.begin(), members_.end(), outer);
}

}  // namespace knet
