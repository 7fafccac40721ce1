// udp, flannel's on the wire: the inner packet as it is in UDP. One TUN device, knet.udp, for both families; its packets
// stay in the kernel where BPF programs may run, else userspace carries them.
#include <fmt/core.h>

#include "base/error.h"
#include "modes/common/guard.h"
#include "modes/common/plain.h"
#include "modes/common/tun.h"
#include "tunnel/service.h"

namespace knet {

namespace {

constexpr std::string_view kDatapaths[] = {"auto", "bpf", "user"};

constexpr OptionSpec kOptions[] = {
    {"Datapath", OptionType::text, "auto", 0, 0, "bpf: in the kernel; user: through knet; auto: bpf where it runs", true,
     kDatapaths},
    {"DirectRouting", OptionType::boolean, "false", 0, 0, "plain routes to peers on the same link, udp to the others",
     true},
    {"MTU", OptionType::integer, "0", 0, 65535, "of the underlay; 0: the interface's own. Pods get 28 less (IPv6: 48)"},
    {"Port", OptionType::integer, "8285", 0, 65535, "UDP port of all nodes; 0: 8285"},
};

constexpr uint16_t kDefaultPort = 8285;
constexpr uint32_t kLastMetric = 65533;

uint16_t port(const NetworkConfig& config) {
  const int64_t chosen = config.option_int("Port", kDefaultPort);
  return chosen != 0 ? static_cast<uint16_t>(chosen) : kDefaultPort;
}

// bpf too where nobody could ask the kernel: only a plan that is never applied rests on that.
TunPath choose(const KernelFeatures& kernel, const NetworkConfig& config) {
  const std::string wanted = config.option_text("Datapath", "auto");
  if (wanted == "bpf") return TunPath::bpf;
  if (wanted == "user") return TunPath::user;
  return kernel.bpf_tunnel || !kernel.known ? TunPath::bpf : TunPath::user;
}

class Udp : public Mode {
 public:
  std::string_view name() const override { return "udp"; }
  std::string_view summary() const override { return "flannel's udp format: packets as they are in UDP"; }
  std::string_view description() const override {
    return "Pods' packets travel as they are in UDP. BPF programs on a TUN device and on the interface pack and unpack "
           "them in the kernel's own path, and go on without the agent; where the kernel does not let them, knet "
           "carries the packets itself, in batches. Packets from others than the cluster's nodes, or with an inner "
           "source that is not the sender's, are dropped and counted. Nodes that run flannel's udp with the same Port "
           "are peers like any other.";
  }
  std::span<const OptionSpec> options() const override { return kOptions; }
  bool carries(Family) const override { return true; }
  bool asks_kernel() const override { return true; }

  std::optional<std::string> unsupported(const KernelFeatures& kernel, const NetworkConfig& config) const override {
    if (!kernel.known) return std::nullopt;
    if (!kernel.tun) return "this kernel has no TUN driver (/dev/net/tun)";
    if (config.option_text("Datapath", "auto") == "bpf" && !kernel.bpf_tunnel)
      return "Datapath bpf is refused: " + no_bpf(kernel);
    return std::nullopt;
  }
  Datapath datapath(const KernelFeatures& kernel, const NetworkConfig& config) const override {
    const bool chosen = config.option_text("Datapath", "auto") != "auto";
    if (!kernel.known && !chosen) return {};
    if (choose(kernel, config) == TunPath::bpf) return {"bpf", chosen ? "by Datapath" : "its programs pass their trial"};
    return {"user", chosen ? "by Datapath" : no_bpf(kernel)};
  }
  std::string wire(const NetworkConfig& config) const override { return fmt::format("udp {}", port(config)); }
  // Outer IP and UDP headers.
  uint32_t overhead(const NetworkConfig&, Family family) const override { return (family == Family::v6 ? 40 : 20) + 8; }
  void validate(const NetworkConfig& config) const override { check_tunnel_mtu(*this, config); }
  ModeMtu mtu(const NetworkConfig& config, const LocalNode& self) const override {
    return tunnel_mtu(*this, config, self);
  }
  LeaseData announce(const NetworkConfig&, const LocalNode&) const override { return {"udp", {}}; }
  void check_peer(const Lease& lease) const override { check_peer_addresses(lease); }

  void desired(const ClusterView& view, const NetworkConfig& config, PeerSpan peers, Receive receive,
               ModeState& out) const override {
    TunTunnel tunnel;
    tunnel.mode = name();
    tunnel.dev = DevName("knet.udp");
    tunnel.wire = TunnelWire::udp;
    tunnel.port = port(config);
    tunnel.path = choose(view.self.kernel, config);
    tunnel.last_metric = kLastMetric;
    add_tun_tunnel(tunnel, *this, view, config, peers, receive, out);
  }
  std::unique_ptr<Service> service(const ServiceHost&) const override { return make_tunnel_service(DevName("knet.udp")); }
};

}  // namespace

const Mode& udp_mode() {
  static const Udp mode;
  return mode;
}

}  // namespace knet
