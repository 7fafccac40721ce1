// The Plane contract as tests, run against FakeKernel and LinuxPlane by their own TEST_CASEs: the fake may be trusted
// as far as this goes. A rig is one fresh network namespace, changed from outside as a person with iproute2 and nft
// would.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/plan.h"

namespace knet::test {

struct PlaneRig {
  virtual ~PlaneRig() = default;
  virtual Plane& plane() = 0;
  /// The plane shall read these sysctls from now on.
  virtual void watch(const NetState& desired) = 0;
  /// A NIC that is up and has carrier, with one more address.
  virtual void add_nic(const std::string& name, const std::string& address) = 0;
  virtual void remove_link(const std::string& name) = 0;
  virtual void set_up(const std::string& name, bool up) = 0;
  virtual void set_mac(const std::string& name, const std::string& mac) = 0;
  virtual void remove(const Address& address) = 0;
  virtual void remove(const Neighbor& neighbor) = 0;
  virtual void remove(const FdbEntry& entry) = 0;
  virtual void remove(const Nexthop& nexthop) = 0;
  virtual void remove(const Route& route) = 0;
  /// A foreign route: as given, with the route's own protocol.
  virtual void add(const Route& route) = 0;
  virtual void remove_table(const std::string& name) = 0;
  /// Somebody edits a rule in it.
  virtual void spoil_table(const std::string& name) = 0;
  /// A filter chain of somebody else's at the forward hook with policy drop.
  virtual void add_forward_drop(const ForeignChain& chain) = 0;
  /// A pod's veth of this MTU, as CNI makes it, and the object by which it is lowered to `wanted`.
  virtual PodMtu add_pod_link(const std::string& name, uint32_t mtu, uint32_t wanted) = 0;
  /// Whether devices of this kind can be made here.
  virtual bool makes(LinkType type) = 0;
};

/// The sections of one TEST_CASE; each makes a rig of its own.
void plane_contract(const std::function<std::unique_ptr<PlaneRig>()>& make_rig);

}  // namespace knet::test
