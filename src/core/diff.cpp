// diff(): the devices first (devices.h), then one walk over the two sorted vectors of each kind.
#include <algorithm>
#include <array>
#include <string>

#include "base/text.h"
#include "core/devices.h"
#include "core/plan.h"

namespace knet {

namespace {

enum Slot : size_t {
  kMakeRoom,
  kPodMtus,  // before anything that could send a pod's packets another way
  kLinks,
  kSysctls,  // before addresses: an IPv6 one needs disable_ipv6=0
  kAddresses,
  kFilters,
  kNeighbors,
  kNexthops,
  kRoutes,
  kForwardAccepts,
  kNftTables,
  kShortcuts,  // when everything that they go by stands
  kDropShortcuts,
  kDropNftTables,
  kDropForwardAccepts,
  kDropRoutes,
  kDropNexthops,
  kDropNeighbors,
  kDropFilters,
  kDropAddresses,
  kDropLinks,
  kSlots
};

constexpr std::array<std::string_view, kSlots> kSlotNames = {"remove links for recreation",
                                                             "pods' MTUs",
                                                             "links",
                                                             "sysctls",
                                                             "addresses",
                                                             "filters",
                                                             "peers",
                                                             "nexthops",
                                                             "routes",
                                                             "forward accepts",
                                                             "nft tables",
                                                             "shortcuts",
                                                             "remove shortcuts",
                                                             "remove nft tables",
                                                             "remove forward accepts",
                                                             "remove routes",
                                                             "remove nexthops",
                                                             "remove peers",
                                                             "remove filters",
                                                             "remove addresses",
                                                             "remove links"};

/// What was seen of an object, once it is known what happens to its device.
enum class Fate : uint8_t {
  stays,
  reduced,   // a multipath route that has lost some of its next hops, or is about to: still there, not as it was
  doubtful,  // its device lost it, or is about to: written over where wanted, else left to the next scan
  gone,
};

class Diff {
 public:
  Diff(const DesiredState& desired, const Observed& observed, const Ownership& own, Kinds kinds)
      : want_(desired.net),
        hold_(desired.hold),
        seen_(observed),
        own_(own),
        kinds_(kinds),
        devices_(desired, observed, own, kinds.test(static_cast<size_t>(Kind::link))) {
    plan_.desired = &desired.net;
    plan_.observed = &observed.net;
  }

  Plan run() {
    for (const Devices::LinkOp& link : devices_.ops) {
      const bool drop = link.op.verb == Verb::remove;
      slots_[link.early ? kMakeRoom : drop ? kDropLinks : kLinks].push_back(link.op);
    }
    plan_.foreign = devices_.foreign;
    static_assert(kKinds == 14, "a new kind is walked here, or nothing is ever planned for it");
    walk<Sysctl>(kSysctls, kSlots);
    walk<Address>(kAddresses, kDropAddresses);
    walk<Neighbor>(kNeighbors, kDropNeighbors);
    walk<FdbEntry>(kNeighbors, kDropNeighbors);
    walk<WireguardPeer>(kNeighbors, kDropNeighbors);
    walk<Filter>(kFilters, kDropFilters);
    walk<TunnelPeer>(kNeighbors, kDropNeighbors);
    walk<PodMtu>(kPodMtus, kSlots);
    walk<Nexthop>(kNexthops, kDropNexthops);
    walk<Route>(kRoutes, kDropRoutes);
    walk<ForwardAccept>(kForwardAccepts, kDropForwardAccepts);
    walk<NftTable>(kNftTables, kDropNftTables);
    walk<Shortcut>(kShortcuts, kDropShortcuts);
    for (size_t slot = 0; slot < kSlots; ++slot)
      if (!slots_[slot].empty()) plan_.stages.push_back({kSlotNames[slot], std::move(slots_[slot])});
    plan_.waiting = devices_.waiting();
    return std::move(plan_);
  }

