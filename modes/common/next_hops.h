// How BGP's next hops are reached: at a node of the cluster, on link, by way of further learned routes, or by the host's
// own. Pure; asked once for each next hop, so that a full table costs no more than its next hops.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/mode.h"

namespace knet {

struct ResolvedHop {
  enum class How : uint8_t {
    plain,   // by `hop`
    tunnel,  // to the node `peer`
    none,    // `why`
  } how = How::none;
  RouteHop hop;
  uint32_t peer = Origin::kNoPeer;  // the node whose address it is, if it is one's
  std::string why;                  // "nothing leads to 10.9.9.9"
};

class NextHops {
 public:
  /// The view must outlive it. `encap`: nodes are reached by a tunnel; `direct`: but plainly where they are on link.
  NextHops(const ClusterView& view, bool encap, bool direct);
  const ResolvedHop& resolve(const IpAddr& next_hop);

 private:
  struct Way {
    DevName dev;
    IpAddr via;  // not set: on link
    uint32_t metric = 0;
    bool learned = false;
  };
  /// Prefixes by length, the longest first.
  using Table = std::map<int, std::map<Prefix, Way>, std::greater<>>;

  void add(const Prefix& dst, const Way& way);
  const std::pair<const Prefix, Way>* find(const IpAddr& address) const;
  ResolvedHop work_out(const IpAddr& next_hop) const;

  const ClusterView& view_;
  const bool encap_, direct_;
  std::map<IpAddr, uint32_t> nodes_;  // public address -> lease
  Table tables_[2];                   // by family
  std::map<IpAddr, ResolvedHop> known_;
};

}  // namespace knet
