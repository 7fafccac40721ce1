#include "store/etcd_tls.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>
#include <string.h>

#include <algorithm>

#include "base/error.h"

namespace knet {

namespace {

/// Of an address in binary: 4 or 16 bytes; empty for a name.
std::string address_bytes(const std::string& host) {
  char bytes[16];
  if (inet_pton(AF_INET, host.c_str(), bytes) == 1) return {bytes, 4};
  if (inet_pton(AF_INET6, host.c_str(), bytes) == 1) return {bytes, 16};
  return {};
}

int kind(const mbedtls_x509_sequence& name) { return name.buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK; }

bool stands_in(const mbedtls_x509_crt& certificate, const std::string& address) {
  for (const mbedtls_x509_sequence* name = &certificate.subject_alt_names; name != nullptr; name = name->next)
    if (kind(*name) == MBEDTLS_X509_SAN_IP_ADDRESS && name->buf.len == address.size() && memcmp(name->buf.p, address.data(), address.size()) == 0)
      return true;
  return false;
}

/// As a server wrote it, so that none of it reaches a terminal raw.
std::string printable(const unsigned char* bytes, size_t size) {
  constexpr size_t kMost = 100;
  std::string text(reinterpret_cast<const char*>(bytes), std::min(size, kMost));
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';
  return text;
}

/// The names and addresses in it, the first few.
std::string names_in(const mbedtls_x509_crt& certificate) {
  constexpr int kMost = 6;
  std::string text;
  int count = 0;
  for (const mbedtls_x509_sequence* name = &certificate.subject_alt_names; name != nullptr; name = name->next) {
    char address[INET6_ADDRSTRLEN];
    std::string one;
    if (kind(*name) == MBEDTLS_X509_SAN_DNS_NAME) one = printable(name->buf.p, name->buf.len);
    if (kind(*name) == MBEDTLS_X509_SAN_IP_ADDRESS && (name->buf.len == 4 || name->buf.len == 16) &&
        inet_ntop(name->buf.len == 4 ? AF_INET : AF_INET6, name->buf.p, address, sizeof address) != nullptr)
      one = address;
    if (one.empty()) continue;
    if (++count > kMost) return text + ", ...";
    text += (text.empty() ? "" : ", ") + one;
  }
  return text.empty() ? "it names none" : text;
}

std::string day(const mbedtls_x509_time& time) { return fmt::format("{:04}-{:02}-{:02}", time.year, time.mon, time.day); }

std::string why_not(const mbedtls_x509_crt& certificate, int depth, uint32_t flags, const std::string& host) {
  const char* whose = depth == 0 ? "its certificate" : "the authority of its certificate";
  if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) return "its certificate is not signed by the authority we know; give the right one with --cacert";
  if (flags & MBEDTLS_X509_BADCERT_EXPIRED)
    return fmt::format("{} has expired (valid until {}); renew it, or set this machine's clock", whose, day(certificate.valid_to));
  if (flags & MBEDTLS_X509_BADCERT_FUTURE)
    return fmt::format("{} is not valid yet (from {}); set this machine's clock", whose, day(certificate.valid_from));
  if (flags & (MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY))
    return fmt::format("{} is too weak: it needs SHA-256 or better, and RSA of 2048 bits or ECDSA", whose);
  if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH)
    return fmt::format("its certificate is for another name or address ({}), not for {}; use one that stands in it", names_in(certificate), host);
  if (flags & (MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE | MBEDTLS_X509_BADCERT_NS_CERT_TYPE))
    return fmt::format("{} is not made for a server (its key usage)", whose);
  return fmt::format("{} is refused (mbedTLS' flags {:#x})", whose, flags);
}

}  // namespace

void start_tls() {
  static const psa_status_t started = psa_crypto_init();
  if (started != PSA_SUCCESS) fail(ErrorKind::kernel, "TLS can't start (PSA error {}); are there random bytes and memory?", started);
}

void check_authorities(const std::string& ca_file) {
  struct Chain : mbedtls_x509_crt {
    Chain() { mbedtls_x509_crt_init(this); }
    ~Chain() { mbedtls_x509_crt_free(this); }
  } chain;
  const int unusable = mbedtls_x509_crt_parse_file(&chain, ca_file.c_str());
  if (unusable < 0) fail(ErrorKind::config, "--cacert {}: holds no PEM certificates that can be used (RSA or ECDSA)", ca_file);
  if (unusable > 0) fail(ErrorKind::config, "--cacert {}: {} of its certificates can't be used (RSA or ECDSA can); take them out", ca_file, unusable);
}

std::string tls_failure(int code, bool certified) {
  // The upper part says which step failed, the lower seven bits why (mbedtls/error.h).
  const int step = -(-code & 0xff80);
  switch (step) {
    case MBEDTLS_ERR_SSL_WANT_READ:
    case MBEDTLS_ERR_SSL_WANT_WRITE: return "no answer in time; if this etcd speaks plain HTTP, write http://";
    case MBEDTLS_ERR_SSL_INVALID_RECORD:
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
    case MBEDTLS_ERR_SSL_CONN_EOF: return "no TLS came back; if this etcd speaks plain HTTP, write http://";
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
      return certified ? "the server refused it; does it know the authority of --cert, and TLS 1.2 or 1.3?"
                       : "the server refused it; if it wants a client certificate, give --cert and --key; it must know TLS 1.2 or 1.3";
    case MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION:
    case MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE: return "the server knows neither TLS 1.2 nor 1.3 with a cipher that knet has (ECDHE with AES-GCM or ChaCha20)";
    case MBEDTLS_ERR_SSL_BAD_CERTIFICATE: return "its certificate is broken, or not made for a server";
    case MBEDTLS_ERR_X509_FATAL_ERROR: return "its certificates can't be checked";
    case MBEDTLS_ERR_PK_UNKNOWN_PK_ALG:
    case MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE: return "its certificate has a key of a kind that knet has not; RSA and ECDSA on P-256, P-384 and P-521 it has";
    default: break;
  }
  if (step <= MBEDTLS_ERR_X509_FEATURE_UNAVAILABLE && step >= MBEDTLS_ERR_X509_BUFFER_TOO_SMALL)
    return fmt::format("its certificate can't be read (mbedTLS' error -{:#x}); RSA and ECDSA on P-256, P-384 and P-521 can", -code);
  return fmt::format("mbedTLS' error -{:#x}; if this etcd speaks plain HTTP, write http://", -code);
}

bool alerted(int code) { return code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE; }

void ServerTrust::begin() {
  refusal_.clear();
  approved_ = false;
}

bool ServerTrust::judge(const mbedtls_x509_crt& certificate, int depth, uint32_t flags) {
  const std::string address = address_bytes(host_);
  if (depth == 0 && !address.empty() && !stands_in(certificate, address)) flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
  if (flags != 0) {
    if (refusal_.empty()) refusal_ = why_not(certificate, depth, flags, host_);
    return false;
  }
  if (depth == 0) approved_ = true;
  return true;
}

bool ServerTrust::settle(uint32_t flags) {
  if (approved_ && flags == 0) return true;
  if (refusal_.empty())
    refusal_ = flags & (MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE) ? "its certificate is not made for a server (its key usage)"
                                                                                             : "its certificate was not approved";
  return false;
}

}  // namespace knet
