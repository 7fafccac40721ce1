// host-gw: plain routes, each peer being the gateway to its subnet; all nodes on one link.
#include <fmt/core.h>

#include "modes/common/plain.h"
#include "modes/common/shortcut.h"

namespace knet {

namespace {

constexpr OptionSpec kOptions[] = {kShortcutOption};

class HostGw : public Mode {
 public:
  std::string_view name() const override { return "host-gw"; }
  std::string_view summary() const override { return "plain routes; all nodes on one link"; }
  std::string_view description() const override {
    return "A route to each peer's subnet by way of that peer's address: no tunnel, the full MTU, the least cost. "
           "Every node "
           "must be on the same link (layer 2); a peer that isn't is named and left out. The announced address must be "
           "the interface's own: behind NAT use vxlan. TCP connections that conntrack knows as established, and no NAT changes, pass "
           "the stack by in a BPF program (Datapath).";
  }
  std::span<const OptionSpec> options() const override { return kOptions; }
  bool carries(Family) const override { return true; }
  bool takes_shortcuts(const NetworkConfig&) const override { return true; }
  std::optional<std::string> unsupported(const KernelFeatures& kernel, const NetworkConfig& config) const override {
    return shortcut_unsupported(kernel, config);
  }
  Datapath datapath(const KernelFeatures& kernel, const NetworkConfig& config) const override {
    return shortcut_datapath(kernel, config);
  }
  ModeMtu mtu(const NetworkConfig& config, const LocalNode& self) const override { return plain_mtu(config, self); }
  LeaseData announce(const NetworkConfig&, const LocalNode&) const override { return {"host-gw", {}}; }
  void check_peer(const Lease& lease) const override { check_peer_addresses(lease); }

  void desired(const ClusterView& view, const NetworkConfig& config, PeerSpan peers, Receive receive,
               ModeState& out) const override {
    if (receive == Receive::yes && config.enable_v4) loosen_uplink(view.self, out);
    add_shortcuts(view, config, out);
    for (const Family family : {Family::v4, Family::v6}) {
      if (!enabled(config, family)) continue;
      const Uplink& uplink = uplink_of(view.self, family);
      const IpAddr& own = family == Family::v6 ? view.self.public_ip6 : view.self.public_ip;
      if (!uplink.dev) {
        out.blocker(fmt::format("host-gw: this node has no IPv{} uplink", static_cast<int>(family)));
        continue;
      }
      if (receive == Receive::yes && own && own != uplink.address.addr())
        out.blocker(
            fmt::format("host-gw: the announced address {} is not that of {} ({}), so no peer can use it as a "
                        "gateway; leave out --public-ip, or choose vxlan",
                        own.str(), uplink.dev.view(), uplink.address.addr().str()));
      for (const uint32_t peer : peers) {
        const Lease& lease = view.leases[peer];
        if (!subnet_of(lease, family)) continue;
        const IpAddr& address = public_ip_of(lease, family);
        if (on_link(uplink, address)) {
          add_plain_route(uplink, lease, family, peer, out);
        } else {
          out.notice(fmt::format("{} {} is not on link on {} ({}): host-gw can't reach {}",
                                 peer < view.names.size() ? view.names[peer] : address.str(), address.str(),
                                 uplink.dev.view(), uplink.address.masked().str(), subnet_of(lease, family).str()));
        }
      }
    }
  }
};

}  // namespace

const Mode& host_gw_mode() {
  static const HostGw mode;
  return mode;
}

}  // namespace knet
