#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/error.h"

namespace knet {
namespace {

namespace fs = std::filesystem;

void write_all(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_errno(errno, "write {}", path.native());
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

fs::path directory_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

void sync_directory(const fs::path& directory) {
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some filesystems can't sync a directory and say EINVAL; the rename itself has happened.
  if (!fd || (::fsync(fd.get()) != 0 && errno != EINVAL)) throw_errno(errno, "sync {}", directory.native());
}

bool holds(const fs::path& path, std::string_view bytes) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  if (static_cast<size_t>(info.st_size) != bytes.size()) return false;
  return read_file(path, bytes.size() + 1) == bytes;
}

/// A complete file of a hidden name beside `path`, so that directory readers that go by suffix never take it
/// up.
fs::path write_beside(const fs::path& path, std::string_view bytes, unsigned mode, bool durable) {
  make_directories(directory_of(path));
  std::string name = (directory_of(path) / ("." + path.filename().native() + ".XXXXXX")).native();
  const Fd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd) throw_errno(errno, "create {}", path.native());
  Undo discard([&] { ::unlink(name.c_str()); });
  // fchmod, not the mode of open: the caller's umask must not decide who reads a file of ours.
  if (::fchmod(fd.get(), mode) != 0) throw_errno(errno, "set the mode of {}", path.native());
  write_all(fd.get(), bytes, path);
  if (durable && ::fsync(fd.get()) != 0) throw_errno(errno, "sync {}", path.native());
  discard.dismiss();
  return name;
}

bool same_file(int fd, const fs::path& path) {
  struct stat open_file {
  }, named{};
  return ::fstat(fd, &open_file) == 0 && ::stat(path.c_str(), &named) == 0 &&
         open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
}

}  // namespace

std::string read_all(int fd, std::string_view what, size_t limit) {
  std::string bytes;
  size_t used = 0;
  while (true) {
    if (used > limit) fail(ErrorKind::kernel, "{}: more than {} bytes", what, limit);
    // One byte over the limit is asked for, so that exactly `limit` bytes are told apart from more.
    bytes.resize(std::min(limit + 1, std::max<size_t>(used * 2, 4096)));
    const ssize_t count = ::read(fd, bytes.data() + used, bytes.size() - used);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_errno(errno, "read {}", what);
    if (count == 0) break;
    used += static_cast<size_t>(count);
  }
  bytes.resize(used);
  return bytes;
}

std::optional<std::string> read_file(const fs::path& path, size_t limit) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!fd) throw_errno(errno, "open {}", path.native());
  return read_all(fd.get(), path.native(), limit);
}

bool write_file(const fs::path& path, std::string_view bytes, unsigned mode, bool durable) {
  if (holds(path, bytes)) return false;
  const fs::path complete = write_beside(path, bytes, mode, durable);
  if (::rename(complete.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(complete.c_str());
    throw_errno(error, "replace {}", path.native());
  }
  if (durable) sync_directory(directory_of(path));
  return true;
}

bool create_file(const fs::path& path, std::string_view bytes, unsigned mode, bool durable) {
  if (struct stat info{}; ::lstat(path.c_str(), &info) == 0) return false;
  const fs::path complete = write_beside(path, bytes, mode, durable);
  const Undo discard([&] { ::unlink(complete.c_str()); });
  // link(2) is as exclusive as O_EXCL, and nobody ever sees the file half written.
  if (::link(complete.c_str(), path.c_str()) != 0) {
    if (errno == EEXIST) return false;
    throw_errno(errno, "create {}", path.native());
  }
  if (durable) sync_directory(directory_of(path));
  return true;
}

bool remove_file(const fs::path& path) {
  if (::unlink(path.c_str()) == 0) return true;
  if (errno != ENOENT && errno != ENOTDIR) throw_errno(errno, "remove {}", path.native());
  return false;
}

void make_directories(const fs::path& path, unsigned mode) {
  if (path.empty()) return;
  if (struct stat info{}; ::stat(path.c_str(), &info) == 0) {
    if (!S_ISDIR(info.st_mode)) throw_errno(ENOTDIR, "make directory {}", path.native());
    return;
  }
  if (path.has_relative_path() && path.parent_path() != path) make_directories(path.parent_path(), mode);
  if (::mkdir(path.c_str(), mode) == 0) {
    if (::chmod(path.c_str(), mode) != 0) throw_errno(errno, "set the mode of {}", path.native());
  } else if (errno != EEXIST) {  // somebody else, or a trailing slash, was first
    throw_errno(errno, "make directory {}", path.native());
  }
}

Fd lock_file(const fs::path& path, int timeout_ms) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  auto pause = std::chrono::microseconds(200);
  make_directories(directory_of(path));
  while (true) {
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd) throw_errno(errno, "open {}", path.native());
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
      // The holder before us may have removed the file: a lock on an unlinked file excludes nobody.
      if (same_file(fd.get(), path)) return fd;
      continue;
    }
    if (errno != EWOULDBLOCK && errno != EINTR) throw_errno(errno, "lock {}", path.native());
    if (Clock::now() >= deadline) {
      fail(ErrorKind::kernel, "lock {}: another process has held it for {} ms", path.native(), timeout_ms);
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(5000));
  }
}

}  // namespace knet
