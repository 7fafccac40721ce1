// vxlan, flannel's on the wire: one device for each family, knet.<VNI> (IPv4 in IPv4) and knet6.<VNI> (IPv6 in IPv6);
// for each peer a route by way of an address that stands for it, a neighbour entry from that to its MAC, an fdb entry
// from there to its public address.
#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "core/names.h"
#include "modes/common/guard.h"
#include "modes/common/plain.h"
#include "modes/common/vtep.h"
#include "modes/common/vtep_data.h"

namespace knet {

namespace {

constexpr OptionSpec kOptions[] = {
    {"DirectRouting", OptionType::boolean, "false", 0, 0, "plain routes to peers on the same link, vxlan to the others",
     true},
    {"GBP", OptionType::boolean, "false", 0, 0, "group policy extension; only false"},
    {"Learning", OptionType::boolean, "false", 0, 0, "learn MACs from packets; only false"},
    {"MTU", OptionType::integer, "0", 0, 65535, "of the underlay; 0: the interface's own. Pods get 50 less (IPv6: 70)"},
    {"Port", OptionType::integer, "8472", 0, 65535, "UDP port; 0: 8472"},
    {"VNI", OptionType::integer, "1", 1, 16777215, "network identifier"},
};

constexpr std::string_view kIgnored[] = {"MacPrefix", "Name"};

constexpr uint16_t kDefaultPort = 8472;

// Outer IP, UDP, vxlan (RFC 7348, section 5) and inner Ethernet headers.
constexpr uint32_t overhead(Family family) { return (family == Family::v6 ? 40 : 20) + 8 + 8 + 14; }

bool direct_routing(const NetworkConfig& config) { return config.option_bool("DirectRouting", false); }

uint32_t vni(const NetworkConfig& config) { return static_cast<uint32_t>(config.option_int("VNI", 1)); }

uint16_t port(const NetworkConfig& config) {
  const int64_t chosen = config.option_int("Port", kDefaultPort);
  return chosen != 0 ? static_cast<uint16_t>(chosen) : kDefaultPort;
}

uint32_t device_mtu(const NetworkConfig& config, const LocalNode& self, Family family) {
  const uint32_t of_uplink = uplink_of(self, family).mtu;
  const auto chosen = static_cast<uint32_t>(config.option_int("MTU", 0));
  uint32_t outer = of_uplink != 0 ? of_uplink : 1500;
  if (chosen != 0 && (of_uplink == 0 || chosen < of_uplink)) outer = chosen;
  return outer > overhead(family) ? outer - overhead(family) : 0;
}

class Vxlan : public Mode {
 public:
  std::string_view name() const override { return "vxlan"; }
  std::string_view summary() const override { return "works on any IP network; the default"; }
  std::string_view description() const override {
    return "Pods' packets travel in UDP (RFC 7348), kernel to kernel, over whatever connects the nodes. Nothing is "
           "learned or "
           "flooded: each peer's entries come from its lease. With DirectRouting, peers on the same link are reached "
           "by plain "
           "routes instead. Nodes that run flannel's vxlan with the same VNI and Port are peers like any other.";
  }
  std::span<const OptionSpec> options() const override { return kOptions; }
  std::span<const std::string_view> ignored_options() const override { return kIgnored; }
  bool carries(Family) const override { return true; }

  std::optional<std::string> unsupported(const KernelFeatures& kernel, const NetworkConfig&) const override {
    if (!kernel.known || kernel.vxlan) return std::nullopt;
    return "this kernel has no vxlan driver";
  }

  std::string wire(const NetworkConfig& config) const override {
    return fmt::format("VNI {}, udp {}", vni(config), port(config));
  }
  uint32_t overhead(const NetworkConfig&, Family family) const override { return knet::overhead(family); }

  void validate(const NetworkConfig& config) const override {
    if (config.option_bool("Learning", false))
      fail(ErrorKind::config,
           "vxlan: Learning true is refused: every peer's MAC comes from its lease, and a learned one would "
           "let any host on the underlay draw traffic to itself; leave it out");
    if (config.option_bool("GBP", false))
      fail(ErrorKind::config, "vxlan: GBP true is refused: nothing here sets or reads group policy ids; leave it out");
    const int64_t mtu = config.option_int("MTU", 0);
    const Family larger = config.enable_v6 ? Family::v6 : Family::v4;
    const int64_t least = (config.enable_v6 ? 1280 : 576) + knet::overhead(larger);
    if (mtu != 0 && mtu < least)
      fail(ErrorKind::config, "vxlan: MTU {} is too small: give 0 for the interface's own, or at least {}", mtu, least);
  }

