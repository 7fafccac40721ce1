// What happens to each device while a plan is applied: the first step of diff(). Everything that hangs on a device asks
// here whether it can be made and whether what was seen of it survives. Pure; used by diff.cpp only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/plan.h"

namespace knet {

class Devices {
 public:
  struct Device {
    DevName name;
    bool here = true;  // stands before the plan, or will after its link stage
    bool up = true;
    bool ours = false;     // owned links only
    bool fresh = false;    // made anew by this plan: nothing seen on it survives
    bool set_up = false;   // was down: its IPv4 routes, nexthops and neighbours are gone
    bool mac_set = false;  // gets another MAC: its neighbours are gone
    bool leaves = false;   // removed at the end of the plan, and what hangs on it goes along
    std::string obstacle;  // why nothing can be made on it now: "eth0, which is not there"
    uint32_t waiting = 0;  // objects that wait for it
  };
  struct LinkOp {
    Op op;
    bool early;  // in the first stage, to make room
  };

  /// Decides every link of ours. `links_wanted`: Kind::link is among the kinds to plan.
  Devices(const DesiredState& desired, const Observed& observed, const Ownership& own, bool links_wanted);

  /// Null where nothing is known of the device: then it is taken to be there and up.
  Device* find(const DevName& name);
  /// False, counted as waiting, if nothing can be made on `name` now; `needs_up` for what a downed device can't hold.
  bool can_hold(const DevName& name, bool needs_up);
  std::vector<std::string> waiting() const;

  std::vector<LinkOp> ops;
  std::vector<Foreign> foreign;

 private:
  void decide(uint32_t want_index, const Link* seen, uint32_t seen_index);
  /// Clears the way for a new tunnel device; false if a foreign one stands in it.
  bool make_room(uint32_t want_index);

  const NetState& want_;
  const Observed& seen_;
  const Ownership& own_;
  bool plan_links_;
  bool whole_;                   // links were read whole: what is not there is missing
  bool read_;                    // links were read at all
  std::vector<Device> devices_;  // sorted by name
  std::vector<std::string> waiting_;
  Device* last_ = nullptr;  // thousands of objects in a row ask for one device
};

}  // namespace knet
