#include "core/devices.h"

#include <fmt/core.h>

#include <algorithm>

namespace knet {

namespace {

bool differs(const Link& want, const Link& seen) {
  return (want.mtu != 0 && want.mtu != seen.mtu) || (!want.mac.is_zero() && want.mac != seen.mac) || want.up != seen.up ||
         want.wireguard != seen.wireguard;
}

// Whether the kernel refuses one while the other stands. One vxlan per VNI, port and outer family
// (vxlan_vni_in_use(), drivers/net/vxlan/vxlan_core.c); one ipip per local and remote (ip_tunnel_find()); one wireguard
// per port of those that are up.
bool exclude_each_other(const Link& a, const Link& b) {
  if (a.vxlan && b.vxlan)
    return a.vxlan->vni == b.vxlan->vni && a.vxlan->port == b.vxlan->port &&
           a.vxlan->local.is_v6() == b.vxlan->local.is_v6();
  if (a.ipip && b.ipip) return *a.ipip == *b.ipip;
  return a.wireguard && b.wireguard && a.up && b.up && a.wireguard->port == b.wireguard->port;
}

}  // namespace

Devices::Devices(const DesiredState& desired, const Observed& observed, const Ownership& own, bool links_wanted)
    : want_(desired.net),
      seen_(observed),
      own_(own),
      plan_links_(links_wanted),
      whole_(observed.complete.test(static_cast<size_t>(Kind::link))),
      read_(whole_ || !observed.net.links.empty()) {
  const bool may_leave = whole_ && plan_links_ && !desired.hold.test(static_cast<size_t>(Kind::link));
  const auto& seen = observed.net.links;
  const auto& want = want_.links;
  if (!read_) return;
  devices_.reserve(seen.size() + want.size());
  for (size_t i = 0, j = 0; i < want.size() || j < seen.size();) {
    Device device;
    const bool wanted = i < want.size() && (j == seen.size() || want[i].name <= seen[j].name);
    const bool found = j < seen.size() && (!wanted || want[i].name == seen[j].name);
    device.name = wanted ? want[i].name : seen[j].name;
    device.here = found || !whole_;
    device.up = found ? seen[j].up : true;
    device.ours = found && own.owns(seen[j]);
    device.leaves = found && !wanted && device.ours && may_leave;
    devices_.push_back(std::move(device));
    i += wanted ? 1 : 0;
    j += found ? 1 : 0;
  }
  for (uint32_t i = 0; i < want.size(); ++i) {
    const Link* found = seen_.net.find_link(want[i].name);
    decide(i, found, found != nullptr ? static_cast<uint32_t>(found - seen.data()) : 0);
  }
  for (uint32_t j = 0; j < seen.size(); ++j)
    if (const Device* device = find(seen[j].name); device != nullptr && device->leaves)
      ops.push_back({{Verb::remove, Why::unwanted, {Kind::link, true, j}}, false});
}

Devices::Device* Devices::find(const DevName& name) {
  if (last_ != nullptr && last_->name == name) return last_;
  const auto it = std::lower_bound(devices_.begin(), devices_.end(), name,
                                   [](const Device& device, const DevName& wanted) { return device.name < wanted; });
  if (it == devices_.end() || it->name != name) return nullptr;
  return last_ = &*it;
}

void Devices::decide(uint32_t want_index, const Link* seen, uint32_t seen_index) {
  const Link& want = want_.links[want_index];
  Device& device = *find(want.name);
  if (seen != nullptr && !device.ours) {
    foreign.push_back({{Kind::link, false, want_index}, describe(*seen)});
    device.obstacle = fmt::format("{}, which is not ours", want.name.view());
    return;
  }
  const DevName below = want.underlay();
  Device* underlay = below ? find(below) : nullptr;
  const bool underlay_gone =
      below && (underlay == nullptr ? whole_ : !underlay->here || !underlay->obstacle.empty());
  const bool recreate = seen != nullptr && (!want.same_make(*seen) || (underlay != nullptr && underlay->fresh));
  if ((seen == nullptr || recreate) && underlay_gone) {
    const std::string obstacle = fmt::format("{}, which is not there", below.view());
    if (seen == nullptr) device.obstacle = obstacle;
    // A device that stands is better than none.
    waiting_.push_back(fmt::format("{} waits for {}", want.name.view(), obstacle));
    return;
  }
  if (seen != nullptr && !recreate) {
    if (!differs(want, *seen)) return;
    if (!plan_links_) {
      device.up = seen->up;
      return;
    }
    device.set_up = want.up && !seen->up;
    device.mac_set = !want.mac.is_zero() && want.mac != seen->mac;
    device.up = want.up;
    ops.push_back({{Verb::replace, Why::differs, {Kind::link, false, want_index}}, false});
    return;
  }
  if (!plan_links_) {
    device.here = seen != nullptr || !whole_;
    return;
  }
  if (!make_room(want_index)) {
    if (seen == nullptr) device.obstacle = fmt::format("{}, whose place another device holds", want.name.view());
    return;
  }
  if (recreate) ops.push_back({{Verb::remove, Why::recreate, {Kind::link, true, seen_index}}, true});
  ops.push_back({{Verb::create, recreate ? Why::recreate : Why::missing, {Kind::link, false, want_index}}, false});
  device.here = true;
  device.up = want.up;
  device.fresh = true;
}

bool Devices::make_room(uint32_t want_index) {
  const Link& want = want_.links[want_index];
  const auto& links = seen_.net.links;
  for (const Link& other : links) {
    if (other.name == want.name || !exclude_each_other(want, other)) continue;
    if (own_.owns(other)) continue;
    foreign.push_back({{Kind::link, false, want_index}, describe(other)});
    return false;
  }
  for (uint32_t j = 0; j < links.size(); ++j) {
    const Link& other = links[j];
    if (other.name == want.name || !exclude_each_other(want, other)) continue;
    Device& device = *find(other.name);
    if (device.fresh) continue;  // removed already
    ops.push_back({{Verb::remove, Why::unwanted, {Kind::link, true, j}}, true});
    device.leaves = false;
    device.here = false;
    device.fresh = true;
  }
  return true;
}

bool Devices::can_hold(const DevName& name, bool needs_up) {
  if (!name || !read_) return true;
  Device* device = find(name);
  if (device == nullptr) {
    if (!whole_) return true;
    // Not seen and not wanted as a link (a pod's veth, the uplink): remembered, so that it is said once.
    Device missing;
    missing.name = name;
    missing.here = false;
    const auto at = std::lower_bound(devices_.begin(), devices_.end(), name,
                                     [](const Device& d, const DevName& wanted) { return d.name < wanted; });
    last_ = nullptr;
    device = &*devices_.insert(at, std::move(missing));
  }
  if (device->obstacle.empty()) {
    if (!device->here) {
      device->obstacle = fmt::format("{}, which is not there", name.view());
    } else if (needs_up && !device->up) {
      ++device->waiting;
      return false;
    } else {
      return true;
    }
  }
  ++device->waiting;
  return false;
}

std::vector<std::string> Devices::waiting() const {
  std::vector<std::string> lines = waiting_;
  for (const Device& device : devices_) {
    if (device.waiting == 0) continue;
    const std::string obstacle =
        device.obstacle.empty() ? fmt::format("{}, which is down", device.name.view()) : device.obstacle;
    lines.push_back(device.waiting == 1 ? fmt::format("1 object waits for {}", obstacle)
                                        : fmt::format("{} objects wait for {}", device.waiting, obstacle));
  }
  return lines;
}

}  // namespace knet
