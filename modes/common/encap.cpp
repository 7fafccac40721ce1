#include "modes/common/encap.h"

#include "base/error.h"
#include "core/compose.h"
#include "core/names.h"
#include "modes/common/plain.h"
#include "modes/common/vtep.h"

namespace knet {

namespace {

constexpr Family kFamilies[] = {Family::v4, Family::v6};

}  // namespace

const Mode* encap_of(const NetworkConfig& config) {
  const std::string encap = config.option_text("Encap", "none");
  return encap == "none" ? nullptr : mode_registry().find(encap);
}

Encap::Encap(const ClusterView& view, const NetworkConfig& config, ModeState& out) : view_(view), out_(out) {
  const Mode* mode = encap_of(config);
  if (mode == nullptr) return;
  by_vxlan_ = mode->name() == "vxlan";
  if (by_vxlan_) {
    find_vteps(config);
  } else {
    dev_[0] = dev_[1] = DevName("knet.ipip");
    to_address_ = mode->datapath(view.self.kernel, config_of(view, *mode)).name == "kernel";
  }
}

bool Encap::add_route(const Prefix& dst, uint32_t peer) {
  const Family family = dst.family();
  const Lease& lease = view_.leases[peer];
  if (!subnet_of(view_.self.lease, family) || !is_node_address(public_ip_of(lease, family), family)) return false;
  const DevName& dev = dev_[family == Family::v6];
  if (!by_vxlan_) {
    Route route;
    route.dst = dst;
    route.dev = dev;
    if (to_address_) {
      route.via = lease.public_ip;  // what the kernel's driver takes as the outer destination
      route.onlink = true;
    }
    out_.add(route, peer);
    return true;
  }
  const auto vtep = vteps_[family == Family::v6].find(peer);
  if (vtep == vteps_[family == Family::v6].end()) return false;
  const Vtep to{vtep->second, peer};
  if (used_[family == Family::v6].insert(peer).second) add_vtep(dev, lease, family, to, out_);
  add_vtep_route(dev, dst, lease, to, out_);
  return true;
}

void Encap::find_vteps(const NetworkConfig& config) {
  for (const Family family : kFamilies) {
    const bool v6 = family == Family::v6;
    dev_[v6] = vxlan_dev(static_cast<uint32_t>(config.option_int("VNI", 1)), family);
    std::vector<Vtep> found;
    std::set<Mac> taken;  // by nodes that vxlan itself serves
    for (uint32_t i = 0; i < view_.leases.size(); ++i) {
      const Lease& lease = view_.leases[i];
      const std::string& data = v6 ? lease.data.v6 : lease.data.v4;
      if (!subnet_of(lease, family) || data.empty() || (lease.mode != "bgp" && lease.mode != "vxlan")) continue;
      try {
        const Mac mac = vtep_mac(lease, family);
        if (lease.mode == "bgp")
          found.push_back({mac, i});
        else
          taken.insert(mac);
      } catch (const Error&) {
        // Left out by check_peer, with a notice.
      }
    }
    std::erase_if(found, [&](const Vtep& vtep) { return taken.contains(vtep.mac); });
    drop_shared_macs(view_, vxlan_mac(view_.self.name, dev_[v6]), found, out_);
    for (const Vtep& vtep : found) vteps_[v6].emplace(vtep.peer, vtep.mac);
  }
}

}  // namespace knet
