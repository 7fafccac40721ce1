#include "agent/single.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace knet {
namespace {

constexpr std::string_view kName = "knet";
constexpr int kBacklog = 16;
/// How long an agent that was killed may take to let go: the kernel closes its sockets one by one.
constexpr std::chrono::seconds kEndingPatience{5};
constexpr std::chrono::milliseconds kEndingPause{10};

socklen_t abstract_address(sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, kName.data(), kName.size());
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + kName.size());
}

std::string describe(const AgentProcess& agent) {
  if (agent.pid == 0) return "its process can't be seen from here";
  if (agent.command.empty()) return fmt::format("pid {}", agent.pid);
  return fmt::format("pid {}: {}", agent.pid, agent.command);
}

}  // namespace

Fd claim_namespace() {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw_errno(errno, "make a socket");
  sockaddr_un address;
  const socklen_t length = abstract_address(address);
  bool ending = false;
  for (const auto start = std::chrono::steady_clock::now();
       ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0;) {
    if (errno != EADDRINUSE) throw_errno(errno, "bind @{}", kName);
    const auto other = running_agent();
    // One that ends takes no more questions, and their queue gets full: then its process can't be seen any more.
    ending = !other || other->ending || (ending && other->pid == 0);
    if (ending && std::chrono::steady_clock::now() - start < kEndingPatience) {
      std::this_thread::sleep_for(kEndingPause);
      continue;
    }
    fail(ErrorKind::conflict, "another knet agent runs in this network namespace ({}); stop it first",
         other ? describe(*other) : "it is just ending");
  }
  if (::listen(fd.get(), kBacklog) != 0) throw_errno(errno, "listen on @{}", kName);
  return fd;
}

void answer_single(int fd) {
  // Any user of the namespace may connect: the loop goes on in between.
  for (int i = 0; i < kBacklog; ++i) {
    Fd asker(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC));
    if (!asker) return;
  }
}

std::optional<AgentProcess> running_agent() {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw_errno(errno, "make a socket");
  sockaddr_un address;
  const socklen_t length = abstract_address(address);
  AgentProcess agent;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0)
    return errno == EAGAIN ? std::optional(agent) : std::nullopt;  // EAGAIN: it is there, with its hands full
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) agent.pid = peer.pid;
  try {
    if (agent.pid != 0)
      if (auto words = read_file(fmt::format("/proc/{}/cmdline", agent.pid), 64u << 10)) {
        std::replace(words->begin(), words->end(), '\0', ' ');
        agent.command = printable(trim(*words), 200);
        agent.ending = words->empty();  // its memory is gone already
      }
  } catch (const Error&) {
    // Its command line is a courtesy.
  }
  return agent;
}

}  // namespace knet
