// A node's row in words, for `node list` and `node show`. Values only.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "commands/common/cluster.h"
#include "agent/node.h"

namespace knet {

std::string_view state_text(NodeState state);
/// What its state means where it is not plain; "".
std::string why_text(const NodeRow& row);
std::string version_text(const NodeRow& row);
std::string age_text(const std::optional<std::chrono::seconds>& time);
std::string address_text(const IpAddr& v4, const IpAddr& v6);
/// What it receives besides the mode that it announces, while the cluster changes over; "".
std::string receives_text(const NodeRow& row, const std::string& announced);
/// "1.0.0.1", with the selector of its clients if there is one; "" if it reflects nothing.
std::string reflector_text(const NodeRow& row);
/// "rack=a,zone=x"
std::string labels_text(const NodeRow& row);
/// Its AS: its own, else `usual`.
uint32_t asn_of(const NodeRow& row, uint32_t usual);

/// The name that this host enrolled with; empty if it never did.
std::string own_name(const NodePaths& paths);

nlohmann::ordered_json node_json(const NodeRow& row, const std::string& own, uint32_t usual_asn);

}  // namespace knet
