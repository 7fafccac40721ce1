// wireguard, flannel's on the wire: the kernel's devices knet.wg and, for IPv6 endpoints beside IPv4 ones, knet.wg6; a
// wireguard peer and a route for each node.
#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "core/wireguard_key.h"
#include "modes/common/plain.h"
#include "modes/common/tun.h"
#include "modes/common/wireguard_data.h"

namespace knet {

namespace {

constexpr std::string_view kModes[] = {"separate", "auto", "ipv4", "ipv6"};

constexpr OptionSpec kOptions[] = {
    {"DirectRouting", OptionType::boolean, "false", 0, 0, "only false: plain routes would send in the clear"},
    {"ListenPort", OptionType::integer, "51820", 0, 65535, "UDP port of knet.wg; 0: 51820"},
    {"ListenPortV6", OptionType::integer, "51821", 0, 65535, "UDP port of knet.wg6; 0: 51821"},
    {"MTU", OptionType::integer, "0", 0, 65535, "of the underlay; 0: the interface's own. Pods get 80 less"},
    {"Mode", OptionType::text, "separate", 0, 0,
     "separate: IPv4 over IPv4 and IPv6 over IPv6; else one device for both, over ipv4, ipv6 or what both nodes have",
     false, kModes},
    {"PSK", OptionType::text, "", 0, 0, "preshared key of all nodes, as wg genpsk makes it; give it as @FILE", false, {},
     true},
    {"PersistentKeepaliveInterval", OptionType::integer, "0", 0, 65535, "seconds between empty packets; 0: none", true},
};

// flannel takes off 80 in either family: IPv6 and UDP headers, wireguard's data header (16) and tag (16).
constexpr uint32_t kOverhead = 80;

bool separate(const NetworkConfig& config) { return config.option_text("Mode", "separate") == "separate"; }

uint16_t option_port(const NetworkConfig& config, std::string_view name, uint16_t usual) {
  const int64_t chosen = config.option_int(name, usual);
  return chosen != 0 ? static_cast<uint16_t>(chosen) : usual;
}

const std::string& data_of(const BackendData& data, Family family) { return family == Family::v6 ? data.v6 : data.v4; }

std::string_view key_of(Family family) { return family == Family::v6 ? "BackendV6Data" : "BackendData"; }

// Who may not read the key's file and only looks finds the public one in the lease.
WireguardKey own_key(const LocalNode& self) {
  if (self.wireguard_key != WireguardKey{} || self.lease.mode != "wireguard") return self.wireguard_key;
  const bool v4 = !self.lease.data.v4.empty();
  try {
    return parse_wireguard_data(v4 ? self.lease.data.v4 : self.lease.data.v6, key_of(v4 ? Family::v4 : Family::v6)).public_key;
  } catch (const Error&) {
    return {};
  }
}

/// One of the devices: what it carries, and over what.
struct Device {
  DevName name;
  uint16_t port;
  Family data;   // whose backend data says how to reach it
  bool v4, v6;   // networks that it carries
  bool carries(Family family) const { return family == Family::v6 ? v6 : v4; }
};

std::vector<Device> devices_of(const NetworkConfig& config) {
  const uint16_t port = option_port(config, "ListenPort", 51820);
  const DevName first("knet.wg");
  if (!separate(config))
    return {{first, port, config.enable_v4 ? Family::v4 : Family::v6, config.enable_v4, config.enable_v6}};
  std::vector<Device> devices;
  if (config.enable_v4) devices.push_back({first, port, Family::v4, true, false});
  if (config.enable_v6)
    devices.push_back({DevName("knet.wg6"), option_port(config, "ListenPortV6", 51821), Family::v6, false, true});
  return devices;
}

class Wireguard : public Mode {
 public:
  std::string_view name() const override { return "wireguard"; }
  std::string_view summary() const override { return "encrypted, kernel to kernel"; }
  std::string_view description() const override {
    return "Pods' packets travel encrypted and authenticated in UDP, by the kernel's wireguard driver. Each node makes a "
           "key of its own, which never leaves it, and announces the public one in its lease; who can write to the "
           "store decides who is a peer. A preshared key (PSK) of all nodes may be added. Nodes that run flannel's "
           "wireguard with the same options are peers like any other.";
  }
  std::span<const OptionSpec> options() const override { return kOptions; }
  bool carries(Family) const override { return true; }
  bool asks_kernel() const override { return true; }

