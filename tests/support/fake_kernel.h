// A kernel's network namespace in memory: a Plane whose state cascades as Linux's does (what a removed link, a link set
// down, a removed address or nexthop takes along), and that refuses what Linux refuses. Tests read and change `net` by
// the functions below, as a person with iproute2 would; failures are injected by an object's text. One thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/plan.h"

namespace knet::test {

class FakeKernel : public Plane {
 public:
  Observed observe(Kinds kinds) override;
  std::vector<OpResult> apply(const Plan& plan) override;

  // As a person or another program would; each returns an errno, 0 if done.
  int add(Link link);
  int add(const Address& address);
  int add(const Neighbor& neighbor);
  int add(const FdbEntry& entry);
  int add(const WireguardPeer& peer);
  int add(const Filter& filter);
  int add(const TunnelPeer& peer);
  int add(const Shortcut& shortcut);
  int add(Nexthop nexthop);
  int add(const Route& route);
  int remove_link(const DevName& name);
  int set_up(const DevName& name, bool up);
  int set_mac(const DevName& name, const Mac& mac);
  int set_running(const DevName& name, bool running);
  int remove(const Address& address);
  int remove(const Neighbor& neighbor);
  int remove(const FdbEntry& entry);
  int remove(const WireguardPeer& peer);
  int remove(const Filter& filter);
  int remove(const TunnelPeer& peer);
  int remove(const Shortcut& shortcut);
  int remove(const Nexthop& nexthop);
  int remove(const Route& route);
  /// As `ip route del DST via GATEWAY` does with one next hop of several, IPv6 only.
  int remove_hop(const Route& route, const RouteHop& hop);
  int remove_table(const std::string& name);
  /// Somebody else edits a table of ours: it no longer is what it was made from.
  void spoil_table(const std::string& name);
  void set_sysctl(const std::string& path, const std::string& value);
  void add_forward_drop(const ForeignChain& chain);

  /// A NIC that is up, with its address and connected route: what a host has before knet comes.
  void add_nic(const char* name, const char* address);
  /// A pod's veth, as CNI makes it.
  void add_pod_link(const DevName& name, uint32_t mtu = 1500);
  /// The filter's program is no longer ours, or not what it was made from.
  void spoil_filter(const Filter::Key& key);
  /// Its program is another knet's.
  void spoil_shortcut(const DevName& device);
  /// Somebody's filters stand on the device's ingress.
  void hinder_shortcut(const DevName& device);

  /// The next `times` ops whose object's describe() contains `text` fail (times < 0: all).
  void fail(std::string text, int error, int times = -1);
  void heal() { failures_.clear(); }
  /// From now on observe() gives only the first half of this kind, and does not call it complete.
  void cut_short(Kind kind) { cut_short_.insert(kind); }

  const NetState& net() const { return net_; }
  /// Ops done or tried, as text: "create route ...: done", "...: File exists".
  const std::vector<std::string>& log() const { return log_; }
  void forget_log() { log_.clear(); }

 private:
  struct Injection {
    std::string text;
    int error;
    int times;
  };
  template <typename T>
  int do_op(const Plan& plan, const Op& op);
  int replace(const Link& link);
  int replace(const Address& address);
  int replace(const Neighbor& neighbor);
  int replace(const WireguardPeer& peer);
  int replace(const Filter& filter);
  int replace(const TunnelPeer& peer);
  int replace(const Shortcut& shortcut);
  int add(const PodMtu& pod);
  int replace(const PodMtu& pod);
  int remove(const PodMtu& pod);
  void lose_tunnel_maps();
  int can_filter(const Filter& filter) const;
  int replace(const FdbEntry& entry);
  int replace(const Nexthop& nexthop);
  int replace(const Route& route);
  int add(const Sysctl& sysctl);
  int replace(const Sysctl& sysctl) { return add(sysctl); }
  int add(const ForwardAccept& rule);
  int replace(const ForwardAccept& rule) { return add(rule); }
  int add(NftTable table);
  int replace(NftTable table);
  int remove(const Link& link) { return remove_link(link.name); }
  int remove(const Sysctl&);
  int remove(const ForwardAccept& rule);
  int remove(const NftTable& table) { return remove_table(table.name); }

  Link* link(const DevName& name);
  int can_route(const DevName& dev, const IpAddr& via, bool onlink);
  int can_route(const Route& route);
  bool hop_dead(const DevName& dev, Family family) const;
  void lose_hops(const DevName& dev);
  bool elsewhere(const DevName& dev, const IpAddr& via) const;
  void lose_routes(const DevName& dev, Family family);
  void lose_nexthops(const DevName& dev, Family family);

  NetState net_;
  std::vector<ForeignChain> forward_drops_;
  std::vector<Injection> failures_;
  std::set<Kind> cut_short_;
  std::set<DevName> hindered_;
  std::vector<std::string> log_;
  int next_index_ = 1;
  uint32_t next_id_ = 1;
};

}  // namespace knet::test
