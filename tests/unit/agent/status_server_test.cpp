#include "agent/status_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "agent/notify.h"
#include "agent/status_client.h"
#include "base/error.h"
#include "base/fd.h"
#include "tests/unit/agent/temporary.h"

using namespace knet;
using namespace knet::test;
using namespace std::chrono_literals;

namespace {

struct Served {
  Temporary dir;
  NodePaths paths;
  std::vector<std::string> unready;
  std::vector<ServiceQuestion> asked;
  bool speaks = true;
  int left = 0;
  std::unique_ptr<StatusServer> server;

  Served() {
    paths.run_dir = dir.path();
    StatusSource source;
    source.status = [] {
      StatusSnapshot status;
      status.node = "n1";
      status.peers = 7;
      return format_status(status);
    };
    source.routes = [] {
      RouteRow row;
      row.dst = Prefix::parse("10.244.2.0/24").value();
      return format_routes("n1", std::vector<RouteRow>(2000, row));
    };
    source.metrics = [] { return std::string("knet_ready 1\n"); };
    source.unready = [this] { return unready; };
    source.question = [this](const ServiceQuestion& question) -> std::optional<std::string> {
      asked.push_back(question);
      for (const auto& [word, value] : question.words)
        if (value == "wrong") fail(ErrorKind::usage, "no {} is '{}'", word, value);
      return speaks ? std::optional("{\"what\":\"" + question.what + "\"}") : std::nullopt;
    };
    source.unanswered = [] { return std::string("n1 is not in bgp mode; its mode is vxlan"); };
    source.leave = [this] { ++left; };
    server = std::make_unique<StatusServer>(std::move(source));
  }
};

}  // namespace

TEST_CASE("status, routes, metrics and readiness over a unix socket") {
  Served served;
  CHECK_FALSE(fetch_status(served.paths));
  served.server->serve_unix(served.paths.agent_socket(), 0660, "no-such-group");
  const auto status = fetch_status(served.paths);
  REQUIRE(status);
  CHECK(status->node == "n1");
  CHECK(status->peers == 7);
  CHECK(fetch_routes(served.paths)->size() == 2000);
  CHECK(ask_agent(served.paths.agent_socket(), "/metrics")->body == "knet_ready 1\n");
  CHECK(ask_agent(served.paths.agent_socket(), "/healthz")->status == 200);
  CHECK(ask_agent(served.paths.agent_socket(), "/readyz")->status == 200);
  served.unready = {"no subnet yet", "device missing"};
  const auto ready = ask_agent(served.paths.agent_socket(), "/readyz");
  CHECK(ready->status == 503);
  CHECK(ready->body == "no subnet yet\ndevice missing\n");
  CHECK(ask_agent(served.paths.agent_socket(), "/nothing")->status == 404);
}

