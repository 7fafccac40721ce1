// ipip, flannel's on the wire: IPv4 in IPv4 (RFC 2003), IPv6 in IPv6 (RFC 2473). One device, knet.ipip: the kernel's own
// driver where it is and suffices, else a TUN device with BPF filters, else one whose packets userspace carries.
#include <fmt/core.h>

#include "base/error.h"
#include "modes/common/guard.h"
#include "modes/common/plain.h"
#include "modes/common/tun.h"
#include "tunnel/service.h"

namespace knet {

namespace {

constexpr std::string_view kDatapaths[] = {"auto", "kernel", "bpf", "user"};

constexpr OptionSpec kOptions[] = {
    {"Datapath", OptionType::text, "auto", 0, 0,
     "kernel: its ipip driver (IPv4 only); bpf: in the kernel without it; user: through knet; auto: the first that runs",
     true, kDatapaths},
    {"DirectRouting", OptionType::boolean, "false", 0, 0, "plain routes to peers on the same link, ipip to the others",
     true},
    {"MTU", OptionType::integer, "0", 0, 65535, "of the underlay; 0: the interface's own. Pods get 20 less (IPv6: 40)"},
};

constexpr uint32_t kLastMetric = 65534;

enum class Path : uint8_t { kernel, bpf, user };

// Where nobody could ask the kernel, what it is likely to have: only a plan that is never applied rests on that.
Path choose(const KernelFeatures& kernel, const NetworkConfig& config) {
  const std::string wanted = config.option_text("Datapath", "auto");
  if (wanted == "kernel") return Path::kernel;
  if (wanted == "bpf") return Path::bpf;
  if (wanted == "user") return Path::user;
  if (kernel.ipip && !config.enable_v6) return Path::kernel;
  return kernel.bpf_tunnel || !kernel.known ? Path::bpf : Path::user;
}

DevName device_name() { return DevName("knet.ipip"); }

class Ipip : public Mode {
 public:
  std::string_view name() const override { return "ipip"; }
  std::string_view summary() const override { return "IP in IP, the smallest header"; }
  std::string_view description() const override {
    return "Pods' packets travel as they are in IP (RFC 2003; IPv6 in IPv6: RFC 2473). The kernel's ipip driver does it "
           "for IPv4; where it is missing, or there is IPv6, BPF programs on a TUN device do the same in the kernel's "
           "own path, and where those may not run, knet carries the packets itself. All of them, and nodes that run "
           "flannel's ipip, are peers of each other. Packets from others than the cluster's nodes are dropped.";
  }
  std::span<const OptionSpec> options() const override { return kOptions; }
  bool carries(Family) const override { return true; }
  bool asks_kernel() const override { return true; }

  std::optional<std::string> unsupported(const KernelFeatures& kernel, const NetworkConfig& config) const override {
    if (!kernel.known) return std::nullopt;
    const Path path = choose(kernel, config);
    if (path == Path::kernel && !kernel.ipip) return "Datapath kernel: this kernel has no ipip driver";
    if (path == Path::bpf && !kernel.bpf_tunnel) return "Datapath bpf is refused: " + no_bpf(kernel);
    if (path != Path::kernel && !kernel.tun) return "this kernel has neither an ipip nor a TUN driver (/dev/net/tun)";
    return std::nullopt;
  }
  Datapath datapath(const KernelFeatures& kernel, const NetworkConfig& config) const override {
    const bool chosen = config.option_text("Datapath", "auto") != "auto";
    if (!kernel.known && !chosen) return {};
    const std::string no_driver =
        kernel.ipip ? "the kernel's ipip driver carries no IPv6" : "this kernel has no ipip driver";
    switch (choose(kernel, config)) {
      case Path::kernel:
        return {"kernel", chosen ? "by Datapath" : "the kernel has the driver"};
      case Path::bpf:
        return {"bpf", chosen ? "by Datapath" : no_driver + ", bpf path used"};
      case Path::user:
        break;
    }
    return {"user", chosen ? "by Datapath" : no_driver + ", " + no_bpf(kernel)};
  }
  std::string wire(const NetworkConfig& config) const override {
    if (!config.enable_v6) return "IP protocol 4";
    return config.enable_v4 ? "IP protocols 4 and 41" : "IP protocol 41";
  }
  // The outer IP header.
  uint32_t overhead(const NetworkConfig&, Family family) const override { return family == Family::v6 ? 40 : 20; }
  void validate(const NetworkConfig& config) const override {
    check_tunnel_mtu(*this, config);
    if (config.enable_v6 && config.option_text("Datapath", "auto") == "kernel")
      fail(ErrorKind::config,
           "ipip: Datapath kernel is refused for an IPv6 network: the kernel's ipip driver carries IPv4 in IPv4 only; "
           "leave Datapath out, or give bpf or user");
  }
  ModeMtu mtu(const NetworkConfig& config, const LocalNode& self) const override {
    return tunnel_mtu(*this, config, self);
  }
  LeaseData announce(const NetworkConfig&, const LocalNode&) const override { return {"ipip", {}}; }
  void check_peer(const Lease& lease) const override { check_peer_addresses(lease); }

