// One agent per network namespace: it listens on the abstract socket "@knet", which lives in the namespace and goes
// with the process. Whoever finds it taken can ask who holds it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/fd.h"

namespace knet {

struct AgentProcess {
  pid_t pid = 0;        // 0: not visible from here
  std::string command;  // its command line, "" if it can't be read
  bool ending = false;  // it was killed, and the kernel has not closed all of it yet
};

/// Holds the namespace until the Fd is closed. Waits for an agent that is ending, five seconds at most; throws
/// Error{conflict} naming the agent that has it.
/// The loop accepts and closes what connects (see answer_single).
Fd claim_namespace();
/// Lets those go that asked who we are.
void answer_single(int fd);
/// The agent of this network namespace, if one runs.
std::optional<AgentProcess> running_agent();

}  // namespace knet
