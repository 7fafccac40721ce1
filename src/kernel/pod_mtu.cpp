#include "kernel/pod_mtu.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "base/error.h"
#include "kernel/netns.h"
#include "kernel/rtnl.h"

namespace knet {

namespace {

/// In the calling thread's namespace; an errno.
int lower(const std::string& ifname, uint32_t mtu) {
  Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  ifreq request{};
  strncpy(request.ifr_name, ifname.c_str(), sizeof request.ifr_name - 1);
  if (ioctl(fd.get(), SIOCGIFMTU, &request) < 0) return errno;
  if (request.ifr_mtu <= static_cast<int>(mtu)) return 0;
  request.ifr_mtu = static_cast<int>(mtu);
  return ioctl(fd.get(), SIOCSIFMTU, &request) < 0 ? errno : 0;
}

}  // namespace

NlFailure lower_pod_mtu(NlSocket& host, const PodMtu& pod) {
  int error = 0;
  try {
    if (Fd netns = open_netns_if_there(pod.netns)) in_netns(netns.get(), [&] { error = lower(pod.ifname, pod.mtu); });
  } catch (const Error& failure) {
    return {0, EIO, failure.text};
  }
  if (error && error != ENODEV)
    return {0, error, fmt::format("set the MTU of {} in {}: {}", pod.ifname, pod.netns, errno_text(error))};
  ifinfomsg head{};
  head.ifi_index = link_index(pod.dev.c_str());
  if (!head.ifi_index) return {};
  NlMessage message;
  NlFailure result = host.request(message.begin(RTM_SETLINK, 0, head).put_u32(IFLA_MTU, pod.mtu));
  return result.error == ENODEV ? NlFailure{} : result;
}

}  // namespace knet
