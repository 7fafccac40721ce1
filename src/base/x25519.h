// X25519 keys (RFC 7748) as wireguard uses them: making a private one, and the public one of a private one. Any thread.
// Private bytes are wiped where this code held copies of them; the caller wipes its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace knet {

using X25519Key = std::array<uint8_t, 32>;

/// From the kernel's random source, clamped (RFC 7748, section 5). Throws Error{kernel} if there is no randomness.
X25519Key make_x25519_private();
X25519Key x25519_public(const X25519Key& private_key);

/// Overwrites secret bytes in a way that the compiler does not leave out.
void wipe(void* bytes, size_t size);

/// Wipes what it refers to at the end of its scope: a string's bytes, or a key's.
template <typename Bytes>
class Wiped {
 public:
  explicit Wiped(Bytes& bytes) : bytes_(bytes) {}
  ~Wiped() { wipe(bytes_.data(), bytes_.size()); }
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;

 private:
  Bytes& bytes_;
};

}  // namespace knet
