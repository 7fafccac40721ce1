#include "kernel/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include "base/fd.h"

namespace knet {

std::optional<std::string> read_sysctl(std::string_view path) {
  Fd fd(open(fmt::format("/proc/sys/{}", path).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  char bytes[256];
  ssize_t got = read(fd.get(), bytes, sizeof bytes);
  if (got < 0) return std::nullopt;
  while (got > 0 && (bytes[got - 1] == '\n' || bytes[got - 1] == ' ')) --got;
  return std::string(bytes, static_cast<size_t>(got));
}

int write_sysctl(std::string_view path, std::string_view value) {
  std::string file = fmt::format("/proc/sys/{}", path);
  // Some of them take locks and walk all devices when written (forwarding), even with an equal value.
  if (auto now = read_sysctl(path); now && *now == value) return 0;
  Fd fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return errno;
  if (write(fd.get(), value.data(), value.size()) < 0) return errno;
  return 0;
}

}  // namespace knet