  std::optional<std::string> unsupported(const KernelFeatures& kernel, const NetworkConfig&) const override {
    if (!kernel.known || kernel.wireguard) return std::nullopt;
    return "this kernel has no wireguard driver";
  }
  std::string wire(const NetworkConfig& config) const override {
    std::string text;
    for (const Device& device : devices_of(config)) text += fmt::format("{}udp {}", text.empty() ? "" : ", ", device.port);
    return text;
  }
  uint32_t overhead(const NetworkConfig&, Family) const override { return kOverhead; }

  void validate(const NetworkConfig& config) const override {
    check_tunnel_mtu(*this, config);
    if (config.option_bool("DirectRouting", false))
      fail(ErrorKind::config, "wireguard: DirectRouting true is refused: plain routes would send pods' packets in the clear");
    const std::string psk = config.option_text("PSK");
    if (!psk.empty() && !parse_wireguard_key(psk))
      fail(ErrorKind::config, "wireguard: PSK is not the base64 of 32 bytes; make one with: wg genpsk");
    const std::string mode = config.option_text("Mode", "separate");
    if ((mode == "ipv4" && !config.enable_v4) || (mode == "ipv6" && !config.enable_v6))
      fail(ErrorKind::config, "wireguard: Mode {} needs an {} network: nodes announce no such address without one", mode,
           mode == "ipv4" ? "IPv4" : "IPv6");
    const auto devices = devices_of(config);
    if (devices.size() == 2 && devices[0].port == devices[1].port)
      fail(ErrorKind::config, "wireguard: ListenPort and ListenPortV6 are both {}: each device needs its own",
           devices[0].port);
  }

  ModeMtu mtu(const NetworkConfig& config, const LocalNode& self) const override {
    ModeMtu mtu = tunnel_mtu(*this, config, self);
    // One device for both: a peer may be reached by either family.
    if (!separate(config) && mtu.v4 != 0 && mtu.v6 != 0) mtu.v4 = mtu.v6 = std::min(mtu.v4, mtu.v6);
    return mtu;
  }

  LeaseData announce(const NetworkConfig& config, const LocalNode& self) const override {
    if (self.wireguard_key == WireguardKey{})
      fail(ErrorKind::unsupported, "wireguard: this node has no key yet; its file is made by knet join or knet agent");
    LeaseData lease{"wireguard", {}};
    for (const Device& device : devices_of(config)) {
      const std::string data = format_wireguard_data({self.wireguard_key, device.port});
      if (device.v4) lease.data.v4 = data;
      if (device.v6) lease.data.v6 = data;
    }
    return lease;
  }

  void check_peer(const Lease& lease) const override {
    check_peer_addresses(lease);
    for (const Family family : {Family::v4, Family::v6})
      if (subnet_of(lease, family)) parse_wireguard_data(data_of(lease.data, family), key_of(family));
  }

  void desired(const ClusterView& view, const NetworkConfig& config, PeerSpan peers, Receive receive,
               ModeState& out) const override {
    if (own_key(view.self) == WireguardKey{}) {
      if (receive == Receive::yes || !peers.empty()) out.blocker("wireguard: this node has no key yet");
      return;
    }
    for (const Device& device : devices_of(config)) add(device, view, config, peers, receive, out);
  }

 private:
  // Which of the peer's addresses it is reached at; unset if this node can't reach it.
  static IpAddr endpoint(const Device& device, const NetworkConfig& config, const LocalNode& self, const Lease& lease) {
    const std::string mode = config.option_text("Mode", "separate");
    for (const Family family : {Family::v4, Family::v6}) {
      if (mode == "separate" ? family != device.data : mode != "auto" && mode != (family == Family::v6 ? "ipv6" : "ipv4"))
        continue;
      if (uplink_of(self, family).dev && is_node_address(public_ip_of(lease, family), family))
        return public_ip_of(lease, family);
    }
    return {};
  }

