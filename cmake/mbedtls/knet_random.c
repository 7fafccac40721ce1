#include "knet_random.h"

#include <errno.h>
#include <mbedtls/entropy.h>
#include <psa/crypto.h>
#include <sys/random.h>

int knet_random(void *unused, unsigned char *bytes, size_t size) {
  (void)unused;
  while (size > 0) {
    const ssize_t got = getrandom(bytes, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
    bytes += got;
    size -= (size_t)got;
  }
  return 0;
}

psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context, uint8_t *output, size_t size,
                                             size_t *length) {
  (void)context;
  *length = 0;
  if (knet_random(NULL, output, size) != 0) return PSA_ERROR_INSUFFICIENT_ENTROPY;
  *length = size;
  return PSA_SUCCESS;
}
