#include "lab/lab_space.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "kernel/netns.h"
#include "lab/lab_dirs.h"

namespace knet {
namespace {

constexpr int kJoined = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET;

/// Ends if `told` closes before a byte comes: `lab up` died before it wrote our pid down.
[[noreturn]] void keep_namespaces(int told) {
  setsid();
  char byte = 0;
  if (read(told, &byte, 1) != 1) _exit(0);
  // Whoever reads our output must not wait for the holder.
  const int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  syscall(SYS_close_range, 3u, ~0u, 0u);
  prctl(PR_SET_NAME, "knet-lab");
  if (chdir("/") != 0) _exit(1);
  for (;;) pause();
}

void write_proc(const char* path, const std::string& text) {
  Fd fd(open(path, O_WRONLY | O_CLOEXEC));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw_errno(errno, "write '{}' to {}", text, path);
}

int send_signal(const Fd& pidfd, int number) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0));
}

/// Waits until all have ended or the time is over; those that have are reset.
void wait_for(std::vector<Fd>& pidfds, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (Fd& pidfd : pidfds) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
    if (poll(&ended, 1, static_cast<int>(std::max<int64_t>(left.count(), 0))) > 0) pidfd.reset();
  }
  std::erase_if(pidfds, [](const Fd& pidfd) { return !pidfd; });
}

/// Into a new user namespace in which this process is root, with mounts and network of its own.
void become_root_inside() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (unshare(kJoined) != 0)
    fail(ErrorKind::unsupported,
         "no root here, and this system does not allow user namespaces ({}): run it with sudo, or allow them with: sysctl -w "
         "user.max_user_namespaces=10000 (Debian: kernel.unprivileged_userns_clone=1, Ubuntu: "
         "kernel.apparmor_restrict_unprivileged_userns=0)",
         errno_text(errno));
  write_proc("/proc/self/setgroups", "deny");
  write_proc("/proc/self/uid_map", fmt::format("0 {} 1", uid));
  write_proc("/proc/self/gid_map", fmt::format("0 {} 1", gid));
}

}  // namespace

LabProcess process_of(pid_t pid) {
  if (pid <= 0) return {};
  std::optional<std::string> stat;
  try {
    stat = read_file(fmt::format("/proc/{}/stat", pid), 4096);
  } catch (const Error&) {  // it ended while it was read
  }
  // The command name, in parentheses, may hold anything: count from the last ')'.
  const size_t name_end = stat ? stat->rfind(')') : std::string::npos;
  if (name_end == std::string::npos) return {};
  const auto fields = split(std::string_view(*stat).substr(name_end + 2), ' ');
  constexpr size_t kState = 0, kStartTime = 19;  // fields 3 and 22 of proc(5)
  if (fields.size() <= kStartTime || fields[kState] == "Z" || fields[kState] == "X") return {};
  return {pid, static_cast<uint64_t>(parse_int(fields[kStartTime]).value_or(0))};
}

bool is_alive(const LabProcess& process) { return process.pid > 0 && process_of(process.pid).started == process.started; }

std::vector<LabProcess> find_processes(std::string_view verb, std::string_view mark) {
  auto holds = [](const std::optional<std::string>& text, std::string_view beginning) {
    if (!text) return false;
    const auto entries = split(*text, '\0');
    return std::any_of(entries.begin(), entries.end(), [&](std::string_view entry) { return entry.starts_with(beginning); });
  };
  std::vector<LabProcess> found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", none)) {
    const auto pid = parse_int(entry.path().filename().string());
    if (!pid || *pid == getpid()) continue;
    try {
      const auto words = read_file(entry.path() / "cmdline", 1u << 20);
      if (!words || words->empty() || !(verb.empty() || holds(words, verb))) continue;
      if (holds(words, mark) || holds(read_file(entry.path() / "environ", 1u << 20), mark)) found.push_back(process_of(static_cast<pid_t>(*pid)));
    } catch (const Error&) {  // somebody else's, or gone
    }
  }
  return found;
}

size_t stop_processes(const std::vector<LabProcess>& processes, std::chrono::milliseconds grace) {
  std::vector<Fd> pidfds;
  for (const LabProcess& process : processes) {
    if (process.pid <= 0) continue;
    Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
    // Looked at after the pidfd was opened: from here on it can't become another process.
    if (pidfd && is_alive(process)) pidfds.push_back(std::move(pidfd));
  }
  const size_t alive = pidfds.size();
  for (const Fd& pidfd : pidfds) send_signal(pidfd, SIGTERM);
  wait_for(pidfds, grace);
  for (const Fd& pidfd : pidfds) send_signal(pidfd, SIGKILL);
  wait_for(pidfds, std::chrono::seconds(5));
  return alive;
}

Holder hold_user_namespace() {
  become_root_inside();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw_errno(errno, "make a pipe");
  Fd told(ends[0]), tell(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) throw_errno(errno, "start the process that keeps the lab's namespaces");
  if (pid == 0) {
    tell.reset();
    keep_namespaces(told.get());
  }
  return {process_of(pid), std::move(tell)};
}

void enter_private_space() {
  if (!can_make_namespaces()) {
    become_root_inside();
  } else if (unshare(CLONE_NEWNS | CLONE_NEWNET) != 0) {
    throw_errno(errno, "make namespaces");
  }
  if (mount("", "/", "none", MS_SLAVE | MS_REC, nullptr) != 0 || mount("knet-lab", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0)
    throw_errno(errno, "put an empty directory in the place of /run, for this process alone");
}

void enter_lab(const Lab& lab) {
  if (!lab.unprivileged) return;
  const std::string down = fmt::format("knet lab down --name {}", lab.words.name);
  if (!is_alive(lab.holder))
    fail(ErrorKind::conflict, "the process that kept lab {} is gone; clear up with: {}", lab.words.name, down);
  const std::string base = fmt::format("/proc/{}/ns/", lab.holder.pid);
  std::vector<Fd> spaces;
  for (const char* kind : {"user", "mnt", "net"}) {
    spaces.emplace_back(open((base + kind).c_str(), O_RDONLY | O_CLOEXEC));
    if (!spaces.back()) throw_errno(errno, "open {}{}", base, kind);
  }
  std::error_code none;
  const std::filesystem::path here = std::filesystem::current_path(none);
  for (const Fd& space : spaces)
    if (setns(space.get(), 0) != 0) throw_errno(errno, "enter the namespaces of lab {}", lab.words.name);
  // A change of mount namespace goes to its root.
  std::filesystem::current_path(here, none);
}

std::vector<std::string> lab_parts(const Lab& lab) {
  std::vector<std::string> parts{std::string(kLabSwitch)};
  for (const LabNode& node : lab.nodes) {
    parts.push_back(node.name);
    for (const LabPod& pod : node.pods) parts.push_back(pod.name);
  }
  return parts;
}

void make_netns(const Lab& lab, std::string_view part) {
  if (lab.unprivileged)
    bind_new_netns(lab.netns_path(part), lab.netns_name(part));
  else
    add_named_netns(lab.netns_name(part));
}

}  // namespace knet
