// Reads rtnetlink answers into core's values; shared by LinuxPlane::observe and CNI's check. Needs no privilege.
// Devices come as indexes: resolve them with a LinkIndex read in the same namespace.
#pragma once

#include <optional>
#include <vector>

#include "core/netstate.h"
#include "kernel/netlink.h"

namespace knet {

/// Index -> name (and mark) of a namespace's links.
class LinkIndex {
 public:
  struct Entry {
    int index = 0;
    DevName name;
    bool ours = false;
    LinkType type = LinkType::other;
  };
  explicit LinkIndex(const std::vector<Link>& links);
  /// Null if there is no such index.
  const Entry* find(int index) const;
  const std::vector<Entry>& all() const { return entries_; }  // by index

 private:
  std::vector<Entry> entries_;
};

/// A nexthop object of any owner.
struct NexthopEntry {
  uint32_t id = 0;
  int index = 0;  // of its device; 0 for a group or blackhole
  IpAddr via;
  uint8_t protocol = 0;
  bool onlink = false;
  bool group = false;
};

// Each reads one kind whole; false if the dump was interrupted or refused (`out` then holds what was seen).
bool read_links(NlSocket& socket, std::vector<Link>& out);
bool read_addresses(NlSocket& socket, const LinkIndex& links, std::vector<Address>& out, int only_index = 0);
/// Permanent neighbours of one device.
bool read_neighbors(NlSocket& socket, const LinkIndex::Entry& link, std::vector<Neighbor>& out);
bool read_fdb(NlSocket& socket, const LinkIndex::Entry& link, std::vector<FdbEntry>& out);
/// Sorted by id. True with nothing in `out` where the kernel has no nexthop objects.
bool read_nexthops(NlSocket& socket, std::vector<NexthopEntry>& out);
/// Main table, both families; `only_index` keeps those of one device. `nexthops` sorted by id.
bool read_routes(NlSocket& socket, const LinkIndex& links, const std::vector<NexthopEntry>& nexthops,
                 std::vector<Route>& out, int only_index = 0);
/// One route message; nothing where it is of a kind that knet never looks at.
std::optional<Route> parse_route(const nlmsghdr* message, const LinkIndex& links,
                                 const std::vector<NexthopEntry>& nexthops);

}  // namespace knet
