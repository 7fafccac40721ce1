#include "base/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/file.h"

using namespace knet;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

std::string message_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.text;
  }
  return "no error";
}

bool alive(pid_t pid) {
  const auto status = read_file("/proc/" + std::to_string(pid) + "/status");
  return status && status->find("State:\tZ") == std::string::npos;
}

bool gone_within(pid_t pid, std::chrono::milliseconds limit) {
  for (const auto end = Clock::now() + limit; Clock::now() < end; std::this_thread::sleep_for(2ms)) {
    if (!alive(pid)) return true;
  }
  return !alive(pid);
}

}  // namespace

TEST_CASE("this program is found") { CHECK(std::filesystem::equivalent(self_exe(), "/proc/self/exe")); }

TEST_CASE("run carries input, output, errors and status") {
  const std::string big(300'000, 'x');
  const Finished echoed = run({"cat"}, big);
  CHECK(echoed.status == 0);
  CHECK(echoed.out == big);
  const Finished both = run({"sh", "-c", "echo out; echo err >&2; exit 7"});
  CHECK(both.status == 7);
  CHECK(both.out == "out\n");
  CHECK(both.err == "err\n");
  CHECK(run({"sh", "-c", "kill -9 $$"}).status == 128 + 9);
  CHECK(run({"true"}, big).status == 0);  // input that nobody reads hurts nobody
}

TEST_CASE("the environment is ours, or exactly the one given") {
  REQUIRE(::setenv("KNET_PROCESS_TEST", "inherited", 1) == 0);
  CHECK(run({"sh", "-c", "echo $KNET_PROCESS_TEST"}).out == "inherited\n");
  CHECK(run({"env"}, {}, std::vector<std::string>{"A=1", "B=two words"}).out == "A=1\nB=two words\n");
  CHECK(run({"env"}, {}, std::vector<std::string>{}).out.empty());
}

TEST_CASE("a program that is not there is said at once") {
  CHECK(message_of([] { run({"knet-no-such-program"}); }) ==
        "run knet-no-such-program: there is no such program in PATH");
  CHECK(message_of([] { run({"/no/such"}); }) == "run /no/such: execute: No such file or directory");
  CHECK(message_of([] { run({"/etc/passwd"}); }) == "run /etc/passwd: execute: Permission denied");
  CHECK(message_of([] { Child::start({}); }) == "run: no program was named");
}

TEST_CASE("a run that is too long is stopped with all that it started") {
  const auto start = Clock::now();
  const std::string text = message_of([] {
    run({"sh", "-c", "sleep 61 & echo $! >&2; sleep 62; true"}, {}, {}, 100ms);
  });
  CHECK(Clock::now() - start < 5s);
  const std::string lead = "run sh: not finished after 100 ms; stopped. It had said: ";
  REQUIRE(text.starts_with(lead));
  CHECK(gone_within(std::stoi(text.substr(lead.size())), 2s));
}

TEST_CASE("no descriptor of ours reaches the child but its three") {
  // Whoever started the tests may have left us descriptors that are meant to be inherited.
  std::ptrdiff_t expected = 3;
  for (int fd = 3; fd < 1024; ++fd) {
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0) ++expected;
  }
  const Finished listed = run({"sh", "-c", "for fd in /proc/$$/fd/*; do echo $fd; done"});
  CHECK(listed.out.find("/fd/2\n") != std::string::npos);
  CHECK(std::count(listed.out.begin(), listed.out.end(), '\n') <= expected + 1);  // the shell's own directory
  const Fd secret(::fcntl(0, F_DUPFD_CLOEXEC, 200));
  REQUIRE(secret);
  CHECK(run({"ls", "/proc/self/fd"}).out.find(std::to_string(secret.get())) == std::string::npos);
}

TEST_CASE("redirections may cross") {
  std::array<int, 2> a{}, b{};
  REQUIRE(::pipe2(a.data(), O_CLOEXEC) == 0);
  REQUIRE(::pipe2(b.data(), O_CLOEXEC) == 0);
  const Fd from(a[0]), from_err(b[0]);
  Fd to(a[1]), to_err(b[1]);
  Child child = Child::start(
      {.argv = {"sh", "-c", "echo one; echo two >&2"}, .stdout_fd = to.get(), .stderr_fd = to_err.get()});
  CHECK(child.wait(5s) == 0);
  to.reset();
  to_err.reset();
  CHECK(read_all(from.get(), "out") == "one\n");
  CHECK(read_all(from_err.get(), "err") == "two\n");
  // Our stdout as its stderr and the other way round; $$ is the shell itself, whose stdout $(...) does not
  // move.
  Child swapped = Child::start(
      {.argv = {"sh", "-c",
                "test \"$(readlink /proc/$$/fd/1)\" = \"$A\" && test \"$(readlink /proc/$$/fd/2)\" = \"$B\""},
       .env = std::vector<std::string>{"PATH=/usr/bin:/bin",
                                       "A=" + std::filesystem::read_symlink("/proc/self/fd/2").native(),
                                       "B=" + std::filesystem::read_symlink("/proc/self/fd/1").native()},
       .stdout_fd = 2,
       .stderr_fd = 1});
  CHECK(swapped.wait(5s) == 0);
}

