// The kernel of the current network namespace as a Plane: observe() dumps, apply() sends batches. One thread at a time;
// it stays in the namespace in which it was made (sockets are opened in the constructor); only sysctls are those of the
// calling thread's namespace. It never runs a program.
#pragma once

#include <memory>
#include <optional>

#include "core/mode.h"
#include "core/plan.h"
#include "core/uplink.h"

namespace knet {

class LinuxPlane : public Plane {
 public:
  LinuxPlane();
  ~LinuxPlane() override;

  /// A kind whose dump was cut short (NLM_F_DUMP_INTR, retried a few times) or refused is not in `complete`.
  /// Reads links with their attributes; addresses of all links; the sysctls named by expect(); permanent
  /// neighbours and fdb entries of our own links only; nexthops with our protocol; routes of the main table (IPv4/IPv6
  /// unicast and blackhole kinds, protocol kernel included); forward accepts and foreign forward drops; our nft tables.
  Observed observe(Kinds kinds) override;
  std::vector<OpResult> apply(const Plan& plan) override;

  /// What is going to be compared: sysctls that observe() shall read besides those known from earlier plans, and
  /// wireguard peers that another process may have set before.
  void expect(const NetState& desired);
  /// Port ids (nlmsg_pid) of the request sockets: the monitor ignores notifications that we caused.
  std::vector<uint32_t> own_ports() const;

  /// What the kernel would do with a packet (RTM_GETROUTE). Nothing: no route.
  struct RouteAnswer {
    DevName dev;
    IpAddr via;
    IpAddr src;
    uint32_t mtu = 0;
    RouteType type = RouteType::unicast;
    uint8_t protocol = 0;
    Prefix dst;  // the matching prefix (RTM_F_FIB_MATCH) where the kernel tells it
  };
  std::optional<RouteAnswer> route_to(const IpAddr& dst, const IpAddr& src = {}, const DevName& in = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Probes without changing anything that stays (a scratch network namespace where it needs to make devices).
/// quick: without what takes 10 ms and more and is no condition for anything (KernelFeatures::shortcut).
enum class Probe : uint8_t { quick, whole };
KernelFeatures probe_kernel(Probe probe = Probe::whole);

/// Whether this process may change the network of its namespace (CAP_NET_ADMIN, capabilities(7)).
bool may_change_network();

}  // namespace knet
