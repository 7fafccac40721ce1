#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace knet {
namespace {

constexpr size_t kOutputLimit = 64u << 20;

/// What the child tells through the pipe when it can't get as far as exec.
struct Failure {
  const char* step = nullptr;  // a literal: the same address in parent and child
  int error = 0;
};

/// Everything the child needs, made before fork: it may only make system calls.
struct Prepared {
  const char* file;
  char* const* argv;
  char* const* env;
  std::array<int, 3> stdio;
  const int* namespaces;
  size_t namespace_count;
  bool new_session;
  int death_signal;
  pid_t parent;
  int report;
};

[[noreturn]] void give_up(const Prepared& prepared, const char* step) {
  const Failure failure{step, errno};
  [[maybe_unused]] const ssize_t sent = ::write(prepared.report, &failure, sizeof failure);
  ::_exit(127);
}

void restore_signals(const Prepared& prepared) {
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    // KILL, STOP and the two that the C library keeps for itself refuse; they have no handlers of ours.
    if (::sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_DFL) continue;
    action = {};
    action.sa_handler = SIG_DFL;
    ::sigaction(number, &action, nullptr);
  }
  sigset_t none;
  ::sigemptyset(&none);
  if (::sigprocmask(SIG_SETMASK, &none, nullptr) != 0) give_up(prepared, "restore the signal mask");
}

void redirect_stdio(const Prepared& prepared) {
  std::array<int, 3> source{};
  // Out of the way first: one of the three may be another's target.
  for (size_t i = 0; i < 3; ++i) {
    source[i] = ::fcntl(prepared.stdio[i], F_DUPFD_CLOEXEC, 3);
    // A standard descriptor that is closed in us stays closed in the child.
    if (source[i] < 0 && !(errno == EBADF && prepared.stdio[i] == static_cast<int>(i))) {
      give_up(prepared, "redirect its input and output");
    }
  }
  for (size_t i = 0; i < 3; ++i) {
    if (source[i] >= 0 && ::dup2(source[i], static_cast<int>(i)) < 0)
      give_up(prepared, "redirect its input and output");
  }
}

[[noreturn]] void become_program(const Prepared& prepared) {
  restore_signals(prepared);
  if (prepared.new_session && ::setsid() < 0) give_up(prepared, "start a session");
  for (size_t i = 0; i < prepared.namespace_count; ++i) {
    if (::setns(prepared.namespaces[i], 0) != 0) give_up(prepared, "enter a namespace");
  }
  // After setns: a change of credentials forgets the death signal.
  if (prepared.death_signal != 0) {
    if (::prctl(PR_SET_PDEATHSIG, prepared.death_signal) != 0) give_up(prepared, "set the death signal");
    if (::getppid() != prepared.parent) ::_exit(127);  // the parent ended before it was set
  }
  redirect_stdio(prepared);
  ::execve(prepared.file, prepared.argv, prepared.env);
  give_up(prepared, "execute");
}

/// Looked up here because execvp's search is not for the time between fork and exec.
std::string program_file(const Launch& launch) {
  if (!launch.program.empty()) return launch.program;
  const std::string& name = launch.argv.front();
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  for (const std::string_view folder : split(path != nullptr ? path : "/usr/sbin:/usr/bin:/sbin:/bin", ':')) {
    const std::string candidate = fmt::format("{}/{}", folder.empty() ? "." : folder, name);
    std::error_code ignored;
    if (std::filesystem::is_regular_file(candidate, ignored) && ::access(candidate.c_str(), X_OK) == 0)
      return candidate;
  }
  fail(ErrorKind::kernel, "run {}: there is no such program in PATH", name);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

/// Over 2, so that the child's redirections can't overwrite it.
Fd above_stdio(int fd, std::string_view what) {
  const Fd low(fd);
  Fd high(fd < 0 ? -1 : ::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!high) throw_errno(errno, "{}", what);
  return high;
}

Fd memory_file(std::string_view bytes) {
  Fd fd = above_stdio(::memfd_create("knet-stdio", MFD_CLOEXEC), "make a file in memory");
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t count =
        ::pwrite(fd.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (count < 0 && errno != EINTR) throw_errno(errno, "write to a file in memory");
    if (count > 0) done += static_cast<size_t>(count);
  }
  return fd;
}

std::string contents(const Fd& fd, std::string_view what) {
  if (::lseek(fd.get(), 0, SEEK_SET) < 0) throw_errno(errno, "read {}", what);
  return read_all(fd.get(), what, kOutputLimit);
}

}  // namespace

std::string self_exe() {
  std::error_code error;
  const std::string path = std::filesystem::read_symlink("/proc/self/exe", error).native();
  // The kernel appends " (deleted)" once the file is gone; the link itself can still be executed.
  if (error || ::access(path.c_str(), X_OK) != 0) return "/proc/self/exe";
  return path;
}

