// The names that knet gives: devices, MACs, file names. design.md 3; pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/netstate.h"

namespace knet {

DevName vxlan_dev(uint32_t vni, Family underlay);  // knet.<VNI>, knet6.<VNI>
/// Locally administered unicast MAC derived from the persisted node name and the device's name.
Mac vxlan_mac(std::string_view node_name, const DevName& dev);
/// One of the device names that the node agent makes: knet.<number>, knet6.<number>, knet.udp, knet.ipip, knet.wg, knet.wg6.
bool is_agent_link(std::string_view name);

}  // namespace knet
