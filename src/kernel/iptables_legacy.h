// Looks at iptables-legacy's tables, which nf_tables does not show. Reads only, never makes a table.
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"

namespace knet {

struct LegacyForward {
  Family family = Family::v4;
  /// The program whose FORWARD chain it is: "iptables-legacy", "ip6tables-legacy".
  std::string program;
  /// False: the table is in use but its policy could not be read (not root).
  bool known = true;
};

/// FORWARD chains of iptables-legacy whose policy is DROP, and those of which it can't be told.
/// Source: include/uapi/linux/netfilter_ipv4/ip_tables.h, /proc/net/ip_tables_names.
std::vector<LegacyForward> legacy_forward_drops();

}  // namespace knet
