// What LinuxPlane's observe and apply share. Private to src/kernel.
#pragma once

#include <linux/netlink.h>

#include <map>
#include <string>

#include "kernel/linux_plane.h"
#include "kernel/netlink.h"
#include "kernel/nft_tables.h"

namespace knet {

struct LinuxPlane::State {
  NlSocket route{NETLINK_ROUTE};
  NftTables nft;
  std::map<std::string, DevName> sysctls;  // path -> the device that it goes with, if any

  Observed observe(Kinds kinds);
  std::vector<OpResult> apply(const Plan& plan);
};

}  // namespace knet
