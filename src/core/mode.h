// A mode (backend): how pods' packets reach other nodes. A mode is a pure planner over values: it may look at
// ClusterView, never at store or kernel. One file in modes/ each, found by CMake, which writes the table.
#pragma once

#include <cstdint>
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

/// What the running kernel offers, probed by src/kernel. Unknown is not missing: see `known`.
struct KernelFeatures {
  bool known = true;     // false: could not be probed (not root)
  bool vxlan = false;
  bool nexthops = false;
  bool nf_tables = false;
  bool tun = false;
  bool ipip = false;
  bool wireguard = false;
  bool bpf = false;
  std::string release;   // uname -r
};

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
  /// An IPv4 route with a gateway gets its Nexthop too (by_nexthop).
  void add(Route route, uint32_t peer);
  /// One line for people: a peer that can't be reached and why.
  void notice(std::string text);
  /// Why this node can't be ready in this mode.
  void blocker(std::string text);

 private:
  DesiredState& out_;
  uint16_t producer_;
};

/// A mode's runtime part (a userspace pump, a BGP speaker); none of the kernel modes has one.
class Service {
 public:
  virtual ~Service() = default;
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
  /// Why this kernel can't run it; nothing if it can.
  virtual std::optional<std::string> unsupported(const KernelFeatures& kernel) const = 0;
  /// Checks options against each other and the network; throws Error{config}.
  virtual void validate(const NetworkConfig& config) const { (void)config; }
  virtual ModeMtu mtu(const NetworkConfig& config, const LocalNode& self) const = 0;
  virtual LeaseData announce(const NetworkConfig& config, const LocalNode& self) const = 0;
  /// Throws Error{config} if a peer's backend data is malformed for this mode (names what); the store edge then leaves it out.
  virtual void check_peer(const Lease& lease) const { (void)lease; }
  virtual void desired(const ClusterView& view, PeerSpan peers, Receive receive, ModeState& out) const = 0;
  virtual std::unique_ptr<Service> service() const { return nullptr; }
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