 private:
  template <typename T>
  bool whole() const {
    return seen_.complete.test(static_cast<size_t>(T::kKind));
  }
  template <typename T>
  bool read() const {
    return whole<T>() || !seen_.net.of<T>().empty();
  }

  // Whether an observed object is ours.
  template <typename T>
  bool owns(const T& seen) const {
    if constexpr (requires { own_.owns(seen, seen_.net); })
      return own_.owns(seen, seen_.net);
    else
      return own_.owns(seen);
  }
  bool owns(const Sysctl&) const { return true; }
  bool owns(const PodMtu&) const { return true; }

  // Whether ours, not wanted any more, is to be removed. What hangs on a link that goes needs no op.
  template <typename T>
  bool removable(const T& seen) {
    if constexpr (std::is_same_v<T, Route>) {
      if (goes_along(seen)) return false;
    } else if constexpr (requires { seen.dev; }) {
      if (leaves(seen.dev)) return false;
    }
    if constexpr (std::is_same_v<T, Route>)
      if (Ownership::is_pod_link(seen.dev.view()) && seen.dst.is_host()) return false;
    if constexpr (std::is_same_v<T, Shortcut>)
      if (seen.hindered) return false;
    return owns(seen);
  }

  bool leaves(const DevName& dev) {
    const Devices::Device* device = dev ? devices_.find(dev) : nullptr;
    return device != nullptr && device->leaves;
  }
  // An IPv4 route goes with any of its devices (fib_sync_down_dev, net/ipv4/fib_semantics.c), an IPv6 one with the last.
  bool goes_along(const Route& seen) {
    if (seen.dst.is_v4()) return seen.any_dev([&](const DevName& dev) { return leaves(dev); });
    return !seen.any_dev([&](const DevName& dev) { return !leaves(dev); });
  }

  static constexpr bool differs(const Address&, const Address&) { return false; }
  static bool differs(const Sysctl& want, const Sysctl& seen) {
    const std::string_view value = trim(seen.value);
    return value != want.value && (want.also.empty() || value != want.also);
  }
  static bool differs(const Neighbor& want, const Neighbor& seen) { return want.mac != seen.mac; }
  static bool differs(const FdbEntry& want, const FdbEntry& seen) { return want.dst != seen.dst; }
  static bool differs(const WireguardPeer& want, const WireguardPeer& seen) {
    return want.allowed != seen.allowed || want.keepalive != seen.keepalive ||
           want.preshared_key != seen.preshared_key ||
           (want.endpoint && !seen.roamed && (want.endpoint != seen.endpoint || want.port != seen.port));
  }
  static bool differs(const Filter& want, const Filter& seen) { return want.digest != seen.digest; }
  static bool differs(const TunnelPeer& want, const TunnelPeer& seen) {
    return want.outer != seen.outer || want.port != seen.port || want.by_user != seen.by_user;
  }
  static bool differs(const Shortcut&, const Shortcut& seen) { return !seen.intact && !seen.hindered; }
  static bool differs(const PodMtu& want, const PodMtu& seen) { return seen.mtu > want.mtu; }
  static bool differs(const Nexthop& want, const Nexthop& seen) { return want.onlink != seen.onlink; }
  static bool differs(const Route& want, const Route& seen) {
    return want.type != seen.type || want.protocol != seen.protocol || seen.multipath || want.dev != seen.dev ||
           want.via != seen.via || want.others != seen.others || want.src != seen.src || want.mtu != seen.mtu || want.by_nexthop != seen.by_nexthop ||
           (!want.by_nexthop && want.onlink != seen.onlink);
  }
  static constexpr bool differs(const ForwardAccept&, const ForwardAccept&) { return false; }
  static bool differs(const NftTable& want, const NftTable& seen) {
    return seen.digest == 0 || want.digest != seen.digest;
  }

