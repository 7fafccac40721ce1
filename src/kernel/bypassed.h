// What a shortcut would pass by, and may not: others' filters between a device's tcx and the stack (a clsact or ingress
// qdisc, nf_tables' ingress chains), and IPsec policies, by which what is forwarded would leave encrypted. Private to
// src/kernel.
#pragma once

#include <string>
#include <vector>

#include "kernel/netlink.h"
#include "kernel/rtnl_read.h"

namespace knet {

struct Bypassed {
  std::vector<int> qdiscs;          // indexes of the devices
  std::vector<std::string> chains;  // names of the devices
  std::vector<int> shaped;          // on whose egress a qdisc keeps packets
  std::vector<std::string> egress_chains;
  bool ipsec = false;  // of the namespace
  bool whole = true;   // false: not all was told

  bool on(const LinkIndex::Entry& link) const;
  /// Whether what goes out by it may not go right into the pod at its other end.
  bool on_egress(const LinkIndex::Entry& link) const;
};

/// `route`: an rtnetlink socket of the namespace that is meant.
Bypassed read_bypassed(NlSocket& route);

}  // namespace knet