  void desired(const ClusterView& view, const NetworkConfig& config, PeerSpan peers, Receive receive,
               ModeState& out) const override {
    const Path path = choose(view.self.kernel, config);
    if (path == Path::kernel) return by_kernel(view, config, peers, receive, out);
    TunTunnel tunnel;
    tunnel.mode = name();
    tunnel.dev = device_name();
    tunnel.wire = TunnelWire::ipip;
    tunnel.path = path == Path::bpf ? TunPath::bpf : TunPath::user;
    tunnel.last_metric = kLastMetric;
    add_tun_tunnel(tunnel, *this, view, config, peers, receive, out);
  }
  std::unique_ptr<Service> service(const ServiceHost&) const override { return make_tunnel_service(device_name()); }

 private:
  void by_kernel(const ClusterView& view, const NetworkConfig& config, PeerSpan peers, Receive receive,
                 ModeState& out) const {
    const LocalNode& self = view.self;
    const bool direct = config.option_bool("DirectRouting", false);
    if (receive == Receive::yes && direct) loosen_uplink(self, out);
    if (!self.uplink.dev) {
      out.blocker("ipip: this node has no IPv4 uplink");
      return;
    }
    if (!self.lease.subnet) return;
    bool needed = receive == Receive::yes;
    for (const uint32_t peer : peers) {
      const Lease& lease = view.leases[peer];
      if (!lease.subnet) continue;
      if (direct && on_link(self.uplink, lease.public_ip)) {
        add_plain_route(self.uplink, lease, Family::v4, peer, out);
        continue;
      }
      needed = true;
      Route route;
      route.dst = lease.subnet;
      route.dev = device_name();
      route.via = lease.public_ip;  // what the driver takes as the outer destination
      route.onlink = true;
      out.add(route, peer);
    }
    if (!needed) return;
    add_device(self, mtu(config, self).v4, out);
    const OuterWire wire{Family::v4, kProtocolIpip};
    drop_from_pods(name(), {&wire, 1}, config, out);
    drop_from_strangers(name(), wire, self.uplink.address.addr(), member_addresses(view, Family::v4), out);
  }

  static void add_device(const LocalNode& self, uint32_t mtu, ModeState& out) {
    Link device;
    device.name = device_name();
    device.type = LinkType::ipip;
    device.mtu = mtu;
    device.ipip = IpipAttrs{self.uplink.address.addr(), self.uplink.dev};
    out.add(device);
    Address address;
    address.dev = device.name;
    address.prefix = Prefix::host(self.lease.subnet.masked().addr());
    out.add(address);
  }
};

}  // namespace

const Mode& ipip_mode() {
  static const Ipip mode;
  return mode;
}

}  // namespace knet
