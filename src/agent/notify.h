// Tells systemd how the service fares: sd_notify(3)'s protocol, one datagram to $NOTIFY_SOCKET. Does nothing elsewhere;
// never fails.
#pragma once

#include <string_view>

namespace knet {

/// "READY=1", "STATUS=...", "STOPPING=1", lines separated by '\n'.
void notify_service(std::string_view state);

}  // namespace knet
