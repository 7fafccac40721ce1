// Which peer an inner address belongs to, by the longest prefix, and whether an outer address is any peer's. Built once for
// each set of peers, then only read: by binary search in flat tables, without allocation. Any thread.
#pragma once

#include <netinet/in.h>

#include <span>
#include <vector>

#include "core/netstate.h"

namespace knet {

/// Where a peer's packets go to and come from.
struct OuterPeer {
  IpAddr address;
  union {
    sockaddr_in v4;
    sockaddr_in6 v6;
  } to{};
  static OuterPeer of(const IpAddr& address, uint16_t port);
  const sockaddr* name() const { return reinterpret_cast<const sockaddr*>(&to); }
  socklen_t name_size() const { return address.is_v6() ? sizeof to.v6 : sizeof to.v4; }
};

class PeerTable {
 public:
  PeerTable() = default;
  /// `peers` in any order, each inner prefix once.
  explicit PeerTable(std::span<const TunnelPeer> peers);

  /// The peer that has the address (`family`, network order bytes); null if nobody.
  const OuterPeer* find(Family family, const uint8_t* address) const;
  const OuterPeer* find(const IpAddr& inner) const { return find(inner.family(), inner.data()); }
  bool is_member(const IpAddr& outer) const;
  size_t size() const { return peers_.size(); }

 private:
  struct Address6 {
    uint64_t high, low;
    auto operator<=>(const Address6&) const = default;
  };
  static constexpr uint32_t kNobody = 0xffffffff;
  /// From starts[i] up to before starts[i + 1] all addresses belong to owners[i].
  template <typename Address>
  struct Ranges {
    std::vector<Address> starts;
    std::vector<uint32_t> owners;
    uint32_t find(Address address) const;
    void mark(Address start, uint32_t owner);
    struct Entry {
      Address first, last;
      int length;
      uint32_t owner;
    };
    void build(std::vector<Entry> entries);
  };
  static uint32_t number4(const uint8_t* bytes);
  static Address6 number6(const uint8_t* bytes);
  static bool step(uint32_t& number) { return ++number != 0; }
  static bool step(Address6& number) { return ++number.low != 0 || ++number.high != 0; }

  std::vector<OuterPeer> peers_;
  std::vector<IpAddr> members_;  // sorted
  Ranges<uint32_t> ranges4_;
  Ranges<Address6> ranges6_;
};

}  // namespace knet
