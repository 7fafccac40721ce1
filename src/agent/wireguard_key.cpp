#include "agent/wireguard_key.h"

#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "base/x25519.h"
#include "core/wireguard_key.h"

namespace knet {
namespace {

constexpr size_t kMostBytes = 4096;
constexpr std::string_view kMode = "wireguard";

bool wanted(const NetworkConfig& config) {
  return config.mode == kMode ||
         std::any_of(config.earlier.begin(), config.earlier.end(), [](const auto& mode) { return mode.first == kMode; });
}

void make(const std::filesystem::path& file) {
  X25519Key key = make_x25519_private();
  const Wiped wipe_key(key);
  std::string text = format_wireguard_key(key) + "\n";
  const Wiped wipe_text(text);
  create_file(file, text, 0600);
}

}  // namespace

void know_wireguard_key(LocalNode& self, const NodePaths& paths, const NetworkConfig& config, MakeKey may_make) {
  const std::filesystem::path file = paths.wireguard_key();
  self.wireguard_key_file = file;
  if (::access(file.c_str(), R_OK) != 0) {
    if (may_make == MakeKey::no || errno != ENOENT || !wanted(config)) return;
    if (may_make == MakeKey::for_show) {
      X25519Key key = make_x25519_private();
      const Wiped wipe_key(key);
      self.wireguard_key = x25519_public(key);
      return;
    }
    make(file);
  }
  std::string text = read_file(file, kMostBytes).value_or("");
  const Wiped wipe_text(text);
  auto key = parse_wireguard_key(trim(text));
  if (!key)
    fail(ErrorKind::config, "{} holds no wireguard key (32 bytes in base64); remove it, and a new one is made",
         file.native());
  const Wiped wipe_key(*key);
  self.wireguard_key = x25519_public(*key);
}

}  // namespace knet
