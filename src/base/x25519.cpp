#include "base/x25519.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include <memory>

#include "base/error.h"

namespace knet {

void wipe(void* bytes, size_t size) { OPENSSL_cleanse(bytes, size); }

X25519Key make_x25519_private() {
  X25519Key key;
  for (size_t got = 0; got < key.size();) {
    const ssize_t n = getrandom(key.data() + got, key.size() - got, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno(errno, "get random bytes for a key");
    got += static_cast<size_t>(n);
  }
  key[0] &= 248;
  key[31] = static_cast<uint8_t>((key[31] & 127) | 64);
  return key;
}

X25519Key x25519_public(const X25519Key& private_key) {
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, private_key.data(), private_key.size()), EVP_PKEY_free);
  X25519Key made;
  size_t size = made.size();
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), made.data(), &size) != 1 || size != made.size())
    fail(ErrorKind::bug, "OpenSSL gives no X25519 public key");
  return made;
}

}  // namespace knet