Child Child::start(const Launch& launch) {
  if (launch.argv.empty()) fail(ErrorKind::bug, "run: no program was named");
  const std::string file = program_file(launch);
  const std::vector<char*> argv = pointers(launch.argv);
  const std::vector<char*> env = launch.env ? pointers(*launch.env) : std::vector<char*>{};

  Fd null;
  if (launch.stdin_fd < 0) null = above_stdio(::open("/dev/null", O_RDONLY | O_CLOEXEC), "open /dev/null");
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno(errno, "make a pipe");
  Fd listen(ends[0]);
  Fd report = above_stdio(ends[1], "make a pipe");

  const Prepared prepared{
      .file = file.c_str(),
      .argv = argv.data(),
      .env = launch.env ? env.data() : environ,
      .stdio = {null ? null.get() : launch.stdin_fd, launch.stdout_fd < 0 ? 1 : launch.stdout_fd,
                launch.stderr_fd < 0 ? 2 : launch.stderr_fd},
      .namespaces = launch.namespaces.data(),
      .namespace_count = launch.namespaces.size(),
      .new_session = launch.new_session,
      .death_signal = launch.death_signal,
      .parent = ::getpid(),
      .report = report.get(),
  };

  // No handler of ours may run in the child: it would write to pipes that it shares with us.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  if (pid == 0) become_program(prepared);
  const int fork_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) throw_errno(fork_error, "start {}", file);

  report.reset();
  Child child;
  child.pid_ = pid;
  child.group_ = launch.new_session;
  child.pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));  // close-on-exec by itself
  if (!child.pidfd_) throw_errno(errno, "watch process {}", pid);
  Failure failure;
  ssize_t count = 0;
  do count = ::read(listen.get(), &failure, sizeof failure);
  while (count < 0 && errno == EINTR);
  if (count == sizeof failure) throw_errno(failure.error, "run {}: {}", file, failure.step);
  return child;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)), group_(other.group_) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    stop();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    group_ = other.group_;
  }
  return *this;
}

std::optional<int> Child::wait(std::chrono::milliseconds timeout) {
  if (pid_ < 0) fail(ErrorKind::bug, "wait: there is no child process");
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    int status = 0;
    const pid_t reaped = ::waitpid(pid_, &status, WNOHANG);
    if (reaped < 0 && errno != EINTR) throw_errno(errno, "wait for process {}", std::exchange(pid_, -1));
    if (reaped == pid_) {
      pid_ = -1;
      return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return std::nullopt;
    pollfd ended{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
    // Without a pidfd (no descriptor left when it was started) there is only looking again.
    ::poll(&ended, 1, static_cast<int>(std::min<int64_t>(left.count(), pidfd_ ? 1'000'000 : 10)));
  }
}

void Child::signal(int number) {
  if (pid_ > 0) ::kill(group_ ? -pid_ : pid_, number);
}

std::optional<int> Child::stop(std::chrono::milliseconds grace) noexcept {
  if (pid_ < 0) return std::nullopt;
  try {
    signal(SIGTERM);
    signal(SIGCONT);  // a stopped process would take the first only after this one
    if (const auto status = wait(grace)) return status;
    signal(SIGKILL);
    const auto status = wait(std::chrono::seconds(10));
    pid_ = -1;  // one that the kernel can't let go yet is init's to reap
    return status;
  } catch (...) {  // somebody else has reaped it: nothing is left to stop
    pid_ = -1;
    return std::nullopt;
  }
}

pid_t Child::release() {
  pidfd_.reset();
  return std::exchange(pid_, -1);
}

Finished run(Launch launch, std::string_view stdin_text, std::chrono::milliseconds timeout) {
  // Files in memory and not pipes: no pump, no SIGPIPE, and a grandchild that keeps them open holds nobody
  // up.
  const Fd in = memory_file(stdin_text);
  const Fd out = memory_file({});
  const Fd err = memory_file({});
  launch.stdin_fd = in.get();
  launch.stdout_fd = out.get();
  launch.stderr_fd = err.get();
  launch.new_session = true;
  Child child = Child::start(launch);
  const auto status = child.wait(timeout);
  if (!status) {
    child.stop(std::chrono::milliseconds(200));
    fail(ErrorKind::kernel, "run {}: not finished after {} ms; stopped. It had said: {}", launch.argv.front(),
         timeout.count(), printable(contents(err, "its stderr"), 400));
  }
  return {*status, contents(out, "its stdout"), contents(err, "its stderr")};
}

Finished run(std::vector<std::string> argv, std::string_view stdin_text,
             std::optional<std::vector<std::string>> env, std::chrono::milliseconds timeout) {
  return run(Launch{.argv = std::move(argv), .env = std::move(env)}, stdin_text, timeout);
}

}  // namespace knet
