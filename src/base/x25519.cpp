#include "base/x25519.h"

#include <errno.h>
#include <knet_random.h>
#include <mbedtls/ecp.h>
#include <string.h>

#include "base/error.h"

namespace knet {

void wipe(void* bytes, size_t size) { explicit_bzero(bytes, size); }

X25519Key make_x25519_private() {
  X25519Key key;
  if (knet_random(nullptr, key.data(), key.size()) != 0) throw_errno(errno, "get random bytes for a key");
  key[0] &= 248;
  key[31] = static_cast<uint8_t>((key[31] & 127) | 64);
  return key;
}

X25519Key x25519_public(const X25519Key& private_key) {
  struct Pair : mbedtls_ecp_keypair {
    Pair() { mbedtls_ecp_keypair_init(this); }
    ~Pair() { mbedtls_ecp_keypair_free(this); }  // wipes
  } pair;
  X25519Key made;
  size_t size = 0;
  // The random bytes only blind the computation against being watched.
  if (mbedtls_ecp_read_key(MBEDTLS_ECP_DP_CURVE25519, &pair, private_key.data(), private_key.size()) != 0 ||
      mbedtls_ecp_keypair_calc_public(&pair, knet_random, nullptr) != 0 ||
      mbedtls_ecp_write_public_key(&pair, MBEDTLS_ECP_PF_UNCOMPRESSED, &size, made.data(), made.size()) != 0 || size != made.size())
    fail(ErrorKind::bug, "mbedTLS gives no X25519 public key");
  return made;
}

}  // namespace knet
