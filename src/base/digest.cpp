#include "base/digest.h"

#include <mbedtls/sha1.h>

#include <algorithm>

namespace knet {

std::array<uint8_t, 20> sha1(std::string_view bytes) {
  std::array<uint8_t, 20> digest{};
  // It fails only where a device computes it.
  mbedtls_sha1(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return digest;
}

std::string sha1_hex(std::string_view bytes, size_t digits) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : sha1(bytes)) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  text.resize(std::min(digits, text.size()));
  return text;
}

uint64_t fingerprint(std::string_view bytes, uint64_t seed) {
  uint64_t hash = seed;
  for (const char c : bytes) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  return hash;
}

}  // namespace knet
