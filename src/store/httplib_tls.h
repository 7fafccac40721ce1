// httplib.h, mended in one place; whoever wants httplib includes this. To see whether the peer has closed a kept connection,
// its mbedTLS part reads one byte, and loses it if an answer was on its way. Here that one call, the only one with a literal
// length, looks without taking.
#pragma once

#include <mbedtls/ssl.h>

#include <cstddef>

namespace knet {

inline int tls_read(mbedtls_ssl_context* ssl, unsigned char* bytes, size_t size) { return mbedtls_ssl_read(ssl, bytes, size); }

/// 1 if application data waits, which stays; else what mbedtls_ssl_read says.
inline int tls_read(mbedtls_ssl_context* ssl, unsigned char* bytes, int) {
  const int result = mbedtls_ssl_read(ssl, bytes, 0);
  return result == 0 && mbedtls_ssl_get_bytes_avail(ssl) > 0 ? 1 : result;
}

}  // namespace knet

#define mbedtls_ssl_read knet::tls_read
#include <httplib.h>
#undef mbedtls_ssl_read
