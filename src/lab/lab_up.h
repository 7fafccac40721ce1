// Brings a lab up: namespaces and wires, the store, the cluster's config, an agent on each node, pods through CNI.
// One command's thread (CNI runs from short-lived ones). Whatever fails is taken down again before the error leaves.
#pragma once

#include <functional>
#include <string>

#include "lab/lab.h"

namespace knet {

/// Told what is waited for, at most once a second; for people.
using LabProgress = std::function<void(const std::string&)>;

/// `plan` from plan_lab(). When it returns all agents are ready and know each other, and each pod has its addresses.
/// Error{conflict} if a lab of that name is up; a failing agent's last words are in the error.
Lab lab_up(Lab plan, const LabProgress& progress);

/// The environment in which a node's programs run: its directories and store, and the caller's besides.
std::vector<std::string> node_environment(const Lab& lab, const LabNode& node);

}  // namespace knet