  template <typename T>
  Fate fate(const T& seen) {
    if constexpr (requires { seen.dev; }) return fate_on<T>(seen.dev);
    return Fate::stays;
  }
  template <typename T>
  Fate fate_on(const DevName& dev) {
    const Devices::Device* device = dev ? devices_.find(dev) : nullptr;
    if (device == nullptr) return Fate::stays;
    if (device->fresh || !device->here) return Fate::gone;
    constexpr bool lost_when_down =
        std::is_same_v<T, Neighbor> || std::is_same_v<T, Nexthop> || std::is_same_v<T, Route>;
    if (lost_when_down && device->set_up) return Fate::doubtful;
    if (std::is_same_v<T, Neighbor> && device->mac_set) return Fate::doubtful;
    return Fate::stays;
  }
  // The next hops over a device that was down are dead, but there: only the last one takes the route along. So it is in
  // IPv6 with those of a device that is removed; in IPv4 any takes the whole route (fib_sync_down_dev, fib6_ifdown).
  Fate fate_of_hops(const Route& seen) {
    Fate best = Fate::gone, worst = Fate::stays;
    seen.any_dev([&](const DevName& dev) {
      const Fate one = fate_on<Route>(dev);
      best = std::min(best, one);
      worst = std::max(worst, one);
      return false;
    });
    if (worst == Fate::gone && seen.dst.is_v4()) return Fate::gone;
    if (best == worst) return best;
    return best == Fate::stays ? Fate::reduced : Fate::doubtful;
  }
  // A tunnel's map lives in its filters: those on devices that stay carry it over to a tunnel that is made anew.
  Fate fate(const TunnelPeer& seen) {
    const Fate by_device = fate<TunnelPeer>(seen);
    if (by_device != Fate::gone) return by_device;
    const auto& filters = seen_.net.filters;
    const bool held = std::any_of(filters.begin(), filters.end(), [&](const Filter& filter) {
      return filter.tunnel == seen.dev && filter.dev != seen.dev && fate<Filter>(filter) == Fate::stays;
    });
    return held ? Fate::stays : Fate::gone;
  }
  // The index of its tunnel's device is burnt into a filter.
  bool outdated(const Filter& seen) {
    const Devices::Device* tunnel = devices_.find(seen.tunnel);
    return tunnel != nullptr && tunnel->fresh;
  }
  template <typename T>
  bool outdated(const T&) {
    return false;
  }
  Fate fate(const Route& seen) {
    const Fate by_device = seen.others.empty() ? fate_on<Route>(seen.dev) : fate_of_hops(seen);
    if (by_device != Fate::stays || !seen.by_nexthop || !whole<Nexthop>()) return by_device;
    const auto& nexthops = seen_.net.nexthops;
    const Nexthop::Key key{seen.dev, seen.via};
    const auto it = std::lower_bound(nexthops.begin(), nexthops.end(), key,
                                     [](const Nexthop& nexthop, const Nexthop::Key& k) { return nexthop.key() < k; });
    return it != nexthops.end() && it->key() == key ? Fate::stays : Fate::doubtful;
  }

  // A sysctl that was seen is a path and a value; the wanted one knows its device.
  static const Sysctl& bearer(const Sysctl& want, const Sysctl&) { return want; }
  template <typename T>
  static const T& bearer(const T&, const T& seen) {
    return seen;
  }
  template <typename T>
  Fate fate_of(const T& want, const T& seen) {
    return fate(bearer(want, seen));
  }

  template <typename T>
  bool possible(const T& want) {
    constexpr bool needs_up = std::is_same_v<T, Nexthop> || std::is_same_v<T, Route>;
    if constexpr (std::is_same_v<T, Filter>)  // on another's device, it must not lead into one of a stranger either
      if (want.tunnel != want.dev && !devices_.can_hold(want.tunnel, false)) return false;
    if constexpr (std::is_same_v<T, Route>)
      return !want.any_dev([&](const DevName& dev) { return !devices_.can_hold(dev, needs_up); });
    else if constexpr (requires { want.dev; })
      return devices_.can_hold(want.dev, needs_up);
    else
      return true;
  }

