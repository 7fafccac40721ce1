// The processes and namespaces in which a lab lives. Without root everything is inside one user namespace (with its own
// mounts and network), kept by a holder process that does nothing; commands that come later join it. What joins must
// have one thread. Never touches a process whose start time is not the recorded one.
#pragma once

#include <chrono>
#include <vector>

#include "base/fd.h"
#include "lab/lab.h"

namespace knet {

/// With its start time; pid 0 if there is no such process.
LabProcess process_of(pid_t pid);
bool is_alive(const LabProcess& process);
/// Processes of this user whose command line holds the word `verb` ("agent"; any if empty) and whose command line or
/// environment has an entry that begins with `mark`: those that were started but not written down.
std::vector<LabProcess> find_processes(std::string_view verb, std::string_view mark);
/// SIGTERM to all, SIGKILL after `grace` to what is left. How many had been alive.
size_t stop_processes(const std::vector<LabProcess>& processes, std::chrono::milliseconds grace);

/// Moves this process into a new user namespace in which it is root, and leaves a holder behind that keeps it once a byte
/// was written to `tell`: after its pid was written down. Throws Error{unsupported} where the system forbids it, with what to do.
struct Holder {
  LabProcess process;
  Fd tell;
};
Holder hold_user_namespace();

/// Moves this process into namespaces of its own (of mounts and network; without root of users too), with an empty /run:
/// labs that it brings up from here on are seen nowhere else and are gone with its last process. Not to be left again.
void enter_private_space();

/// Joins an unprivileged lab's namespaces; does nothing for root's. Throws Error{conflict} if the holder is gone.
void enter_lab(const Lab& lab);

/// Every namespace that the lab has by plan: the switch, nodes, pods.
std::vector<std::string> lab_parts(const Lab& lab);
void make_netns(const Lab& lab, std::string_view part);

}  // namespace knet
