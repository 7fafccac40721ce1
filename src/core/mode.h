// A mode (backend): how pods' packets reach other nodes. A mode is a pure planner over values: it may look at
// ClusterView, never at store or kernel. One file in modes/ each, found by CMake, which writes the table.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/netstate.h"
#include "core/view.h"

namespace knet {

struct DesiredState;
struct TunnelPump;

/// What this node tells its peers in its lease.
struct LeaseData {
  std::string mode;
  BackendData data;
};

struct ModeMtu {
  uint32_t v4 = 0;  // bytes a pod's packet may have; 0: family off
  uint32_t v6 = 0;
};

/// The peers that one mode is called with: indexes into view.leases.
using PeerSpan = std::span<const uint32_t>;

/// Whether the device must stand even without a peer: we announced this mode, or did and still receive it.
enum class Receive : bool { no, yes };

/// What a mode may add: its device, its peers, its routes. Each object gets the mode's name and the peer as origin.
class ModeState {
 public:
  ModeState(DesiredState& out, uint16_t producer) : out_(out), producer_(producer) {}
  void add(Link link, uint32_t peer = Origin::kNoPeer);
  void add(Address address);
  void add(Sysctl sysctl);
  void add(const Neighbor& neighbor, uint32_t peer);
  void add(const FdbEntry& entry, uint32_t peer);
  void add(WireguardPeer peer_entry, uint32_t peer);
  void add(Filter filter);  // its digest is filled in
  void add(const TunnelPeer& peer_entry, uint32_t peer);
  void add(Shortcut shortcut);
  /// What userspace carries, or answers for where the kernel's path passes a packet on. One for each device.
  void add(TunnelPump pump);
  /// Nothing of this kind is removed as unwanted as long as this is said (after a start, until all is learned again).
  void hold(Kind kind);
  /// A rule of table knet in a filter chain (policy accept) of this hook, before anybody's usual filter priority.
  void add(NftHook hook, NftRule rule);
  /// An IPv4 route with one gateway gets its Nexthop too (by_nexthop); several next hops are put in order.
  void add(Route route, uint32_t peer);
  /// One line for people: a peer that can't be reached and why.
  void notice(std::string text);
  /// Why this node can't be ready in this mode.
  void blocker(std::string text);

