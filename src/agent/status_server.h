// The status API over HTTP on unix sockets, and on TCP when asked: /v1/status /v1/routes /v1/bgp/peers /v1/bgp/routes
// /healthz /readyz /metrics; on the agent's own socket besides what changes something: POST /v1/bgp/reset /v1/leave. Has
// threads of its own, which wait in accept(2) and never wake by themselves; they get their answers from the source's
// functions, which must be safe to call from any thread and must not wait for the loop.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/mode.h"

namespace knet {

struct StatusSource {
  std::function<std::string()> status;                // JSON
  std::function<std::string()> routes;                // JSON
  std::function<std::string()> metrics;               // Prometheus text
  std::function<std::vector<std::string>()> unready;  // why; empty: ready
  /// JSON; nothing if no service here answers it. Throws Error{usage} for wrong words.
  std::function<std::optional<std::string>(const ServiceQuestion&)> question;
  std::function<std::string()> unanswered;  // why, for people
  std::function<void()> leave;              // the node is about to leave the cluster
};

/// Who a socket is for: all may look, only the agent's own users may change something.
enum class Access : bool { look, change };

class StatusServer {
 public:
  explicit StatusServer(StatusSource source);
  ~StatusServer();  // stops, joins, removes the sockets

  /// Replaces a socket left behind. `group`: given the socket if there is such a group. Throws Error{kernel}.
  void serve_unix(const std::filesystem::path& path, unsigned mode, const std::string& group = {},
                  Access access = Access::look);
  /// "127.0.0.1:9101", "[::1]:9101", ":9101". With `as_flanneld` only /healthz and /readyz, in flannel's words.
  /// Throws Error{usage} for an address that makes no sense, Error{kernel} if it is taken.
  void serve_tcp(const std::string& address, bool as_flanneld);

 private:
  struct Listener;
  void start(std::unique_ptr<Listener> listener);

  StatusSource source_;
  std::vector<std::unique_ptr<Listener>> listeners_;
};

}  // namespace knet
