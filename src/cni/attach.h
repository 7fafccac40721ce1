// The plugin's verbs on one pod interface: attach (ADD), detach (DEL), check (CHECK), collect (GC). Each is rolled back
// or idempotent by itself. Used by plugin.cpp and, in-process, by nobody else.
#pragma once

#include <string>
#include <vector>

#include "cni/request.h"
#include "cni/result.h"
#include "core/subnet_env.h"

namespace knet {

/// subnet.env of the run dir. Throws CniError with `code` and the reason while the agent has not written it.
SubnetEnv node_subnet(const CniRequest& request, int code);
/// Throws CniError with `code` and the reason on a node that is to run no (more) pods.
void refuse_without_pods(const CniRequest& request, int code);

/// A second ADD of the same interface that still stands gives the same result; one that is broken is made anew.
CniResult attach(const CniRequest& request);

/// Goes on past errors; throws one Error that names them all. All that is gone already is fine.
void detach(const CniRequest& request);

/// What is wrong, one line each; empty: all as ADD left it.
std::vector<std::string> check_attached(const CniRequest& request);

/// Detaches each interface of the network that is not among the valid attachments. As errors: see detach.
void collect(const CniRequest& request);

}  // namespace knet
