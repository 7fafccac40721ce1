// systemd, as the keeper of the agent's process: never for networking. Runs systemctl; blocks; any thread.
#pragma once

#include <string>

namespace knet {

/// systemd is this machine's init.
bool systemd_runs();
/// systemctl with these words; its error text, "" if it went well.
std::string systemctl(const std::string& verb, const std::string& unit = {}, bool now = false);
bool service_active(const std::string& unit);

inline constexpr const char* kAgentUnit = "knet.service";

}  // namespace knet
