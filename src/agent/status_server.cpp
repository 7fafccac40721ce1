#include "agent/status_server.h"

#include <sys/stat.h>
#include <sys/un.h>

#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/ip.h"
#include "base/text.h"
#include "store/httplib_tls.h"

namespace knet {
namespace {

constexpr auto kJson = "application/json";
constexpr auto kText = "text/plain; charset=utf-8";
constexpr auto kPrometheus = "text/plain; version=0.0.4; charset=utf-8";
constexpr time_t kReadSeconds = 2;
constexpr time_t kWriteSeconds = 5;
constexpr size_t kLargestBody = 1024;
constexpr size_t kMostWaiting = 64;

std::optional<gid_t> group_id(const std::string& name) {
  // Not getgrnam: a static binary has no name service modules.
  auto groups = read_file("/etc/group", 4u << 20);
  if (!groups) return std::nullopt;
  for (std::string_view line : split(*groups, '\n')) {
    auto fields = split(line, ':');
    if (fields.size() < 3 || fields[0] != name) continue;
    if (auto id = parse_int(fields[2])) return static_cast<gid_t>(*id);
  }
  return std::nullopt;
}

// One thread. Since 0.27 or so a pool may also grow, and its constructor has one more argument between.
template <typename Pool = httplib::ThreadPool>
httplib::TaskQueue* new_pool(size_t most_waiting) {
  if constexpr (std::is_constructible_v<Pool, size_t, size_t, size_t>) return new Pool(1, 1, most_waiting);
  else return new Pool(1, most_waiting);
}

void limit(httplib::Server& server) {
  // Connections that wait hold a descriptor each, and anybody may connect to the status socket: past these they are
  // closed.
  server.new_task_queue = [] { return new_pool(kMostWaiting); };
  server.set_keep_alive_max_count(1);
  server.set_keep_alive_timeout(kReadSeconds);
  server.set_read_timeout(kReadSeconds);
  server.set_write_timeout(kWriteSeconds);
  server.set_payload_max_length(kLargestBody);
}

std::string lines(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& item : items) out += item + "\n";
  return out;
}

// "host:port", "[v6]:port" or ":port".
std::pair<std::string, int> parse_listen(const std::string& address) {
  const size_t colon = address.rfind(':');
  const int64_t port =
      colon == std::string::npos ? 0 : parse_int(std::string_view(address).substr(colon + 1)).value_or(0);
  std::string host = colon == std::string::npos ? "" : address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host.empty()) host = "::";
  if (port < 1 || port > 65535 || !IpAddr::parse(host))
    fail(ErrorKind::usage, "'{}' is not an address to listen on; give one such as 127.0.0.1:9101", address);
  return {host, static_cast<int>(port)};
}

}  // namespace

namespace {

ServiceQuestion question_of(const httplib::Request& request) {
  ServiceQuestion question;
  question.what = request.path.substr(std::string_view("/v1/").size());
  for (const auto& [word, value] : request.params) question.words.emplace_back(word, value);
  return question;
}

void answer_question(const StatusSource& source, const httplib::Request& request, httplib::Response& response) {
  try {
    if (auto json = source.question(question_of(request))) return response.set_content(std::move(*json), kJson);
    response.status = 404;
    response.set_content(source.unanswered() + "\n", kText);
  } catch (const Error& error) {
    if (error.kind != ErrorKind::usage) throw;
    response.status = 400;
    response.set_content(error.text + "\n", kText);
  }
}

// What looks, on every socket that is not flanneld's.
void serve_views(httplib::Server& server, const StatusSource& source) {
  const auto answer = [&server](const char* at, const char* type, const std::function<std::string()>& text) {
    server.Get(
        at, [type, text](const httplib::Request&, httplib::Response& response) { response.set_content(text(), type); });
  };
  answer("/v1/status", kJson, source.status);
  answer("/v1/routes", kJson, source.routes);
  answer("/metrics", kPrometheus, source.metrics);
  if (!source.question) return;
  for (const char* at : {"/v1/bgp/peers", "/v1/bgp/routes"})
    server.Get(at, [source](const httplib::Request& request, httplib::Response& response) {
      answer_question(source, request, response);
    });
}

void serve_changes(httplib::Server& server, const StatusSource& source) {
  if (source.question)
    server.Post("/v1/bgp/reset", [source](const httplib::Request& request, httplib::Response& response) {
      answer_question(source, request, response);
    });
  if (source.leave)
    server.Post("/v1/leave", [leave = source.leave](const httplib::Request&, httplib::Response& response) {
      leave();
      response.set_content("ok\n", kText);
    });
}

}  // namespace

