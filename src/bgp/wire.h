// Reading and writing big-endian fields of BGP messages within bounds. A reader never goes past its end; a writer that
// is full remembers that, and writes no more. Pure; no allocation.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "base/big_endian.h"

namespace knet::bgp {

/// What is left of some bytes. Callers check has() first; a read beyond the end gives zeros and an empty rest.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : rest_(bytes) {}
  size_t left() const { return rest_.size(); }
  bool has(size_t count) const { return rest_.size() >= count; }
  std::span<const uint8_t> rest() const { return rest_; }
  std::span<const uint8_t> take(size_t count) {
    const auto taken = rest_.first(has(count) ? count : 0);
    rest_ = has(count) ? rest_.subspan(count) : rest_.first(0);
    return taken;
  }
  uint8_t u8() {
    const auto at = take(1);
    return at.empty() ? uint8_t{0} : at[0];
  }
  uint16_t u16() {
    const auto at = take(2);
    return at.empty() ? uint16_t{0} : get16(at.data());
  }
  uint32_t u32() {
    const auto at = take(4);
    return at.empty() ? 0 : get32(at.data());
  }

 private:
  std::span<const uint8_t> rest_;
};

/// Fills someone else's bytes from the front.
class Writer {
 public:
  explicit Writer(std::span<uint8_t> room) : room_(room) {}
  size_t size() const { return size_; }
  bool overflowed() const { return overflowed_; }
  void bytes(const void* from, size_t count) {
    if (count == 0 || !fits(count)) return;
    std::memcpy(room_.data() + size_, from, count);
    size_ += count;
  }
  void u8(uint8_t value) { bytes(&value, 1); }
  void u16(size_t value) {
    if (!fits(2)) return;
    put16(room_.data() + size_, value);
    size_ += 2;
  }
  void u32(uint32_t value) {
    if (!fits(4)) return;
    put32(room_.data() + size_, value);
    size_ += 4;
  }

 private:
  bool fits(size_t count) {
    overflowed_ = overflowed_ || room_.size() - size_ < count;
    return !overflowed_;
  }
  std::span<uint8_t> room_;
  size_t size_ = 0;
  bool overflowed_ = false;
};

}  // namespace knet::bgp
