// What LinuxPlane's observe and apply share. Private to src/kernel.
#pragma once

#include <linux/netlink.h>

#include <map>
#include <string>

#include "kernel/linux_plane.h"
#include "kernel/netlink.h"
#include "kernel/nft_tables.h"
#include "kernel/wireguard.h"

namespace knet {

struct LinuxPlane::State {
  NlSocket route{NETLINK_ROUTE};
  NftTables nft;
  Wireguard wireguard;
  std::map<std::string, DevName> sysctls;  // path -> the device that it goes with, if any

  Observed observe(Kinds kinds);
  /// Fills in the wireguard attributes of `links` and the peers of ours; false if not read whole.
  bool read_wireguard(std::vector<Link>& links, std::vector<WireguardPeer>& peers);
  std::vector<OpResult> apply(const Plan& plan);
};

}  // namespace knet
