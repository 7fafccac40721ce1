#include "tests/support/etcd_server.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "base/error.h"

namespace knet::test {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

ScratchDir::ScratchDir() {
  char name[] = "/tmp/knet-etcd-XXXXXX";
  if (!::mkdtemp(name)) throw_errno(errno, "mkdtemp {}", name);
  path = name;
}

ScratchDir::~ScratchDir() {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

Certificates::Certificates(const fs::path& dir) {
  auto at = [&](const char* name) { return (dir / name).string(); };
  auto openssl = [](std::vector<std::string> words) {
    words.insert(words.begin(), "openssl");
    Finished done = run(std::move(words));
    if (done.status != 0) fail(ErrorKind::bug, "openssl: {}", done.err);
  };
  std::ofstream(at("server.ext")) << "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n";
  std::ofstream(at("client.ext")) << "extendedKeyUsage=clientAuth\n";
  auto authority = [&](const std::string& name) {
    openssl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=" + name,
             "-keyout", (dir / (name + ".key")).string(), "-out", (dir / (name + ".pem")).string()});
    return (dir / (name + ".pem")).string();
  };
  auto signed_by_ca = [&](const std::string& name) {
    std::string base = (dir / name).string();
    openssl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=" + name, "-keyout", base + ".key",
             "-out", base + ".csr"});
    openssl({"x509", "-req", "-in", base + ".csr", "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "2",
             "-extfile", base + ".ext", "-out", base + ".pem"});
  };
  ca = authority("ca");
  other_ca = authority("other");
  signed_by_ca("server");
  signed_by_ca("client");
  server_cert = at("server.pem");
  server_key = at("server.key");
  client_cert = at("client.pem");
  client_key = at("client.key");
}

EtcdServer::EtcdServer(Options options, bool wait) : options_(std::move(options)) { start(wait); }

std::string EtcdServer::url() const { return options_.scheme + "://127.0.0.1:" + std::to_string(options_.port); }

void EtcdServer::start(bool wait) {
  std::string peer = "http://127.0.0.1:" + std::to_string(options_.port + 1);
  std::string cluster = options_.cluster.empty() ? options_.name + "=" + peer : options_.cluster;
  Launch launch;
  launch.argv = {"etcd", "--name", options_.name, "--data-dir", (dir_.path / "data").string(), "--listen-client-urls", url(),
                 "--advertise-client-urls", url(), "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", cluster, "--logger", "zap", "--log-level", "error"};
  for (const std::string& word : options_.more) launch.argv.push_back(word);
  Fd log(::open((dir_.path / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  launch.stdout_fd = log.get();
  launch.stderr_fd = log.get();
  launch.death_signal = SIGKILL;
  child_ = Child::start(launch);
  if (wait) wait_ready();
}

void EtcdServer::wait_ready() {
  // Listening comes with the first leader: etcd opens its client port when it can serve.
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(options_.port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (auto deadline = std::chrono::steady_clock::now() + 30s; std::chrono::steady_clock::now() < deadline;) {
    Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return;
    if (child_.wait(20ms)) break;
  }
  std::ifstream log(dir_.path / "log");
  std::string text((std::istreambuf_iterator<char>(log)), {});
  fail(ErrorKind::bug, "etcd does not start: {}", text.substr(0, 2000));
}

void EtcdServer::kill() {
  child_.signal(SIGKILL);
  child_.wait(10s);
}

void EtcdServer::terminate() {
  child_.signal(SIGTERM);
  child_.wait(20s);
}

// The signal is only sent: on a busy machine a thread goes on for a moment, and would answer.
void EtcdServer::freeze(bool on) {
  child_.signal(on ? SIGSTOP : SIGCONT);
  const auto stands_still = [&] {
    for (const auto& task : fs::directory_iterator(fmt::format("/proc/{}/task", child_.pid()))) {
      std::string line;
      std::getline(std::ifstream(task.path() / "stat"), line);
      // proc_pid_stat(5): the state follows the name, which may hold anything but ends with the last ')'.
      const size_t name_ends = line.rfind(')');
      if (name_ends != std::string::npos && line.compare(name_ends, 3, ") T") != 0) return false;
    }
    return true;
  };
  for (int looks = 0; on && looks < 400 && !stands_still(); ++looks) std::this_thread::sleep_for(5ms);
}

void EtcdServer::wipe() { fs::remove_all(dir_.path / "data"); }

std::string etcdctl(const std::string& url, std::vector<std::string> words) {
  std::vector<std::string> argv{"etcdctl", "--endpoints", url};
  argv.insert(argv.end(), words.begin(), words.end());
  std::vector<std::string> env{"ETCDCTL_API=3", "PATH=/usr/bin:/bin"};
  Finished done = run(std::move(argv), {}, env);
  if (done.status != 0) fail(ErrorKind::bug, "etcdctl {}: {}{}", words.empty() ? "" : words.front(), done.out, done.err);
  return done.out;
}

}  // namespace knet::test
