// Takes labs down: agents and etcd by pid and start time, namespaces, directories. Goes on past errors. Also after a
// crash of `lab up`, of the machine (the state is on tmpfs then), or of the holder. Idempotent.
#pragma once

#include <string>
#include <vector>

#include "lab/lab.h"

namespace knet {

struct DownReport {
  size_t processes = 0;             // that were still alive
  size_t namespaces = 0;            // that were still there
  bool found = false;               // there was a lab, or a rest of one
  std::vector<std::string> failed;  // what could not be removed, and why
};

DownReport lab_down(const std::string& name);
/// What lab_down() does once the lab is known; the caller holds its lock.
DownReport tear_down(const Lab& lab);

}  // namespace knet
