// HTTP to one etcd endpoint over cpp-httplib, whose header only etcd_http.cpp includes (it costs seconds to compile).
// Kept alive between requests. One thread at a time; stop() from any. Never follows redirects, uses no proxy, and does
// not throw for what the network does: the reply says it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace knet {

struct HttpTls {
  std::string cert_file, key_file, ca_file;
};

enum class HttpFailure {
  none,
  connect,    // nothing was sent
  lost,       // sent, perhaps done; the answer did not come
  timed_out,  // the same, by our clock
  too_large,  // the answer passed the limit
  stopped,
};

struct HttpReply {
  HttpFailure failure = HttpFailure::none;
  int status = 0;      // of HTTP, where there is no failure
  std::string body;    // of a stream: only where the status is not 200
  std::string reason;  // of the failure, for people, with what to do if that is known
};

class HttpClient {
 public:
  /// `url` is "http://host:port" or "https://host:port". Throws Error{config} for a TLS file that can't be read.
  HttpClient(const std::string& url, const HttpTls& tls);
  ~HttpClient();

  /// `token` goes bare into Authorization if not empty. The answer must be complete within `timeout`, connecting included.
  HttpReply post(const std::string& path, const std::string& body, const std::string& token, std::chrono::milliseconds connect,
                 std::chrono::milliseconds timeout, size_t limit);
  /// Hands over a 200 answer's body piece by piece as it comes, until it ends, `on_data` is false, nothing comes for `idle`
  /// or stop() is called. A peer that vanished without a word is noticed by TCP keep-alive within half a minute.
  HttpReply stream(const std::string& path, const std::string& body, const std::string& token, std::chrono::milliseconds connect,
                   std::chrono::milliseconds idle, const std::function<bool(std::string_view)>& on_data);
  /// Ends the request that is running, if it has its connection yet: repeat until it has ended.
  void stop();

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace knet
