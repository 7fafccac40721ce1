#include "agent/firewall.h"

#include <fmt/core.h>

#include "agent/service.h"
#include "kernel/iptables_legacy.h"

namespace knet {

std::vector<std::string> legacy_firewall_notices(const std::vector<Prefix>& networks) {
  std::vector<std::string> notices;
  for (const LegacyForward& chain : legacy_forward_drops()) {
    std::string commands;
    for (const Prefix& network : networks) {
      if (network.family() != chain.family) continue;
      for (const char* direction : {"-s", "-d"})
        commands += fmt::format("{}{} -I FORWARD {} {} -j ACCEPT", commands.empty() ? "" : " && ", chain.program,
                                direction, network.str());
    }
    if (commands.empty()) continue;
    notices.push_back(
        chain.known ? fmt::format("{}'s FORWARD chain drops pods' traffic, and knet can't write there; run: {}",
                                  chain.program, commands)
                    : fmt::format("{} is in use; if its FORWARD policy is DROP, run: {}", chain.program, commands));
  }
  return notices;
}

std::vector<std::string> firewalld_notices(const std::vector<Prefix>& networks) {
  if (!systemd_runs() || !service_active("firewalld.service")) return {};
  std::string commands;
  for (const Prefix& network : networks)
    commands += fmt::format("firewall-cmd --permanent --zone=trusted --add-source={} && ", network.str());
  return {fmt::format("firewalld runs and rejects what it does not know; run: {}firewall-cmd --reload", commands)};
}

}  // namespace knet