  void add(const Device& device, const ClusterView& view, const NetworkConfig& config, PeerSpan peers, Receive receive,
           ModeState& out) const {
    const LocalNode& self = view.self;
    if (!self.uplink.dev && !self.uplink6.dev) return out.blocker("wireguard: this node has no uplink");
    if (separate(config) && !uplink_of(self, device.data).dev)
      return out.blocker(fmt::format("wireguard: this node has no IPv{} uplink", static_cast<int>(device.data)));
    if (!(device.v4 && self.lease.subnet) && !(device.v6 && self.lease.subnet6)) return;  // no lease yet
    const std::vector<Peer> known = peers_of(device, view, peers, out);
    if (receive == Receive::no && known.empty()) return;
    add_link(device, self, mtu(config, self), out);
    const auto psk = parse_wireguard_key(config.option_text("PSK"));
    for (const Peer& peer : known) {
      const Lease& lease = view.leases[peer.index];
      WireguardPeer entry;
      entry.dev = device.name;
      entry.public_key = peer.data.public_key;
      entry.endpoint = endpoint(device, config, self, lease);
      if (!entry.endpoint) {
        out.notice(fmt::format("{} {} is left out: no address of it is of a family that this node has an uplink for",
                               name_of(view, peer.index), subnets_text(lease)));
        continue;
      }
      entry.port = peer.data.port != 0 ? peer.data.port : device.port;
      entry.keepalive = static_cast<uint16_t>(config.option_int("PersistentKeepaliveInterval", 0));
      entry.preshared_key = psk;
      for (const Family family : {Family::v4, Family::v6})
        if (device.carries(family) && subnet_of(lease, family)) entry.allowed.push_back(subnet_of(lease, family));
      for (const Prefix& subnet : entry.allowed) {
        Route route;
        route.dst = subnet;
        route.dev = device.name;
        out.add(route, peer.index);
      }
      out.add(std::move(entry), peer.index);
    }
  }

  struct Peer {
    WireguardData data;
    uint32_t index;
  };

  // Two nodes with one key (a cloned machine) would be one peer: the older lease counts.
  static std::vector<Peer> peers_of(const Device& device, const ClusterView& view, PeerSpan peers, ModeState& out) {
    std::vector<Peer> all;
    all.reserve(peers.size());
    for (const uint32_t index : peers) {
      const Lease& lease = view.leases[index];
      if (!(device.v4 && lease.subnet) && !(device.v6 && lease.subnet6)) continue;
      const Family family = subnet_of(lease, device.data) ? device.data : Family::v6;
      all.push_back({parse_wireguard_data(data_of(lease.data, family), key_of(family)), index});
    }
    std::stable_sort(all.begin(), all.end(), [&](const Peer& a, const Peer& b) {
      if (a.data.public_key != b.data.public_key) return a.data.public_key < b.data.public_key;
      return view.leases[a.index].rev < view.leases[b.index].rev;
    });
    const WireguardKey own = own_key(view.self);
    std::vector<Peer> kept;
    kept.reserve(all.size());
    for (const Peer& peer : all) {
      const bool like_own = peer.data.public_key == own;
      if (!like_own && (kept.empty() || kept.back().data.public_key != peer.data.public_key)) {
        kept.push_back(peer);
        continue;
      }
      out.notice(fmt::format("{} {} is left out: its PublicKey {} is also that of {}", name_of(view, peer.index),
                             subnets_text(view.leases[peer.index]), format_wireguard_key(peer.data.public_key),
                             like_own ? "this node" : name_of(view, kept.back().index)));
    }
    return kept;
  }

  static void add_link(const Device& device, const LocalNode& self, const ModeMtu& mtu, ModeState& out) {
    Link link;
    link.name = device.name;
    link.type = LinkType::wireguard;
    link.mtu = device.v4 ? mtu.v4 : mtu.v6;
    link.wireguard = WireguardAttrs{device.port, own_key(self), self.wireguard_key_file};
    out.add(link);
    for (const Family family : {Family::v4, Family::v6}) {
      if (!device.carries(family) || !subnet_of(self.lease, family)) continue;
      Address address;
      address.dev = device.name;
      address.prefix = Prefix::host(subnet_of(self.lease, family).masked().addr());
      out.add(address);
    }
  }
};

}  // namespace

const Mode& wireguard_mode() {
  static const Wireguard mode;
  return mode;
}

}  // namespace knet
