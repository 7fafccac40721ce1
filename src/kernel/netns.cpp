#include "kernel/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cstdlib>
#include <optional>
#include <thread>

#include "base/error.h"

#ifndef NSFS_MAGIC
#define NSFS_MAGIC 0x6e736673
#endif

namespace knet {

namespace {

constexpr const char* kRunNetns = "/run/netns";

bool is_namespace(int fd) {
  struct statfs info;
  // A path whose bind mount is gone is an ordinary empty file. PROC_SUPER_MAGIC: /proc/PID/ns before Linux 3.19's nsfs.
  return fstatfs(fd, &info) == 0 && static_cast<unsigned long>(info.f_type) == NSFS_MAGIC;
}

/// iproute2's convention: /run/netns is a shared mount of its own, so that other mount namespaces see new names.
void share_run_netns() {
  if (mkdir(kRunNetns, 0755) < 0 && errno != EEXIST) throw_errno(errno, "make {}", kRunNetns);
  if (mount("", kRunNetns, "none", MS_SHARED | MS_REC, nullptr) == 0) return;
  if (errno != EINVAL) throw_errno(errno, "share the mount {}", kRunNetns);
  if (mount(kRunNetns, kRunNetns, "none", MS_BIND | MS_REC, nullptr) < 0) throw_errno(errno, "bind {}", kRunNetns);
  if (mount("", kRunNetns, "none", MS_SHARED | MS_REC, nullptr) < 0)
    throw_errno(errno, "share the mount {}", kRunNetns);
}

}  // namespace

Fd open_netns_if_there(const std::filesystem::path& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ESRCH || errno == EINVAL) return {};
    throw_errno(errno, "open network namespace {}", path.string());
  }
  if (!is_namespace(fd.get())) return {};
  return fd;
}

Fd open_netns(const std::filesystem::path& path) {
  Fd fd = open_netns_if_there(path);
  if (!fd) fail(ErrorKind::kernel, "network namespace {} is not there", path.string());
  return fd;
}

Fd current_netns() { return open_netns("/proc/thread-self/ns/net"); }

void in_netns(int netns_fd, const std::function<void()>& work) {
  Fd home = current_netns();
  if (setns(netns_fd, CLONE_NEWNET) < 0) throw_errno(errno, "enter the network namespace");
  Undo back([&] {
    if (setns(home.get(), CLONE_NEWNET) < 0) abort();
  });
  work();
}

std::filesystem::path named_netns_path(const std::string& name) { return std::filesystem::path(kRunNetns) / name; }

void add_named_netns(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos)
    fail(ErrorKind::usage, "'{}' is no name for a network namespace", name);
  share_run_netns();
  bind_new_netns(named_netns_path(name), name);
}

bool delete_named_netns(const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos) return false;
  return unbind_netns(named_netns_path(name));
}

void bind_new_netns(const std::filesystem::path& path, const std::string& what) {
  Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_CREAT | O_EXCL, 0444));
  if (!file) {
    if (errno == EEXIST) fail(ErrorKind::conflict, "network namespace {} exists already", what);
    throw_errno(errno, "make {}", path.string());
  }
  Undo remove([&] { unlink(path.c_str()); });
  // A thread of its own: unshare() changes the calling thread for good, and the way back could fail.
  int error = 0;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) < 0 || mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) < 0)
      error = errno;
  }).join();
  if (error) throw_errno(error, "make network namespace {}", what);
  remove.dismiss();
}

bool unbind_netns(const std::filesystem::path& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) < 0) return false;
  // EINVAL: a leftover file with nothing mounted on it.
  if (umount2(path.c_str(), MNT_DETACH) < 0 && errno != EINVAL) throw_errno(errno, "unmount {}", path.string());
  if (unlink(path.c_str()) < 0) {
    if (errno == ENOENT) return false;
    throw_errno(errno, "remove {}", path.string());
  }
  return true;
}

}  // namespace knet
