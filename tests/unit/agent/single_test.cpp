#include "agent/single.h"

#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>

#include "base/error.h"

namespace knet {
namespace {

using namespace std::chrono_literals;

/// In a network namespace of its own, which goes with the thread. False where that is not allowed.
template <class Work>
bool in_own_namespace(Work work) {
  bool allowed = false;
  std::thread([&] {
    allowed = unshare(CLONE_NEWNET) == 0;
    if (allowed) work();
  }).join();
  return allowed;
}

/// The agents' address, held by this process in the name of one that is dead but not yet waited for.
Fd held_by_the_dead(pid_t& dead) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, "knet", 4);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 5);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) throw_errno(errno, "bind");
  dead = fork();  // who listens is whom connect() shows
  if (dead == 0) _exit(listen(fd.get(), 16));
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(dead), &info, WEXITED | WNOWAIT);
  return fd;
}

}  // namespace

TEST_CASE("one agent holds a network namespace, and the next is told who") {
  const bool allowed = in_own_namespace([] {
    CHECK_FALSE(running_agent());
    Fd first = claim_namespace();
    const auto found = running_agent();
    REQUIRE(found);
    CHECK(found->pid == getpid());
    CHECK_FALSE(found->ending);
    try {
      claim_namespace();
      FAIL("claimed twice");
    } catch (const Error& error) {
      CHECK(error.kind == ErrorKind::conflict);
      CHECK(std::string(error.what()).find(std::to_string(getpid())) != std::string::npos);
    }
    first.reset();
    CHECK(claim_namespace());
  });
  if (!allowed) WARN("no network namespace of our own here: not tested");
}

TEST_CASE("an agent that was killed is waited for until the kernel has let go of it") {
  const bool allowed = in_own_namespace([] {
    pid_t dead = 0;
    Fd held = held_by_the_dead(dead);
    const auto found = running_agent();
    REQUIRE(found);
    CHECK(found->pid == dead);
    CHECK(found->ending);
    std::thread let_go([&] {
      std::this_thread::sleep_for(200ms);
      held.reset();
    });
    const auto start = std::chrono::steady_clock::now();
    CHECK(claim_namespace());
    CHECK(std::chrono::steady_clock::now() - start >= 150ms);
    let_go.join();
    waitpid(dead, nullptr, 0);
  });
  if (!allowed) WARN("no network namespace of our own here: not tested");
}

}  // namespace knet
