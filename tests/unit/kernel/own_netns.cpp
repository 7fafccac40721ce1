#include "own_netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <thread>

#include "kernel/netns.h"

namespace knet::test {

namespace {

void write_text(const char* path, const std::string& text) { std::ofstream(path) << text; }

/// Once for the process: root in a user namespace of our own. Works only before a second thread exists.
bool become_root() {
  if (geteuid() == 0) return true;
  const uid_t uid = getuid();
  const gid_t gid = getgid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) return false;
  write_text("/proc/self/setgroups", "deny");
  write_text("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1");
  write_text("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1");
  return true;
}

}  // namespace

OwnNetns::OwnNetns() {
  static const bool root = become_root();
  if (!root) {
    WARN("skip: neither root nor allowed to make a user namespace");
    return;
  }
  home_ = current_netns();
  ready_ = unshare(CLONE_NEWNET) == 0;
  if (!ready_) WARN("skip: not allowed to make a network namespace");
  if (ready_) run("ip link set lo up");
}

OwnNetns::~OwnNetns() {
  if (ready_ && setns(home_.get(), CLONE_NEWNET) < 0) abort();
}

Fd new_netns() {
  Fd made;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) == 0) made = current_netns();
  }).join();
  REQUIRE(made);
  return made;
}

namespace {

int status_of(const std::string& command, std::string& output) {
  FILE* pipe = popen(("exec 2>&1; " + command).c_str(), "r");
  REQUIRE(pipe != nullptr);
  char bytes[4096];
  for (size_t got; (got = fread(bytes, 1, sizeof bytes, pipe)) > 0;) output.append(bytes, got);
  while (!output.empty() && output.back() == '\n') output.pop_back();
  return pclose(pipe);
}

}  // namespace

std::string run(const std::string& command) {
  std::string output;
  int status = status_of(command, output);
  INFO(command << "\n" << output);
  REQUIRE(status == 0);
  return output;
}

std::string run_in(int netns_fd, const std::string& command) {
  std::string output;
  in_netns(netns_fd, [&] { output = run(command); });
  return output;
}

bool succeeds(const std::string& command) {
  std::string output;
  return status_of(command, output) == 0;
}

bool has_program(const std::string& name) { return succeeds("command -v " + name); }

}  // namespace knet::test
