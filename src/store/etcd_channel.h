// Requests to an etcd cluster of several endpoints: failover, one token for each endpoint, errors in words. One thread;
// stop() from any. The password and the tokens never leave here except to the server.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "store/etcd_http.h"

namespace knet {

struct EtcdSettings {
  std::vector<std::string> endpoints;  // "http://a:2379", one scheme for all
  HttpTls tls;
  std::string user, password;          // none if user is empty
  std::chrono::milliseconds timeout{5000};
};

class EtcdChannel {
 public:
  enum class Repeat {
    safe,    // asking twice does no harm: the next endpoint is asked when an answer is lost
    unsafe,  // sent once; a lost answer is an error that says so
  };

  explicit EtcdChannel(const EtcdSettings& settings) : settings_(settings), members_(settings.endpoints.size()) {}

  /// The body of the 200 answer of the first endpoint that gives one; within the settings' timeout over all of them.
  /// Throws Error{store} naming each endpoint and what to do. Refusals by etcd itself are thrown as EtcdRefusal.
  std::string call(const std::string& path, const std::string& body, Repeat repeat);

  /// A streaming request to the endpoint that answered last, with its token. See HttpClient::stream.
  HttpReply stream(const std::string& path, const std::string& body, std::chrono::milliseconds idle,
                   const std::function<bool(std::string_view)>& on_data);
  /// The next call begins at another endpoint.
  void rotate() { current_ = (current_ + 1) % members_.size(); }
  const std::string& endpoint() const { return settings_.endpoints[current_]; }
  std::string endpoints() const;  // all, for people
  /// Ends the request that is running; repeat until it has. Later ones fail at once until resume().
  void stop();
  void resume() { stopped_ = false; }

 private:
  struct Member {
    std::shared_ptr<HttpClient> client;  // shared with a stop() that is going on
    std::string token;
  };
  struct Attempt {
    bool done = false;
    bool next = true;  // another endpoint may be asked
    std::string body;
    std::string why;
  };
  HttpClient& client();
  /// What may be repeated gets `share` of the time, so that others can be asked; what may not gets all that is `left`.
  Attempt attempt(const std::string& path, const std::string& body, Repeat repeat, std::chrono::milliseconds share,
                  std::chrono::milliseconds left);
  /// False with the reason if there is no token to be had here.
  bool authenticate(std::chrono::milliseconds timeout, Attempt& result);

  EtcdSettings settings_;
  std::vector<Member> members_;
  size_t current_ = 0;
  std::atomic<bool> stopped_{false};
  std::mutex running_mutex_;
  std::shared_ptr<HttpClient> running_;  // guarded by running_mutex_
};

}  // namespace knet
