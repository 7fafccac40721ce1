// The prefix table of the RIB: prefixes ("nets") and their routes in paged pools, found by a hash of the prefix. Small
// records, indices instead of pointers, no allocation per route; what an attacker chooses does not choose the slot.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bgp/rib.h"

namespace knet::bgp {

inline constexpr uint32_t kNone = 0xffffffff;

inline Afi afi_of(const Prefix& prefix) { return prefix.is_v6() ? Afi::v6 : Afi::v4; }

/// An array that grows by pages: no copying, no doubled peak.
template <class T>
class Paged {
 public:
  T& at(uint32_t i) {
    while (i >> kShift >= pages_.size()) pages_.push_back(std::make_unique<T[]>(size_t{1} << kShift));
    return pages_[i >> kShift][i & kMask];
  }
  const T* find(uint32_t i) const { return i >> kShift < pages_.size() ? &pages_[i >> kShift][i & kMask] : nullptr; }
  T& operator[](uint32_t i) { return pages_[i >> kShift][i & kMask]; }
  const T& operator[](uint32_t i) const { return pages_[i >> kShift][i & kMask]; }

 private:
  static constexpr uint32_t kShift = 9, kMask = (1u << kShift) - 1;
  std::vector<std::unique_ptr<T[]>> pages_;
};

/// Records with indices that are used again.
template <class T>
class Pool {
 public:
  uint32_t make() {
    if (free_.empty()) {
      items_.at(size_);
      return size_++;
    }
    const uint32_t i = free_.back();
    free_.pop_back();
    return i;
  }
  void drop(uint32_t i) {
    items_[i] = T{};
    free_.push_back(i);
  }
  T& operator[](uint32_t i) { return items_[i]; }
  const T& operator[](uint32_t i) const { return items_[i]; }
  uint32_t end() const { return size_; }  // indices below were used at some time
  size_t alive() const { return size_ - free_.size(); }

 private:
  Paged<T> items_;
  std::vector<uint32_t> free_;
  uint32_t size_ = 0;
};

struct Route {
  AttrRef raw;  // as received
  AttrRef in;   // as import made it
  PeerId peer = kLocal;
  uint32_t net = kNone;
  uint32_t next = kNone;                          // of the same net
  uint32_t peer_prev = kNone, peer_next = kNone;  // of the same peer
  Loss loss = Loss::none;                         // of the last decision
  bool refused : 1 = false, looped : 1 = false, stale : 1 = false, long_lived : 1 = false, multipath : 1 = false;
  bool asked_again : 1 = false;  // stale only because the peer is sending all anew (RFC 7313)
};

struct Net {
  Prefix prefix;            // unset: not in use
  bool dirty : 1 = false;   // to be decided
  bool forced : 1 = false;  // to be told anew even with the same best
  bool noted : 1 = false;   // in the changes that nobody has taken yet
  uint32_t first = kNone;   // route
  PeerId best_peer = kLocal;
  uint32_t told = 0;                               // groups that advertise it
  AttrRef best;                                    // null: none
  std::unique_ptr<std::vector<IpAddr>> more_hops;  // beside the best's, for ECMP
};

class NetTable {
 public:
  NetTable();
  uint32_t find(const Prefix& prefix) const;  // kNone
  uint32_t find_or_make(const Prefix& prefix);
  void drop(uint32_t net);
  Net& operator[](uint32_t net) { return nets_[net]; }
  const Net& operator[](uint32_t net) const { return nets_[net]; }
  uint32_t end() const { return nets_.end(); }
  size_t size() const { return nets_.alive(); }

 private:
  size_t slot_of(const Prefix& prefix) const;
  void grow();

  Pool<Net> nets_;
  std::vector<uint32_t> slots_;  // open addressing, linear; kNone is empty
  uint64_t seed_;
};

}  // namespace knet::bgp
