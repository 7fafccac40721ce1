// Child processes: our own binary in other namespaces (src/lab) and the programs that tests run. knet's
// networking never starts a program. Any thread may start one; between fork and exec nothing is allocated or
// locked. Every descriptor made here is close-on-exec.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"

namespace knet {

/// Where this program's file is, to start it again; "/proc/self/exe" itself if the file was replaced or
/// removed since.
std::string self_exe();

struct Launch {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH unless `program` is set or it has a '/'
  std::string program = {};       // the file to run if it is not argv[0], such as self_exe()
  std::optional<std::vector<std::string>> env = {};  // "NAME=value"; ours if absent
  int stdin_fd = -1;                                 // -1: /dev/null
  int stdout_fd = -1;                                // -1: ours
  int stderr_fd = -1;                                // -1: ours
  std::vector<int> namespaces = {};  // open namespace files, entered in this order before exec: setns(2)
  bool new_session = false;          // setsid(2); stopping it then signals its whole process group
  int death_signal = 0;              // sent when the *thread* that started it ends: PR_SET_PDEATHSIG
};

/// A child started and owned. Destroyed while it runs: SIGTERM, then after kGrace SIGKILL, and reaped.
class Child {
 public:
  static constexpr std::chrono::milliseconds kGrace{2000};

  /// Returns when the program has been executed. Throws Error{kernel} naming the step that failed in the
  /// child.
  static Child start(const Launch& launch);
  Child() = default;
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child() { stop(); }

  /// -1 once it has been waited for or released.
  pid_t pid() const { return pid_; }
  /// A pidfd, readable when the child has ended: for a caller's own poll.
  int pidfd() const { return pidfd_.get(); }
  /// Its exit status, 128+N if signal N ended it; nothing if it still runs after `timeout`. Reaps.
  std::optional<int> wait(std::chrono::milliseconds timeout);
  /// Does nothing if it has been waited for.
  void signal(int number);
  /// What the destructor does. Returns the status if it was still ours; never throws.
  std::optional<int> stop(std::chrono::milliseconds grace = kGrace) noexcept;
  /// Lets it run on without us; its pid.
  pid_t release();

 private:
  pid_t pid_ = -1;
  Fd pidfd_;
  bool group_ = false;
};

struct Finished {
  int status = 0;  // as Child::wait
  std::string out;
  std::string err;
};

/// Runs a program to its end with `stdin_text` as its input; `env` as in Launch. Throws Error{kernel} if it
/// can't be started or runs longer than `timeout` (it and its process group are then killed). Output over 64
/// MiB is an error.
Finished run(std::vector<std::string> argv, std::string_view stdin_text = {},
             std::optional<std::vector<std::string>> env = {},
             std::chrono::milliseconds timeout = std::chrono::seconds(30));
/// The same with everything a Launch can say; its stdin, stdout and stderr fds and its session are set here.
Finished run(Launch launch, std::string_view stdin_text, std::chrono::milliseconds timeout);

}  // namespace knet