TEST_CASE("the socket has its mode, replaces one left behind, and goes with the server") {
  Served served;
  served.server->serve_unix(served.paths.status_socket(), 0666);
  struct stat info;
  REQUIRE(::stat(served.paths.status_socket().c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0666);
  // A second one takes its place, as after a crash.
  Served again;
  again.server->serve_unix(served.paths.status_socket(), 0600);
  REQUIRE(::stat(served.paths.status_socket().c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  again.server.reset();
  CHECK(::stat(served.paths.status_socket().c_str(), &info) != 0);
  CHECK_FALSE(ask_agent(served.paths.status_socket(), "/v1/status"));
}

TEST_CASE("a source that throws is an answer, not the end") {
  Served served;
  StatusSource source;
  source.status = []() -> std::string { throw Error(ErrorKind::kernel, "no netlink today"); };
  source.routes = source.metrics = source.status;
  source.unready = [] { return std::vector<std::string>{}; };
  StatusServer server(std::move(source));
  server.serve_unix(served.paths.agent_socket(), 0600);
  const auto answer = ask_agent(served.paths.agent_socket(), "/v1/routes");
  REQUIRE(answer);
  CHECK(answer->status == 500);
  CHECK(answer->body == "no netlink today\n");
  CHECK_THROWS_AS(fetch_status(served.paths), Error);
  CHECK(ask_agent(served.paths.agent_socket(), "/healthz")->status == 200);
}

TEST_CASE("one who says nothing does not keep the others out for long") {
  Served served;
  served.server->serve_unix(served.paths.agent_socket(), 0600);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, served.paths.agent_socket().c_str());
  Fd silent(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(silent.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(ask_agent(served.paths.agent_socket(), "/healthz", 5s)->status == 200);
}

TEST_CASE("addresses to listen on are checked") {
  Served served;
  for (const char* address : {"", "9101", "localhost:9101", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:http"})
    CHECK_THROWS_AS(served.server->serve_tcp(address, false), Error);
}

TEST_CASE("a client tells what does not answer, or not in HTTP") {
  Temporary dir;
  const auto path = dir.path() / "mute.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  Fd mute(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(mute.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK_FALSE(ask_agent(path, "/healthz", 50ms));  // bound, but nobody listens
  REQUIRE(::listen(mute.get(), 4) == 0);
  CHECK_THROWS_AS(ask_agent(path, "/healthz", 50ms), Error);
}

TEST_CASE("the service manager is told on its socket") {
  Temporary dir;
  const std::string path = (dir.path() / "notify").string();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  Fd manager(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(manager.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  setenv("NOTIFY_SOCKET", path.c_str(), 1);
  notify_service("READY=1\nSTATUS=ready; 2 peers");
  unsetenv("NOTIFY_SOCKET");
  char text[100] = {};
  REQUIRE(::recv(manager.get(), text, sizeof text - 1, MSG_DONTWAIT) > 0);
  CHECK(std::string(text) == "READY=1\nSTATUS=ready; 2 peers");
  notify_service("READY=1");  // elsewhere: nothing happens
}

TEST_CASE("questions to a service go over both sockets, what changes something over the agent's own") {
  Served served;
  const ServiceQuestion routes{"bgp/routes", {{"prefix", "10.0.0.0/8"}, {"received", "fd00::1 &=%"}}};
  CHECK_THROWS_WITH(ask_agent(served.paths, routes), Catch::Contains("no agent runs here"));
  served.server->serve_unix(served.paths.status_socket(), 0666);
  CHECK(ask_agent(served.paths.status_socket(), "/v1/bgp/peers")->status == 200);
  CHECK(post_to_agent(served.paths.status_socket(), "/v1/bgp/reset?all=1")->status == 404);
  CHECK(post_to_agent(served.paths.status_socket(), "/v1/leave")->status == 404);

  served.server->serve_unix(served.paths.agent_socket(), 0660, "", Access::change);
  CHECK(ask_agent(served.paths, routes) == R"({"what":"bgp/routes"})");
  CHECK(served.asked.back().words == routes.words);
  CHECK(ask_agent(served.paths, {"bgp/peers", {}}) == R"({"what":"bgp/peers"})");
  CHECK(tell_agent(served.paths, {"bgp/reset", {{"all", "1"}}}) == R"({"what":"bgp/reset"})");
  CHECK(ask_agent(served.paths.agent_socket(), "/v1/bgp/reset?all=1")->status == 404);  // by GET nothing changes
  CHECK(served.left == 0);
  CHECK(post_to_agent(served.paths.agent_socket(), "/v1/leave")->status == 200);
  CHECK(served.left == 1);

  try {
    tell_agent(served.paths, {"bgp/reset", {{"kind", "wrong"}}});
    FAIL("a wrong word was taken");
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::usage);
    CHECK(error.text == "no kind is 'wrong'");
  }
  served.speaks = false;
  try {
    ask_agent(served.paths, {"bgp/peers", {}});
    FAIL("an answer from nobody");
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::unsupported);
    CHECK(error.text == "n1 is not in bgp mode; its mode is vxlan");
  }
}