struct StatusServer::Listener {
  httplib::Server server;
  std::filesystem::path socket;
  std::thread thread;

  ~Listener() {
    server.stop();
    if (thread.joinable()) thread.join();
    if (!socket.empty()) ::unlink(socket.c_str());
  }
};

StatusServer::StatusServer(StatusSource source) : source_(std::move(source)) {}
StatusServer::~StatusServer() = default;

void StatusServer::start(std::unique_ptr<Listener> listener) {
  httplib::Server& server = listener->server;
  server.set_exception_handler([](const httplib::Request&, httplib::Response& response, std::exception_ptr thrown) {
    std::string text = "failed";
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& error) {
      text = error.what();
    } catch (...) {
    }
    response.status = 500;
    response.set_content(text + "\n", kText);
  });
  listener->thread = std::thread([&server] { server.listen_after_bind(); });
  server.wait_until_ready();
  listeners_.push_back(std::move(listener));
}

void StatusServer::serve_unix(const std::filesystem::path& path, unsigned mode, const std::string& group,
                              Access access) {
  sockaddr_un limit_of;
  if (path.string().size() >= sizeof limit_of.sun_path)
    fail(ErrorKind::config, "{} is too long for a socket; give a shorter --run-dir", path.string());
  make_directories(path.parent_path());
  remove_file(path);
  auto listener = std::make_unique<Listener>();
  httplib::Server& server = listener->server;
  limit(server);
  serve_views(server, source_);
  if (access == Access::change) serve_changes(server, source_);
  server.Get("/healthz",
             [](const httplib::Request&, httplib::Response& response) { response.set_content("ok\n", kText); });
  server.Get("/readyz", [unready = source_.unready](const httplib::Request&, httplib::Response& response) {
    const auto why = unready();
    response.status = why.empty() ? 200 : 503;
    response.set_content(why.empty() ? "ready\n" : lines(why), kText);
  });
  server.set_address_family(AF_UNIX);
  if (!server.bind_to_port(path.string(), 80)) throw_errno(errno, "listen on {}", path.string());
  listener->socket = path;
  if (::chmod(path.c_str(), mode) != 0) throw_errno(errno, "set the mode of {}", path.string());
  if (auto gid = group.empty() ? std::nullopt : group_id(group))
    if (::chown(path.c_str(), static_cast<uid_t>(-1), *gid) != 0)
      throw_errno(errno, "give {} to the group {}", path.string(), group);
  start(std::move(listener));
}

void StatusServer::serve_tcp(const std::string& address, bool as_flanneld) {
  const auto [host, port] = parse_listen(address);
  auto listener = std::make_unique<Listener>();
  httplib::Server& server = listener->server;
  limit(server);
  const char* alive = as_flanneld ? "flanneld is running" : "ok\n";
  const char* good = as_flanneld ? "flanneld is ready" : "ready\n";
  server.Get("/healthz",
             [alive](const httplib::Request&, httplib::Response& response) { response.set_content(alive, kText); });
  server.Get("/readyz", [good, unready = source_.unready](const httplib::Request&, httplib::Response& response) {
    const auto why = unready();
    response.status = why.empty() ? 200 : 503;
    response.set_content(why.empty() ? std::string(good) : lines(why), kText);
  });
  if (!as_flanneld) serve_views(server, source_);
  if (!server.bind_to_port(host, port)) throw_errno(errno, "listen on {}", address);
  start(std::move(listener));
}

}  // namespace knet
