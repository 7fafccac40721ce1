// ICMP echo out of many network namespaces at once: every source to every one of its targets, all in flight together, in
// one thread and without a ping program. Round trips are taken from the kernel's receive time stamps (SO_TIMESTAMPNS).
// RFC 792, RFC 4443. Needs CAP_NET_RAW in the namespaces.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"

namespace knet {

struct EchoSource {
  int netns_fd = -1;
  std::vector<IpAddr> targets;
};

struct EchoResult {
  std::optional<double> ms;  // the best of what came back
  std::string why;           // no reply: "no reply in 1 s", "net unreachable, says 10.244.1.1", "Network is unreachable"
};

/// One result per source and target. Returns as soon as all have answered twice, at the latest after `limit`.
std::vector<std::vector<EchoResult>> echo_all(const std::vector<EchoSource>& sources, std::chrono::milliseconds limit);

}  // namespace knet
