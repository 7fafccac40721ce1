// How bgp's option Encap sends to nodes that are not reached plainly: by the device of the mode ipip or vxlan, which that
// mode makes (compose.h: carrier_of); here are only the routes over it, and vxlan's entries for the nodes. Pure.
#pragma once

#include <map>
#include <set>

#include "core/mode.h"

namespace knet {

/// The mode that Encap names; null: none.
const Mode* encap_of(const NetworkConfig& config);

class Encap {
 public:
  /// `config`: of the bgp mode. View and state must outlive it.
  Encap(const ClusterView& view, const NetworkConfig& config, ModeState& out);
  /// False: nothing is known by which that node could be reached so.
  bool add_route(const Prefix& dst, uint32_t peer);

 private:
  void find_vteps(const NetworkConfig& config);

  const ClusterView& view_;
  ModeState& out_;
  bool by_vxlan_ = false, to_address_ = false;
  DevName dev_[2];                    // by family
  std::map<uint32_t, Mac> vteps_[2];  // by lease
  std::set<uint32_t> used_[2];
};

}  // namespace knet