TEST_CASE("wait gives up at its timeout and goes on later") {
  Child child = Child::start({.argv = {"sleep", "60"}});
  CHECK_FALSE(child.wait(0ms));
  CHECK_FALSE(child.wait(20ms));
  CHECK(alive(child.pid()));
  child.signal(SIGINT);
  CHECK(child.wait(5s) == 128 + SIGINT);
  CHECK(child.pid() == -1);
  CHECK_FALSE(child.stop());
}

TEST_CASE("a child ends with its owner: asked first, then killed") {
  pid_t pid = -1;
  {
    const Child child = Child::start({.argv = {"sleep", "60"}});
    pid = child.pid();
    CHECK(alive(pid));
  }
  CHECK_FALSE(alive(pid));

  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  const Fd ready(ends[0]);
  Fd out(ends[1]);
  Child deaf = Child::start(
      {.argv = {"sh", "-c", "trap '' TERM; echo; while :; do sleep 0.05; done"}, .stdout_fd = out.get()});
  char byte = 0;
  REQUIRE(::read(ready.get(), &byte, 1) == 1);
  CHECK(deaf.stop(50ms) == 128 + SIGKILL);

  Child frozen = Child::start({.argv = {"sleep", "60"}});
  frozen.signal(SIGSTOP);
  CHECK(frozen.stop(5s) == 128 + SIGTERM);
}

TEST_CASE("moving hands the child over and stops the one overwritten") {
  Child first = Child::start({.argv = {"sleep", "60"}});
  Child second = Child::start({.argv = {"sleep", "60"}});
  const pid_t first_pid = first.pid(), second_pid = second.pid();
  first = std::move(second);
  CHECK_FALSE(alive(first_pid));
  CHECK(first.pid() == second_pid);
  CHECK(second.pid() == -1);
  CHECK(alive(second_pid));
}

TEST_CASE("a released child outlives its owner") {
  pid_t pid = -1;
  {
    Child child = Child::start({.argv = {"sleep", "60"}, .new_session = true});
    pid = child.release();
  }
  CHECK(alive(pid));
  CHECK(::getsid(pid) == pid);
  ::kill(pid, SIGKILL);
  CHECK(gone_within(pid, 2s));
}

TEST_CASE("the death signal ends the child with the thread that started it") {
  Child child;
  std::thread([&] { child = Child::start({.argv = {"sleep", "60"}, .death_signal = SIGKILL}); }).join();
  CHECK(child.wait(5s) == 128 + SIGKILL);
}

TEST_CASE("the child starts with no signal blocked or ignored") {
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  auto* const old = ::signal(SIGPIPE, SIG_IGN);
  const std::string status = run({"cat", "/proc/self/status"}).out;
  ::signal(SIGPIPE, old);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  CHECK(status.find("SigBlk:\t0000000000000000") != std::string::npos);
  CHECK(status.find("SigIgn:\t0000000000000000") != std::string::npos);
}

TEST_CASE("a descriptor that is no namespace is refused by its step") {
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  CHECK(message_of([&] {
          Child::start({.argv = {"true"}, .namespaces = {null.get()}});
        }).find("enter a namespace: ") != std::string::npos);
}

TEST_CASE("namespaces are entered before the program starts") {
  const Finished made = run({"unshare", "--user", "--map-root-user", "--uts", "true"});
  if (made.status != 0) {
    WARN("no user namespaces here: " + made.err);
    return;
  }
  Child holder = Child::start({.argv = {"unshare", "--user", "--map-root-user", "--uts", "sleep", "60"}});
  const std::string folder = "/proc/" + std::to_string(holder.pid()) + "/";
  const auto name = [](const std::string& path) { return std::filesystem::read_symlink(path).native(); };
  for (const auto end = Clock::now() + 5s; read_file(folder + "comm") != "sleep\n" && Clock::now() < end;) {
    std::this_thread::sleep_for(2ms);
  }
  REQUIRE(name(folder + "ns/uts") != name("/proc/self/ns/uts"));
  const Fd user(::open((folder + "ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  const Fd uts(::open((folder + "ns/uts").c_str(), O_RDONLY | O_CLOEXEC));
  const Finished inside = run(Launch{.argv = {"readlink", "/proc/self/ns/user", "/proc/self/ns/uts"},
                                     .namespaces = {user.get(), uts.get()},
                                     .death_signal = SIGKILL},
                              {}, 5s);
  CHECK(inside.status == 0);
  CHECK(inside.out == name(folder + "ns/user") + "\n" + name(folder + "ns/uts") + "\n");
}
