#include "agent/status_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

namespace knet {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kLargestAnswer = 64u << 20;

// Waits for `events` until the deadline.
void await(int fd, short events, Clock::time_point deadline, const std::string& where) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd poll_fd{fd, events, 0};
    const int n = left <= 0 ? 0 : ::poll(&poll_fd, 1, static_cast<int>(left));
    if (n > 0) return;
    if (n == 0) fail(ErrorKind::kernel, "the agent at {} does not answer in time", where);
    if (errno != EINTR) throw_errno(errno, "wait for {}", where);
  }
}

HttpAnswer parse_answer(const std::string& bytes, const std::string& where) {
  // "HTTP/1.1 200 OK"
  const size_t head_end = bytes.find("\r\n\r\n");
  if (!bytes.starts_with("HTTP/1.") || bytes.size() < 12 || head_end == std::string::npos)
    fail(ErrorKind::kernel, "what listens at {} does not speak HTTP", where);
  HttpAnswer answer;
  answer.status = static_cast<int>(parse_int(std::string_view(bytes).substr(9, 3)).value_or(0));
  answer.body = bytes.substr(head_end + 4);
  for (std::string_view line : split(std::string_view(bytes).substr(0, head_end), '\n')) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !equals_ignoring_case(trim(line.substr(0, colon)), "content-length"))
      continue;
    const auto length = parse_int(trim(line.substr(colon + 1)));
    if (!length || static_cast<size_t>(*length) != answer.body.size())
      fail(ErrorKind::kernel, "the answer of {} was cut short", where);
  }
  return answer;
}

std::optional<HttpAnswer> ask_either(const NodePaths& paths, const std::string& path,
                                     std::chrono::milliseconds timeout) {
  try {
    return ask_agent(paths.agent_socket(), path, timeout);
  } catch (const Error&) {
    return ask_agent(paths.status_socket(), path, timeout);
  }
}

std::optional<HttpAnswer> ask_for(const NodePaths& paths, const std::string& path, std::chrono::milliseconds timeout) {
  std::optional<HttpAnswer> answer = ask_either(paths, path, timeout);
  if (answer && answer->status != 200)
    fail(ErrorKind::kernel, "the agent answers {} to {}: {}", answer->status, path, printable(trim(answer->body), 200));
  return answer;
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string path_of(const ServiceQuestion& question) {
  std::string path = "/v1/" + question.what;
  char before = '?';
  for (const auto& [word, value] : question.words) {
    path += before + percent_encoded(word) + "=" + percent_encoded(value);
    before = '&';
  }
  return path;
}

std::string body_of(const NodePaths& paths, std::optional<HttpAnswer> answer) {
  if (!answer)
    fail(ErrorKind::kernel, "no agent runs here ({}); start it with: systemctl start knet, or: knet agent",
         paths.agent_socket().string());
  if (answer->status == 200) return std::move(answer->body);
  const ErrorKind kind = answer->status == 404   ? ErrorKind::unsupported
                         : answer->status == 400 ? ErrorKind::usage
                                                 : ErrorKind::kernel;
  fail(kind, "{}", printable(trim(answer->body), 500));
}

std::optional<HttpAnswer> request(std::string_view method, const std::filesystem::path& socket, const std::string& path,
                                  std::chrono::milliseconds timeout) {
  const std::string where = socket.string();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (where.size() >= sizeof address.sun_path) fail(ErrorKind::config, "{} is too long for a socket", where);
  std::memcpy(address.sun_path, where.c_str(), where.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw_errno(errno, "make a socket");
  const auto deadline = Clock::now() + timeout;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) return std::nullopt;
    throw_errno(errno, "ask the agent at {}", where);
  }
  const std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: knet\r\nConnection: close\r\n{}\r\n", method, path,
                                       method == "POST" ? "Content-Length: 0\r\n" : "");
  if (::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    throw_errno(errno, "ask the agent at {}", where);
  std::string bytes;
  for (;;) {
    await(fd.get(), POLLIN, deadline, where);
    char piece[16384];
    const ssize_t n = ::recv(fd.get(), piece, sizeof piece, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno(errno, "read from the agent at {}", where);
    if (n == 0) break;
    bytes.append(piece, static_cast<size_t>(n));
    if (bytes.size() > kLargestAnswer)
      fail(ErrorKind::kernel, "the answer of {} is larger than {} bytes", where, kLargestAnswer);
  }
  return parse_answer(bytes, where);
}

}  // namespace

std::optional<HttpAnswer> ask_agent(const std::filesystem::path& socket, const std::string& path,
                                    std::chrono::milliseconds timeout) {
  return request("GET", socket, path, timeout);
}

std::optional<HttpAnswer> post_to_agent(const std::filesystem::path& socket, const std::string& path,
                                        std::chrono::milliseconds timeout) {
  return request("POST", socket, path, timeout);
}

std::string ask_agent(const NodePaths& paths, const ServiceQuestion& question, std::chrono::milliseconds timeout) {
  return body_of(paths, ask_either(paths, path_of(question), timeout));
}

std::string tell_agent(const NodePaths& paths, const ServiceQuestion& question, std::chrono::milliseconds timeout) {
  return body_of(paths, post_to_agent(paths.agent_socket(), path_of(question), timeout));
}

std::optional<StatusSnapshot> fetch_status(const NodePaths& paths, std::chrono::milliseconds timeout) {
  auto answer = ask_for(paths, "/v1/status", timeout);
  if (!answer) return std::nullopt;
  return parse_status(answer->body);
}

std::optional<std::vector<RouteRow>> fetch_routes(const NodePaths& paths, std::chrono::milliseconds timeout) {
  auto answer = ask_for(paths, "/v1/routes", timeout);
  if (!answer) return std::nullopt;
  return parse_routes(answer->body);
}

}  // namespace knet
