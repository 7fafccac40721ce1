#include "base/tun_node.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/error.h"

namespace knet {

namespace {

constexpr const char* kNode = "/dev/net/tun";

}  // namespace

Fd open_tun_node(int flags) {
  flags |= O_RDWR | O_CLOEXEC;
  Fd fd(open(kNode, flags));
  if (fd) return fd;
  int error = errno;
  if (error == ENODEV || error == ENXIO)
    fail(ErrorKind::kernel, "open {}: this kernel has no TUN driver (modprobe tun)", kNode);
  if (error != ENOENT && error != ENOTDIR) throw_errno(error, "open {}", kNode);
  // 10:200, Documentation/admin-guide/devices.txt. /run is often mounted with nodev, /dev hardly ever.
  for (const char* folder : {"/dev", "/run"}) {
    const std::string path = fmt::format("{}/.knet-tun-{}", folder, getpid());
    if (mknod(path.c_str(), S_IFCHR | 0600, makedev(10, 200)) < 0) continue;
    fd.reset(open(path.c_str(), flags));
    unlink(path.c_str());
    if (fd) return fd;
  }
  fail(ErrorKind::kernel,
       "there is no {}, and none can be made here: give the container the device, or as root of the host: "
       "mkdir -p /dev/net && mknod {} c 10 200 && modprobe tun",
       kNode, kNode);
}

}  // namespace knet
