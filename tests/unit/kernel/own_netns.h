// Kernel tests' ground: each case in network namespaces of its own, entered by the test's thread; without root in a
// user namespace. The witness is iproute2 and nft, never knet.
#pragma once

#include <string>

#include "base/fd.h"

namespace knet::test {

/// A fresh network namespace for the calling thread until destroyed. In a user namespace if not root.
class OwnNetns {
 public:
  OwnNetns();
  ~OwnNetns();
  /// False, with a line that says so, where neither is allowed: the case has nothing to stand on.
  bool ready() const { return ready_; }

 private:
  Fd home_;
  bool ready_ = false;
};

/// A network namespace that nobody is in; it lives as long as the descriptor.
Fd new_netns();

/// Runs a shell command in the current namespace; its output without the last newline. Fails the test unless it exits
/// 0.
std::string run(const std::string& command);
/// The same in another namespace.
std::string run_in(int netns_fd, const std::string& command);
/// Its exit status is 0; the output is dropped.
bool succeeds(const std::string& command);
bool has_program(const std::string& name);

}  // namespace knet::test
