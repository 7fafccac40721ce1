// A real etcd of Debian's etcd-server, for the etcd tier: started, killed, stopped and wiped by the tests. The script that
// runs the test gives it a network namespace of its own, so ports are the test's to choose.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/process.h"

namespace knet::test {

/// A directory that goes with its owner.
struct ScratchDir {
  ScratchDir();
  ~ScratchDir();
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  std::filesystem::path path;
};

/// A certificate authority with a server's (127.0.0.1 and localhost) and a client's certificate, made by openssl(1).
struct Certificates {
  explicit Certificates(const std::filesystem::path& dir);
  std::string ca, server_cert, server_key, client_cert, client_key, other_ca;
};

class EtcdServer {
 public:
  struct Options {
    int port = 2379;                       // its peers' port is one above
    std::string scheme = "http";
    std::vector<std::string> more = {};    // flags
    std::string cluster = {};              // --initial-cluster, where it is not alone
    std::string name = "t0";
  };
  EtcdServer() : EtcdServer(Options{}) {}
  explicit EtcdServer(Options options, bool wait = true);
  void start(bool wait = true);
  void wait_ready();
  void kill();         // as a power cut
  void terminate();    // as systemctl stop
  void freeze(bool on);  // SIGSTOP: accepts, but never answers
  void wipe();         // its data, while it is down
  std::string url() const;

 private:
  Options options_;
  ScratchDir dir_;
  Child child_;
};

/// etcdctl with these words against `url`; its output. Fails the test if it does not end with 0.
std::string etcdctl(const std::string& url, std::vector<std::string> words);

}  // namespace knet::test
