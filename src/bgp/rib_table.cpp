#include "bgp/rib_table.h"

#include <cstring>
#include <random>

namespace knet::bgp {
namespace {

uint64_t fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t hash(const Prefix& prefix, uint64_t seed) {
  uint64_t words[2];
  std::memcpy(words, prefix.addr().data(), sizeof words);
  const auto kind = static_cast<uint64_t>(prefix.length()) << 8 | static_cast<uint64_t>(prefix.family());
  return fold(fold(words[0] ^ seed, words[1] ^ 0x9e3779b97f4a7c15) ^ kind, seed | 1);
}

}  // namespace

NetTable::NetTable() : slots_(1024, kNone) {
  std::random_device device;
  seed_ = uint64_t{device()} << 32 | device();
}

size_t NetTable::slot_of(const Prefix& prefix) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = hash(prefix, seed_) & mask;
  while (slots_[slot] != kNone && nets_[slots_[slot]].prefix != prefix) slot = (slot + 1) & mask;
  return slot;
}

uint32_t NetTable::find(const Prefix& prefix) const { return slots_[slot_of(prefix)]; }

uint32_t NetTable::find_or_make(const Prefix& prefix) {
  size_t slot = slot_of(prefix);
  if (slots_[slot] != kNone) return slots_[slot];
  if ((nets_.alive() + 1) * 4 > slots_.size() * 3) {
    grow();
    slot = slot_of(prefix);
  }
  const uint32_t net = nets_.make();
  nets_[net].prefix = prefix;
  return slots_[slot] = net;
}

void NetTable::drop(uint32_t net) {
  const size_t mask = slots_.size() - 1;
  size_t hole = slot_of(nets_[net].prefix);
  // Whatever was pushed past the hole moves back, so that no search ends too early.
  for (size_t at = (hole + 1) & mask; slots_[at] != kNone; at = (at + 1) & mask) {
    const size_t home = hash(nets_[slots_[at]].prefix, seed_) & mask;
    if (((at - home) & mask) < ((at - hole) & mask)) continue;
    slots_[hole] = slots_[at];
    hole = at;
  }
  slots_[hole] = kNone;
  nets_.drop(net);
}

void NetTable::grow() {
  std::vector<uint32_t> old(slots_.size() * 2, kNone);
  old.swap(slots_);
  for (const uint32_t net : old) {
    if (net != kNone) slots_[slot_of(nets_[net].prefix)] = net;
  }
}

}  // namespace knet::bgp
