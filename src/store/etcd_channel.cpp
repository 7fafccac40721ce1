#include "store/etcd_channel.h"

#include <fmt/core.h>

#include "base/text.h"
#include "store/etcd_error.h"
#include "store/etcd_wire.h"

namespace knet {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kAnswerLimit = 16u << 20;
constexpr milliseconds kLongestConnect{2000};  // of a stream

constexpr int kInvalidArgument = 3;
constexpr int kPermissionDenied = 7;
constexpr int kFailedPrecondition = 9;
constexpr int kUnauthenticated = 16;

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// This member can't, another one may: no leader, stopping, overloaded.
bool worth_another(int status, const etcd::ErrorAnswer& error) {
  return status >= 500 || (status == 404 && error.code == 0) || status == 408 || status == 429 || error.code == 14 || error.code == 4 || error.code == 1;
}

std::string advice(int status, const etcd::ErrorAnswer& error) {
  if (contains(error.text, "user name is empty")) return "; it wants a user and password: give --user and --password-file";
  if (contains(error.text, "authentication failed")) return "; user or password is wrong";
  if (error.code == kPermissionDenied) return "; grant the user read and write on the prefix (etcdctl role grant-permission)";
  if (contains(error.text, "HTTP request to an HTTPS server")) return "; it speaks TLS, write https://";
  if (contains(error.text, "database space exceeded")) return "; compact and defragment it (etcdctl), then: etcdctl alarm disarm";
  if (contains(error.text, "request is too large")) return "; raise its --max-request-bytes";
  if (status == 404 && error.code == 0) return "; this is not the v3 gateway of an etcd 3.4 or newer";
  return {};
}

}  // namespace

std::string EtcdChannel::endpoints() const { return join(settings_.endpoints, ","); }

HttpClient& EtcdChannel::client() {
  Member& member = members_[current_];
  if (!member.client) member.client = std::make_shared<HttpClient>(endpoint(), settings_.tls);
  std::lock_guard lock(running_mutex_);
  running_ = member.client;
  return *member.client;
}

void EtcdChannel::stop() {
  stopped_ = true;
  std::shared_ptr<HttpClient> running;
  {
    std::lock_guard lock(running_mutex_);
    running = running_;
  }
  if (running) running->stop();
}

bool EtcdChannel::authenticate(milliseconds timeout, Attempt& result) {
  Member& member = members_[current_];
  member.token.clear();
  HttpReply reply = client().post("/v3/auth/authenticate", etcd::authenticate_request(settings_.user, settings_.password), "",
                                  timeout, timeout, kAnswerLimit);
  if (reply.failure != HttpFailure::none) {
    result.why = reply.reason;
    return false;
  }
  if (reply.status == 200) {
    member.token = etcd::parse_token(reply.body);
    return true;
  }
  etcd::ErrorAnswer error = etcd::parse_error(reply.body);
  if (error.code == kFailedPrecondition) return true;  // authentication is off there: nothing to prove
  result.next = worth_another(reply.status, error);
  result.why = fmt::format("user {}: {}{}", settings_.user, error.text, advice(reply.status, error));
  return false;
}

EtcdChannel::Attempt EtcdChannel::attempt(const std::string& path, const std::string& body, Repeat repeat, milliseconds share,
                                          milliseconds left) {
  Attempt result;
  Member& member = members_[current_];
  bool fresh = false;
  Clock::time_point deadline = Clock::now() + (repeat == Repeat::safe ? share : left);
  if (!settings_.user.empty() && member.token.empty()) {
    if (!authenticate(share, result)) return result;
    fresh = true;
  }
  for (;;) {
    left = std::max(std::chrono::duration_cast<milliseconds>(deadline - Clock::now()), milliseconds(1));
    HttpReply reply = client().post(path, body, member.token, share, left, kAnswerLimit);
    if (reply.failure != HttpFailure::none) {
      result.why = reply.reason;
      bool sent = reply.failure != HttpFailure::connect;
      if (sent && repeat == Repeat::unsafe) {
        result.next = false;
        result.why += "; the change may or may not have been made";
      }
      if (reply.failure == HttpFailure::too_large) throw EtcdRefusal(endpoint() + ": its answer is too large", 0, "too large");
      return result;
    }
    if (reply.status == 200) {
      result.done = true;
      result.body = std::move(reply.body);
      return result;
    }
    etcd::ErrorAnswer error = etcd::parse_error(reply.body);
    bool token_problem = reply.status == 401 || error.code == kUnauthenticated ||
                         (error.code == kInvalidArgument && contains(error.text, "user name is empty")) ||
                         contains(error.text, "revision of auth store is old");
    if (token_problem && !settings_.user.empty() && !fresh) {
      fresh = true;
      if (!authenticate(left, result)) return result;
      continue;
    }
    std::string text = fmt::format("{}{}", error.text.empty() ? fmt::format("HTTP status {}", reply.status) : error.text,
                                   advice(reply.status, error));
    if (worth_another(reply.status, error)) {
      result.why = text;
      if (repeat == Repeat::unsafe) {
        result.next = false;
        result.why += "; the change may or may not have been made";
      }
      return result;
    }
    throw EtcdRefusal(fmt::format("{}: {}", endpoint(), text), error.code, error.text);
  }
}

std::string EtcdChannel::call(const std::string& path, const std::string& body, Repeat repeat) {
  Clock::time_point deadline = Clock::now() + settings_.timeout;
  std::string whys;
  for (size_t tried = 0; tried < members_.size(); ++tried) {
    if (stopped_) fail(ErrorKind::store, "{}: stopped", endpoint());
    // An even share of what is left, so that one endpoint that swallows packets leaves time for the others.
    auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    milliseconds share = left / static_cast<int>(members_.size() - tried);
    if (share <= milliseconds(0)) {
      whys += fmt::format("{}{}: not asked, {} ms were over", whys.empty() ? "" : "; ", endpoint(), settings_.timeout.count());
      break;
    }
    Attempt result = attempt(path, body, repeat, share, left);
    if (result.done) return std::move(result.body);
    whys += fmt::format("{}{}: {}", whys.empty() ? "" : "; ", endpoint(), result.why);
    rotate();
    if (!result.next) break;
  }
  throw Error(ErrorKind::store, std::move(whys));
}

HttpReply EtcdChannel::stream(const std::string& path, const std::string& body, milliseconds idle,
                              const std::function<bool(std::string_view)>& on_data) {
  HttpClient& http = client();
  if (stopped_) return {HttpFailure::stopped, 0, "", "stopped"};
  return http.stream(path, body, members_[current_].token, std::min(settings_.timeout, kLongestConnect), idle, on_data);
}

}  // namespace knet
