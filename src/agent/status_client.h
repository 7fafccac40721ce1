// Asks a running agent over its unix socket. Plain HTTP/1.1 GET, and POST for what changes something; blocks at most
// `timeout`; any thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "agent/node.h"
#include "agent/status.h"
#include "core/mode.h"

namespace knet {

struct HttpAnswer {
  int status = 0;
  std::string body;
};

/// GET `path` over the socket. Nothing if no agent listens there (no socket, or refused). Throws Error{kernel} for a
/// socket that may not be opened, an answer that makes no sense or does not come in time.
std::optional<HttpAnswer> ask_agent(const std::filesystem::path& socket, const std::string& path,
                                    std::chrono::milliseconds timeout = std::chrono::milliseconds(2000));
/// The same as a POST without a body.
std::optional<HttpAnswer> post_to_agent(const std::filesystem::path& socket, const std::string& path,
                                        std::chrono::milliseconds timeout = std::chrono::milliseconds(2000));

/// Over agent.sock, or status.sock where that one may not be opened. Nothing: no agent runs.
std::optional<StatusSnapshot> fetch_status(const NodePaths& paths,
                                           std::chrono::milliseconds timeout = std::chrono::milliseconds(2000));
std::optional<std::vector<RouteRow>> fetch_routes(const NodePaths& paths,
                                                  std::chrono::milliseconds timeout = std::chrono::milliseconds(5000));

/// A question to one of the agent's services (ServiceQuestion): its JSON. Over agent.sock, or status.sock where that one
/// may not be opened. Throws Error{kernel} if no agent runs here, Error{unsupported} with the agent's own words if
/// nothing there answers such a question (bgp/...: the node is not in bgp mode), Error{usage} for words it refuses.
std::string ask_agent(const NodePaths& paths, const ServiceQuestion& question,
                      std::chrono::milliseconds timeout = std::chrono::milliseconds(5000));
/// The same by POST, for what changes something ("bgp/reset"); over agent.sock only.
std::string tell_agent(const NodePaths& paths, const ServiceQuestion& question,
                       std::chrono::milliseconds timeout = std::chrono::milliseconds(5000));

}  // namespace knet
