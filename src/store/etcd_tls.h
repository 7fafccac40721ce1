// Whom a TLS connection to etcd believes, and words for why one failed. mbedTLS asks judge() for each certificate during the
// handshake, the highest authority first. One connection's, on its thread; opens no socket and never throws for what a
// server sends.
#pragma once

#include <cstdint>
#include <string>

struct mbedtls_x509_crt;

namespace knet {

/// Makes mbedTLS ready; any thread, any number of times. Throws Error{kernel} if it can't be.
void start_tls();

/// Throws Error{config} if not all that the file of --cacert holds is PEM certificates that can be used.
void check_authorities(const std::string& ca_file);

/// What mbedTLS' error `code` of a handshake means, and what to do. `certified`: we had a client certificate.
std::string tls_failure(int code, bool certified);
/// It says that the server sent a fatal alert; with TLS 1.3 that is how it refuses a client certificate.
bool alerted(int code);

class ServerTrust {
 public:
  /// The host of the URL: a name, an IPv4 address, or an IPv6 address without brackets.
  explicit ServerTrust(std::string host) : host_(std::move(host)) {}

  /// Forgets the last handshake.
  void begin();
  /// `flags`: what mbedTLS has against it (MBEDTLS_X509_BADCERT_*), the name's mismatch included where the host is a name;
  /// an address is compared here. `depth` 0 is the server's own. False ends the handshake.
  bool judge(const mbedtls_x509_crt& certificate, int depth, uint32_t flags);
  /// After the handshake, with all of its flags: true only if the server's own certificate was judged, and good.
  bool settle(uint32_t flags);
  /// Why a certificate was refused, for people; empty if none was.
  const std::string& refusal() const { return refusal_; }

 private:
  std::string host_;
  std::string refusal_;
  bool approved_ = false;
};

}  // namespace knet
