// Network namespaces: open, enter, make, name. For CNI, the lab and tests. setns() changes the calling thread only.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/fd.h"

namespace knet {

/// Opens a namespace file ("/run/netns/x", "/proc/123/ns/net"); throws Error{kernel}. A path that is gone is
/// Error{kernel} too: see open_netns_if_there.
Fd open_netns(const std::filesystem::path& path);
/// -1 Fd where the path is gone or is no namespace any more.
Fd open_netns_if_there(const std::filesystem::path& path);
Fd current_netns();

/// Runs `work` in the namespace on the calling thread and comes back, also on exceptions (failure to come back aborts).
void in_netns(int netns_fd, const std::function<void()>& work);

/// As `ip netns add NAME`: a new namespace bound at /run/netns/NAME (made shared as iproute2 does). Error{conflict} if
/// it exists.
void add_named_netns(const std::string& name);
/// As `ip netns del NAME`; false if there is none.
bool delete_named_netns(const std::string& name);
std::filesystem::path named_netns_path(const std::string& name);

/// A new namespace bound at a path of the caller's (in a mount namespace of its own, /run/netns is not writable).
/// Error{conflict} if the file exists. `what` names it in errors.
void bind_new_netns(const std::filesystem::path& path, const std::string& what);
/// False if there is no such file.
bool unbind_netns(const std::filesystem::path& path);

}  // namespace knet
