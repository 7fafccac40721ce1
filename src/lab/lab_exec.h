// Runs a program inside a lab's node or pod: its network namespace, a /sys that shows it, the node's environment. The
// process becomes the program, so terminal, signals and exit status are its own.
#pragma once

#include <string>
#include <vector>

#include "lab/lab.h"

namespace knet {

/// `part` is a node ("n1"), a pod ("n1-p1") or "sw". `knet` as the program is this very executable. Throws Error{usage}
/// naming what there is, or Error{kernel} where the program can't be run.
[[noreturn]] void lab_exec(const Lab& lab, const std::string& part, const std::vector<std::string>& argv);

}  // namespace knet
