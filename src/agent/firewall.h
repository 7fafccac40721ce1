// Firewalls that knet can't open by itself: found, and told with the commands that open them. Any thread; changes
// nothing.
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"

namespace knet {

/// iptables-legacy's FORWARD chains that drop; nf_tables does not show them.
std::vector<std::string> legacy_firewall_notices(const std::vector<Prefix>& networks);
/// firewalld, where it runs as a service. Asks systemd.
std::vector<std::string> firewalld_notices(const std::vector<Prefix>& networks);

}  // namespace knet
