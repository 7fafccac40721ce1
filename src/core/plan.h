// diff(): what has to be done to make the observed state the desired one, as a Plan of ordered stages. Pure.
// diff(d, after(apply(diff(d, o)))) is empty: a property test over FakeKernel, which cascades as the kernel does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/netstate.h"
#include "core/ownership.h"

namespace knet {

/// create: the key must be free (EXCL). replace: ours is there, or was a moment ago: create it or take its place.
enum class Verb : uint8_t { create, replace, remove };
enum class Why : uint8_t {
  missing,    // wanted, not there
  differs,    // there and ours, with other attributes
  recreate,   // a recreate-only attribute of this link, or of the link it hangs on, differs
  unwanted,   // ours, not wanted any more
};
std::string_view to_string(Verb verb);
std::string_view to_string(Why why);

/// One object of a plan: desired[index] for create and replace, observed[index] for remove.
struct ObjectRef {
  Kind kind;
  bool observed;
  uint32_t index;
};

struct Op {
  Verb verb;
  Why why;
  ObjectRef object;
};

/// Ops of one stage do not depend on each other and may go in one batch.
struct Stage {
  std::string_view name;  // "links", "routes", "remove routes"; static text
  std::vector<Op> ops;
};

/// A foreign object at a key that we want: an error that names it, never overwritten.
struct Foreign {
  ObjectRef wanted;
  std::string text;  // describe() of the foreign object, with its protocol
};

/// Refers to the two states that it was made from; they must outlive it.
struct Plan {
  const NetState* desired = nullptr;
  const NetState* observed = nullptr;
  std::vector<Stage> stages;
  std::vector<Foreign> foreign;
  /// Wanted, but not possible now, one line for each device: "knet.1 waits for eth0, which is not there". No op is
  /// planned for these, so that nobody retries what can't succeed; the device's return is a link event.
  std::vector<std::string> waiting;

  bool empty() const { return stages.empty(); }
  size_t size() const;
};

/// A tunnel as userspace sees it: the TUN device's other side. With a fast path the kernel carries what it can, and
/// passes on only what needs an answer or is out of the ordinary (no such peer, fragments, IP options, too big).
struct TunnelPump {
  DevName dev;
  TunnelWire wire = TunnelWire::udp;
  uint16_t port = 0;
  IpAddr local, local6;           // outer addresses to bind to; unset where the family is off
  bool fast_path = false;         // BPF filters stand for it in net.filters
  uint32_t underlay_mtu = 0;      // bytes, of the smaller uplink
  std::vector<TunnelPeer> peers;  // sorted by inner prefix
  uint16_t producer = 0;          // into DesiredState::producers
};

struct DesiredState {
  NetState net;
  std::vector<TunnelPump> pumps;       // what the modes' services carry; not the plane's
  std::vector<std::pair<NftHook, NftRule>> mode_rules;  // compose makes them part of table knet
  Kinds hold;                          // kinds of which nothing is removed now as unwanted: more is still to be learned
  std::vector<std::string> producers;  // Origin::producer
  std::vector<std::string> peers;      // Origin::peer: name or address of the peer's node, for people
  std::vector<std::string> notices;    // "n3 192.168.78.3 is not on link: host-gw can't reach it"
  std::vector<std::string> blockers;   // why this node can't be ready: "net.ipv4.conf.all.rp_filter is 1 and ..."
  std::vector<uint16_t> blocked;       // the modes among the producers that said so
};

/// Stages: links that must go for recreation, pods' MTUs, links, sysctls, addresses, filters, neighbours, fdb and
/// tunnel peers, nexthops, routes, forward accepts, nft; then deletes in reverse. Where a link is to be recreated, absent or down, its dependants
/// are taken as absent, so that one plan converges. What goes with a removed link has no remove op of its own. A
/// wanted vxlan link whose VNI and port another one holds: flannel's is removed first (adoption), else it is foreign.
/// The sysctls that are wanted must be among those that were looked for (LinuxPlane::expect()).
/// Routes over a pod's link are made and mended, never removed: they go with the link, which is CNI's. A kind that is not in observed.complete gets creates and replaces
/// only if it was read at all (its vector is then partial): never deletes. Of the kinds in desired.hold nothing is removed as
/// unwanted; what must go for another to be made still does. Kinds outside `kinds` are left out.
Plan diff(const DesiredState& desired, const Observed& observed, const Ownership& own, Kinds kinds = all_kinds());

/// One line per op: "create route 10.244.2.0/24 via ... (missing)". For --dry-run and logs.
std::vector<std::string> describe(const Plan& plan);
std::string describe(const Plan& plan, const Op& op);
std::string describe(const Plan& plan, const ObjectRef& object);

struct OpResult {
  uint32_t stage;
  uint32_t op;
  int error;           // errno; 0 fine; ECANCELED skipped because what it depends on failed
  std::string reason;  // extended ack or our words; empty when fine
};

/// The kernel; later a cloud's route table. One thread at a time.
class Plane {
 public:
  virtual ~Plane() = default;
  virtual Observed observe(Kinds kinds) = 0;
  /// Does every op; a failed one marks its dependants skipped and never stops the others. Returns failures only.
  virtual std::vector<OpResult> apply(const Plan& plan) = 0;
};

}  // namespace knet
