// How a tunnel device of ours takes a packet to the other node: which of its entries leads to the outer address, or what
// is missing on the way. Knows the kernel's kinds of devices, no mode. Pure; for trace.cpp.
#pragma once

#include <string>

#include "core/plan.h"
#include "core/view.h"

namespace knet {

struct TunnelWay {
  IpAddr outer;         // of the other node; unset where it can't be told
  std::string text;     // "vxlan 1 to 192.168.77.3, udp 8472", "bpf to 192.168.77.3, udp 8285"
  std::string missing;  // not empty: why nothing gets through
  std::string at;       // on which device it is missing
};

struct TunnelAsk {
  const DesiredState& desired;
  const Observed& observed;
  const Link& device;     // as seen
  IpAddr gateway;         // of the route; unset: on link
  IpAddr dst;             // inner
  const Lease* peer;      // who has dst; null: nobody
  std::string peer_name;  // for people
};

/// What was not read is taken to be there.
TunnelWay tunnel_way(const TunnelAsk& ask);

}  // namespace knet
