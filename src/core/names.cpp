#include "core/names.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/digest.h"

namespace knet {

DevName vxlan_dev(uint32_t vni, Family underlay) {
  return DevName(fmt::format("knet{}.{}", underlay == Family::v6 ? "6" : "", vni));
}

Mac vxlan_mac(std::string_view node_name, const DevName& dev) {
  const auto hash = sha1(fmt::format("vxlan/{}/{}", node_name, dev.view()));
  Mac mac;
  std::copy_n(hash.begin(), mac.bytes.size(), mac.bytes.begin());
  mac.bytes[0] = static_cast<uint8_t>((mac.bytes[0] & 0xfc) | 0x02);  // locally administered, unicast
  return mac;
}

bool is_agent_link(std::string_view name) {
  for (const std::string_view fixed : {"knet.udp", "knet.ipip", "knet.wg", "knet.wg6"})
    if (name == fixed) return true;
  for (const std::string_view stem : {"knet.", "knet6."}) {
    if (!name.starts_with(stem)) continue;
    const std::string_view number = name.substr(stem.size());
    return !number.empty() && number[0] != '0' &&
           std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
  }
  return false;
}

}  // namespace knet
