// The lab's underlay: a switch namespace with one bridge for each segment, and nodes' NICs plugged into it. One batch
// of netlink messages for the switch and one for each node: indexes are chosen beforehand, so that nothing need be
// looked up. For src/lab on one thread; opens its own sockets in the namespaces that are given. Undoes nothing: who
// made the namespaces deletes them, and the links go along.
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "core/netstate.h"

namespace knet {

struct LabSegment {
  DevName bridge;
  std::vector<Prefix> addresses;  // of the bridge: the segment's gateway
};

struct LabNic {
  int netns_fd = -1;  // the node's namespace
  DevName name;       // there: "eth0"
  DevName port;       // its end in the switch: "n1"
  size_t segment = 0;
  std::vector<Prefix> addresses;
  std::vector<IpAddr> gateways;  // default routes, at most one of a family
};

/// Makes bridges and pairs, all up, addresses without duplicate address detection, lo up everywhere; the switch
/// forwards between its segments. Throws Error{kernel} naming the object.
void wire_lab(int switch_fd, const std::vector<LabSegment>& segments, const std::vector<LabNic>& nics, uint32_t mtu);

/// One veth pair between two namespaces and nothing else: each end up with its name and addresses, lo up.
void join_namespaces(const LabNic& one, const LabNic& other, uint32_t mtu);

}  // namespace knet