 private:
  DesiredState& out_;
  uint16_t producer_;
};

/// What a service hands back to the agent; any thread.
struct ServiceHost {
  /// bgp::Speaker::OnLearned.
  std::function<void(std::shared_ptr<const std::vector<LearnedRoute>>, bool whole)> learned;
};

/// A question that a service answers beside the loop, from the status server: {"bgp/peers", {}},
/// {"bgp/routes", {{"received","10.0.0.1"}}}, {"bgp/reset", {{"peer","10.0.0.1"},{"kind","in"}}}.
struct ServiceQuestion {
  std::string what;
  std::vector<std::pair<std::string, std::string>> words;
};

/// A mode's runtime part (a userspace pump, a BGP speaker), with threads of its own. The agent makes it when the mode is
/// first announced, received or spoken by a peer, and lets it go when it no longer is; destruction stops and joins.
/// The calls come from the agent's loop and may not block.
class Service {
 public:
  virtual ~Service() = default;
  /// After each turn of the loop: the state that was just brought about, as far as it could be.
  virtual void follow(const ClusterView& view, const DesiredState& desired) = 0;
  /// On any thread: JSON, or nothing if it is no question for this service. Throws Error{usage} for wrong words.
  virtual std::optional<std::string> answer(const ServiceQuestion& question) {
    (void)question;
    return std::nullopt;
  }
  /// The node leaves the cluster for good, by `knet leave`, rather than being restarted. Before destruction.
  virtual void part() {}
  /// What is wrong with it now, one line each; empty: all is well.
  virtual std::vector<std::string> troubles() const { return {}; }
  /// Unlike the others on any thread. Counters since it began, for metrics:
  /// "tunnel_dropped_packets{dev=\"knet.udp\",why=\"not a member\"}" -> 12.
  virtual std::vector<std::pair<std::string, uint64_t>> counters() const { return {}; }
  /// The same of what goes up and down: "bgp_peers{state=\"established\"}" -> 12.
  virtual std::vector<std::pair<std::string, uint64_t>> gauges() const { return {}; }
};

/// By which way a mode moves packets, where it has several.
struct Datapath {
  std::string_view name;  // "kernel", "bpf", "user"; "" where there is nothing to choose
  std::string why;        // "this kernel has no ipip driver"
};

class Mode {
 public:
  virtual ~Mode() = default;
  virtual std::string_view name() const = 0;           // what the user types
  virtual std::string_view summary() const = 0;        // one line, no full stop
  virtual std::string_view description() const = 0;    // a paragraph for `mode show`
  virtual std::span<const OptionSpec> options() const = 0;
  /// Keys of flannel's backend of this name that mean nothing here: a cluster that sets them is still joined.
  virtual std::span<const std::string_view> ignored_options() const { return {}; }
  /// Families it can carry; dual stack if both.
  virtual bool carries(Family family) const = 0;
  /// False where routing is left to others: there is nothing to measure.
  virtual bool moves_packets() const { return true; }
  /// Why this kernel can't run it with the config's options; nothing if it can, or if that is not known.
  virtual std::optional<std::string> unsupported(const KernelFeatures& kernel, const NetworkConfig& config) const = 0;
  /// Whether planning looks at LocalNode::kernel: it is probed only then.
  virtual bool asks_kernel() const { return false; }
  /// Whether its plain routes may be taken past the stack: the kernel is asked for that after the start.
  virtual bool takes_shortcuts(const NetworkConfig& config) const {
    (void)config;
    return false;
  }
  virtual Datapath datapath(const KernelFeatures& kernel, const NetworkConfig& config) const {
    (void)kernel, (void)config;
    return {};
  }
  /// What it looks like between nodes, for people: "VNI 1, udp 8472", "udp 8285", "IP protocol 4"; "" for plain routes.
  virtual std::string wire(const NetworkConfig& config) const {
    (void)config;
    return {};
  }
  /// Bytes added to a packet for a peer that is not reached by a plain route.
  virtual uint32_t overhead(const NetworkConfig& config, Family family) const {
    (void)config, (void)family;
    return 0;
  }
  /// Checks options against each other and the network; throws Error{config}.
  virtual void validate(const NetworkConfig& config) const { (void)config; }
  virtual ModeMtu mtu(const NetworkConfig& config, const LocalNode& self) const = 0;
  virtual LeaseData announce(const NetworkConfig& config, const LocalNode& self) const = 0;
  /// Throws Error{config} if a peer's backend data is malformed for this mode (names what); the store edge then leaves it out.
  virtual void check_peer(const Lease& lease) const { (void)lease; }
  /// `config`: the cluster's, with this mode's name and options (NetworkConfig::as_mode), whichever mode is current.
  virtual void desired(const ClusterView& view, const NetworkConfig& config, PeerSpan peers, Receive receive,
                       ModeState& out) const = 0;
  /// Whether planning looks at LocalNode::host_routes.
  virtual bool asks_host_routes() const { return false; }
  virtual std::unique_ptr<Service> service(const ServiceHost& host) const {
    (void)host;
    return nullptr;
  }
};

class ModeRegistry {
 public:
  /// Sorted by name.
  explicit ModeRegistry(std::span<const Mode* const> modes) : modes_(modes) {}
  std::span<const Mode* const> all() const { return modes_; }
  /// By the typed word, ignoring case. Null if there is none.
  const Mode* find(std::string_view name) const;
  /// Throws Error{config} "no mode 'vxlam'; did you mean vxlan? there are: ...".
  const Mode& get(std::string_view name) const;

 private:
  std::span<const Mode* const> modes_;
};

/// The table that CMake writes from modes/*.cpp. These two live in the modes library.
std::span<const Mode* const> all_modes();
const ModeRegistry& mode_registry();

}  // namespace knet
