// Digests for names and change detection; not for secrets.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace knet {

std::array<uint8_t, 20> sha1(std::string_view bytes);
/// Lower-case hex of the first `digits` hex digits of sha1(bytes).
std::string sha1_hex(std::string_view bytes, size_t digits = 40);
/// FNV-1a 64: stable across versions; used for content fingerprints.
uint64_t fingerprint(std::string_view bytes, uint64_t seed = 0xcbf29ce484222325u);

}  // namespace knet
