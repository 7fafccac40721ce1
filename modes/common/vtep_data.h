// A vxlan peer's backend data in its lease, {"VNI":1,"VtepMAC":"fe:0b:bb:72:15:3b"}: format and strict parse. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/ip.h"

namespace knet {

struct VtepData {
  uint32_t vni = 0;  // for people: the receiver uses its own config's
  Mac mac;
};

std::string format_vtep_data(const VtepData& data);
/// Throws Error{config}: no data, not an object, no VtepMAC, or one that is no unicast address. Keys match as in Go's
/// decoder, ignoring case; unknown ones are passed over. `key` names the data: "BackendData".
VtepData parse_vtep_data(std::string_view json, std::string_view key);

}  // namespace knet
