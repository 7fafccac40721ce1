#include "tunnel/tun_device.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/tun_node.h"
#include "tunnel/vnet.h"

#ifndef TUN_F_USO4  // Linux 6.2
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace knet {

Fd attach_tun(const DevName& dev) {
  // TUNSETIFF makes a device of a name that is not there.
  if (if_nametoindex(dev.c_str()) == 0) throw_errno(ENODEV, "attach to {}", dev.view());
  Fd fd = open_tun_node(O_NONBLOCK);
  ifreq request{};
  std::memcpy(request.ifr_name, dev.c_str(), dev.view().size());
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0) throw_errno(errno, "attach to {}", dev.view());
  // Gone since we looked: what this fd has made goes with it.
  if (ioctl(fd.get(), TUNGETIFF, &request) != 0 || (static_cast<unsigned short>(request.ifr_flags) & IFF_PERSIST) == 0)
    throw_errno(ENODEV, "attach to {}", dev.view());
  int header = sizeof(VnetHeader);
  if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header) != 0) throw_errno(errno, "{}: set the virtio-net header's size", dev.view());
  constexpr unsigned long kTcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (ioctl(fd.get(), TUNSETOFFLOAD, kTcp | TUN_F_USO4 | TUN_F_USO6) != 0 && ioctl(fd.get(), TUNSETOFFLOAD, kTcp) != 0)
    throw_errno(errno, "{}: set the offloads", dev.view());
  return fd;
}

}  // namespace knet
