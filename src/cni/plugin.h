// The CNI plugin (CNI spec 1.1): an L3 veth pod with addresses of the node's subnet. One call per process; it needs no
// agent and never waits on the network. Only the files in the state and run dirs, and the kernel.
#pragma once

#include <map>
#include <string>

namespace knet {

using CniEnvironment = std::map<std::string, std::string>;  // CNI_COMMAND, CNI_CONTAINERID, ...

/// Does what CNI_COMMAND says with the network config given on stdin. `out` gets the result, or the error object that
/// the spec asks for. Returns the process's exit status; never throws.
int run_cni(const CniEnvironment& environment, const std::string& config, std::string& out);

/// The same over the process's environment, stdin and stdout.
int cni_main();

}  // namespace knet
