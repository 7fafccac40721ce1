#include "store/etcd_http.h"

#include <knet_random.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/error.h"
#include "store/etcd_tls.h"
#include "store/httplib_tls.h"

namespace knet {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

void check_file(const std::string& path, std::string_view flag) {
  if (path.empty() || ::access(path.c_str(), R_OK) == 0) return;
  fail(ErrorKind::config, "{} {}: {}", flag, path, errno_text(errno));
}

/// A dead peer is noticed after 10 + 3 * 5 s of silence, unacknowledged data after 20 s: tcp(7).
void keep_watch_on_peer(socket_t fd) {
  int on = 1, idle = 10, every = 5, times = 3, unacknowledged_ms = 20'000;
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
}

}  // namespace

struct HttpClient::Connection {
  Connection(const std::string& url, const HttpTls& tls)
      : client(url, tls.cert_file, tls.key_file),
        secure(url.starts_with("https:")),
        certified(!tls.cert_file.empty()),
        trust(client.host()) {}

  HttpReply send(httplib::Request& request, const std::string& token);
  HttpReply failed(httplib::Error error, int tls_error) const;
  void judge_certificates();

  httplib::Client client;
  bool secure;
  bool certified;
  bool answered = false;
  ServerTrust trust;
};

HttpClient::HttpClient(const std::string& url, const HttpTls& tls) {
  if (url.starts_with("https:")) start_tls();
  check_file(tls.cert_file, "--cert");
  check_file(tls.key_file, "--key");
  check_file(tls.ca_file, "--cacert");
  connection_ = std::make_unique<Connection>(url, tls);
  httplib::Client& client = connection_->client;
  if (!client.is_valid())
    fail(ErrorKind::config, "--cert {} and --key {} are not a PEM certificate and its key (RSA or ECDSA, not encrypted)", tls.cert_file,
         tls.key_file);
  if (connection_->secure) connection_->judge_certificates();
  if (connection_->secure && !tls.ca_file.empty()) {
    check_authorities(tls.ca_file);
    client.set_ca_cert_path(tls.ca_file);
  }
  client.set_keep_alive(true);
  client.set_tcp_nodelay(true);
  client.set_socket_options(keep_watch_on_peer);
}

HttpClient::~HttpClient() = default;

void HttpClient::stop() { connection_->client.stop(); }

// With mbedTLS httplib looks at no certificate of a server that is named by its address. So nobody but `trust` decides:
// the session's verifier refuses what the certificates' verifier (send) has not approved.
void HttpClient::Connection::judge_certificates() {
  auto* context = static_cast<httplib::tls::impl::MbedTlsContext*>(client.tls_context());
  mbedtls_ssl_conf_rng(&context->conf, knet_random, nullptr);
  client.set_session_verifier([this](httplib::tls::session_t session) {
    return trust.settle(static_cast<uint32_t>(httplib::tls::get_verify_result(session))) ? httplib::SSLVerifierResponse::CertificateAccepted
                                                                                         : httplib::SSLVerifierResponse::CertificateRejected;
  });
}

HttpReply HttpClient::Connection::failed(httplib::Error error, int tls_error) const {
  HttpReply reply;
  reply.failure = HttpFailure::connect;
  switch (error) {
    case httplib::Error::Connection:
      reply.reason = "can't connect; check that etcd runs there and that the address is right";
      break;
    case httplib::Error::ConnectionTimeout: reply.reason = "no answer to connecting; check the address and firewalls between"; break;
    case httplib::Error::SSLConnection:
    case httplib::Error::SSLServerVerification:
      reply.reason = !trust.refusal().empty() ? trust.refusal() : "the TLS handshake failed: " + tls_failure(tls_error, certified);
      break;
    case httplib::Error::SSLLoadingCerts: reply.reason = "the file of --cacert holds no PEM certificates"; break;
    case httplib::Error::Canceled:
      reply.failure = HttpFailure::stopped;
      reply.reason = "stopped";
      break;
    default:
      reply.failure = HttpFailure::lost;
      reply.reason = "the connection broke before the answer came (" + httplib::to_string(error) + ")";
      if (alerted(tls_error)) reply.reason += "; it ended TLS with an alert" + std::string(certified ? ": does it know the authority of --cert?" : "");
      // Only where nothing has come from it yet: later it is a restart or the network.
      if (!answered && secure && !certified) reply.reason += "; if it wants a client certificate, give --cert and --key";
      if (!answered && !secure) reply.reason += "; if it speaks TLS, write https://";
      break;
  }
  return reply;
}