  ModeMtu mtu(const NetworkConfig& config, const LocalNode& self) const override {
    ModeMtu mtu;
    if (config.enable_v4) mtu.v4 = device_mtu(config, self, Family::v4);
    if (config.enable_v6) mtu.v6 = device_mtu(config, self, Family::v6);
    return mtu;
  }

  LeaseData announce(const NetworkConfig& config, const LocalNode& self) const override {
    LeaseData lease{"vxlan", {}};
    const auto data = [&](Family family) {
      const DevName dev = vxlan_dev(vni(config), family);
      return format_vtep_data({vni(config), vxlan_mac(self.name, dev)});
    };
    if (config.enable_v4) lease.data.v4 = data(Family::v4);
    if (config.enable_v6) lease.data.v6 = data(Family::v6);
    return lease;
  }

  void check_peer(const Lease& lease) const override {
    check_peer_addresses(lease);
    for (const Family family : {Family::v4, Family::v6})
      if (subnet_of(lease, family)) vtep_mac(lease, family);
  }

  void desired(const ClusterView& view, const NetworkConfig& config, PeerSpan peers, Receive receive,
               ModeState& out) const override {
    if (receive == Receive::yes && config.enable_v4 && direct_routing(config)) loosen_uplink(view.self, out);
    std::vector<OuterWire> wires;
    for (const Family family : {Family::v4, Family::v6})
      if (enabled(config, family) && add_family(view, config, peers, receive, family, out))
        wires.push_back({family, kProtocolUdp, port(config)});
    drop_from_pods(name(), wires, config, out);
  }

 private:
  // Whether there is a device of this family.
  static bool add_family(const ClusterView& view, const NetworkConfig& config, PeerSpan peers, Receive receive,
                         Family family, ModeState& out) {
    const Uplink& uplink = uplink_of(view.self, family);
    const Prefix& own = subnet_of(view.self.lease, family);
    if (!uplink.dev) {
      out.blocker(fmt::format("vxlan: this node has no IPv{} uplink", static_cast<int>(family)));
      return false;
    }
    if (!own) return false;  // no lease yet: nothing to receive for, and no address to send from
    const bool direct = direct_routing(config);
    std::vector<Vtep> vteps;
    vteps.reserve(peers.size());
    for (const uint32_t peer : peers) {
      const Lease& lease = view.leases[peer];
      if (!subnet_of(lease, family)) continue;
      if (direct && on_link(uplink, public_ip_of(lease, family)))
        add_plain_route(uplink, lease, family, peer, out);
      else
        vteps.push_back({vtep_mac(lease, family), peer});
    }
    if (receive == Receive::no && vteps.empty()) return false;
    const Link device = add_device(view, config, family, uplink, own, out);
    drop_shared_macs(view, device.mac, vteps, out);
    for (const Vtep& vtep : vteps) {
      const Lease& lease = view.leases[vtep.peer];
      add_vtep(device.name, lease, family, vtep, out);
      add_vtep_route(device.name, subnet_of(lease, family), lease, vtep, out);
    }
    return true;
  }

  static Link add_device(const ClusterView& view, const NetworkConfig& config, Family family, const Uplink& uplink,
                         const Prefix& own, ModeState& out) {
    Link device;
    device.name = vxlan_dev(vni(config), family);
    device.type = LinkType::vxlan;
    device.mtu = device_mtu(config, view.self, family);
    device.mac = vxlan_mac(view.self.name, device.name);
    VxlanAttrs attrs;
    attrs.vni = vni(config);
    attrs.port = port(config);
    attrs.local = uplink.address.addr();
    attrs.underlay = uplink.dev;
    device.vxlan = attrs;
    out.add(device);
    Address address;
    address.dev = device.name;
    address.prefix = Prefix::host(own.masked().addr());
    out.add(address);
    return device;
  }
};

}  // namespace

const Mode& vxlan_mode() {
  static const Vxlan mode;
  return mode;
}

}  // namespace knet