  template <typename T>
  void missing(const T& want, uint32_t index, Slot slot) {
    if constexpr (std::is_same_v<T, PodMtu>) return;  // no such pod any more
    Why why = Why::missing;
    if constexpr (requires { want.dev; }) {
      const Devices::Device* device = want.dev ? devices_.find(want.dev) : nullptr;
      if constexpr (std::is_same_v<T, Sysctl>) {
        // Its path comes into being with its device; any other optional one was looked for in vain.
        if (want.optional && (device == nullptr || !device->fresh)) return;
      }
      if (device != nullptr && device->fresh && device->ours) why = Why::recreate;
    }
    if constexpr (std::is_same_v<T, Route>)
      for (const RouteHop& hop : want.others)
        if (const Devices::Device* device = devices_.find(hop.dev); device != nullptr && device->fresh && device->ours)
          why = Why::recreate;
    if (possible(want)) slots_[slot].push_back({Verb::create, why, {T::kKind, false, index}});
  }

  // One wanted object against everything seen at its key.
  template <typename T>
  void meet(uint32_t index, size_t from, size_t to, Slot slot, Slot drop) {
    const T& want = want_.of<T>()[index];
    const auto& seen = seen_.net.of<T>();
    size_t kept = to;   // ours, and as wanted
    size_t stale = to;  // ours, to be written over
    size_t stranger = to;
    for (size_t j = from; j < to; ++j) {
      const Fate what = fate_of(want, seen[j]);
      if (what == Fate::gone) continue;
      if (!owns(seen[j]))
        stranger = std::min(stranger, j);
      else if (kept == to && what == Fate::stays && !differs(want, seen[j]) && !outdated(seen[j]))
        kept = j;
      else
        stale = std::min(stale, j);
    }
    // Nexthop objects of others may stand beside ours.
    if (std::is_same_v<T, Nexthop>) stranger = to;
    if (kept == to && stranger != to) {
      plan_.foreign.push_back({{T::kKind, false, index}, describe(seen[stranger])});
      return;
    }
    if (kept == to && stale == to) return missing(want, index, slot);
    if (kept == to) {
      kept = stale;
      if (possible(want)) slots_[slot].push_back({Verb::replace, Why::differs, {T::kKind, false, index}});
    }
    for (size_t j = from; j < to; ++j)
      if (j != kept) unwanted<T>(static_cast<uint32_t>(j), drop);
  }

  template <typename T>
  void unwanted(uint32_t index, Slot drop) {
    if (drop == kSlots || !whole<T>() || hold_.test(static_cast<size_t>(T::kKind))) return;
    const T& seen = seen_.net.of<T>()[index];
    if (fate(seen) <= Fate::reduced && removable(seen))
      slots_[drop].push_back({Verb::remove, Why::unwanted, {T::kKind, true, index}});
  }

  template <typename T>
  void walk(Slot slot, Slot drop) {
    if (!kinds_.test(static_cast<size_t>(T::kKind)) || !read<T>()) return;
    const auto& want = want_.of<T>();
    const auto& seen = seen_.net.of<T>();
    size_t j = 0;
    for (uint32_t i = 0; i < want.size(); ++i) {
      const auto& key = want[i].key();
      for (; j < seen.size() && seen[j].key() < key; ++j) unwanted<T>(static_cast<uint32_t>(j), drop);
      size_t end = j;
      while (end < seen.size() && seen[end].key() == key) ++end;
      meet<T>(i, j, end, slot, drop);
      j = end;
    }
    for (; j < seen.size(); ++j) unwanted<T>(static_cast<uint32_t>(j), drop);
  }

  const NetState& want_;
  const Kinds hold_;
  const Observed& seen_;
  const Ownership& own_;
  Kinds kinds_;
  Devices devices_;
  Plan plan_;
  std::array<std::vector<Op>, kSlots> slots_;
};

}  // namespace

Plan diff(const DesiredState& desired, const Observed& observed, const Ownership& own, Kinds kinds) {
  return Diff(desired, observed, own, kinds).run();
}

}  // namespace knet