HttpReply HttpClient::Connection::send(httplib::Request& request, const std::string& token) {
  request.method = "POST";
  request.set_header("Content-Type", "application/json");
  if (!token.empty()) request.set_header("Authorization", token);
  if (secure) {
    trust.begin();
    // httplib keeps it for the thread, and this may be another one than the last time.
    client.set_server_certificate_verifier([this](const httplib::tls::VerifyContext& seen) {
      return trust.judge(*static_cast<const mbedtls_x509_crt*>(seen.cert), seen.depth, static_cast<uint32_t>(seen.error_code));
    });
  }
  httplib::tls::get_error();  // forgets the thread's last one
  httplib::Result result = client.send(request);
  if (!result) return failed(result.error(), -static_cast<int>(httplib::tls::get_error()));
  answered = true;
  HttpReply reply;
  reply.status = result->status;
  return reply;
}

HttpReply HttpClient::post(const std::string& path, const std::string& body, const std::string& token, milliseconds connect,
                           milliseconds timeout, size_t limit) {
  Clock::time_point deadline = Clock::now() + timeout;
  connection_->client.set_connection_timeout(std::min(connect, timeout));
  connection_->client.set_read_timeout(timeout);
  connection_->client.set_write_timeout(timeout);
  std::string answer;
  HttpFailure why = HttpFailure::none;
  httplib::Request request;
  request.path = path;
  request.body = body;
  // Through a receiver, so that neither size nor trickling is up to the server.
  request.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
    if (answer.size() + size > limit) why = HttpFailure::too_large;
    if (Clock::now() > deadline) why = HttpFailure::timed_out;
    if (why != HttpFailure::none) return false;
    answer.append(data, size);
    return true;
  };
  HttpReply reply = connection_->send(request, token);
  if (why == HttpFailure::none && reply.failure == HttpFailure::lost && Clock::now() >= deadline) why = HttpFailure::timed_out;
  if (why != HttpFailure::none) {
    reply.failure = why;
    reply.reason = why == HttpFailure::too_large ? "its answer is too large" : "no answer in time; try again or raise --timeout";
  }
  reply.body = std::move(answer);
  return reply;
}

HttpReply HttpClient::stream(const std::string& path, const std::string& body, const std::string& token, milliseconds connect,
                             milliseconds idle, const std::function<bool(std::string_view)>& on_data) {
  constexpr size_t kErrorText = 64 * 1024;
  connection_->client.set_connection_timeout(connect);
  connection_->client.set_write_timeout(connect);
  connection_->client.set_read_timeout(idle);
  int status = 0;
  bool ended = false;
  std::string error_text;
  httplib::Request request;
  request.path = path;
  request.body = body;
  request.response_handler = [&](const httplib::Response& response) {
    status = response.status;
    return true;
  };
  request.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
    if (status != 200) {
      error_text.append(data, std::min(size, kErrorText - std::min(kErrorText, error_text.size())));
      return error_text.size() < kErrorText;
    }
    ended = !on_data({data, size});
    return !ended;
  };
  // A member that has lost its leader would stay silent; this makes it end the stream instead.
  request.set_header("Grpc-Metadata-hasleader", "true");
  HttpReply reply = connection_->send(request, token);
  if (ended) {
    reply.failure = HttpFailure::stopped;
    reply.reason = "stopped";
  }
  reply.body = std::move(error_text);
  return reply;
}

}  // namespace knet
