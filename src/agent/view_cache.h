// The last view of the cluster, kept in the state dir: after a reboot with the store away the node comes up from it. It
// is used to add, never to delete. A text file, one line per lease, with a checksum: what is damaged is no cache. Used
// by one thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/node.h"
#include "core/rollover.h"
#include "core/view.h"

namespace knet {

struct CachedView {
  std::string config_json;
  std::string node;  // whose it is: a state dir that was cloned to another name is no use
  Lease own;
  std::vector<Lease> peers;        // sorted by (subnet, subnet6)
  std::vector<std::string> names;  // of the peers
  bool no_pods = false;            // without a subnet of its own, and none is missing
  BgpView bgp;                     // `joined` too: peers that announced bgp while the mode in `peers` reached them
  Revision rev = 0;
  std::vector<ReceivedMode> received;  // by this node, of an earlier mode of the cluster
};

/// Of a view whose config was read from `config_json`. Passwords are in it: the file is its owner's.
std::string format_cached_view(const std::string& config_json, const ClusterView& view,
                               const std::vector<ReceivedMode>& received = {});
/// Nothing if it is of another version, cut short or damaged.
std::optional<CachedView> parse_cached_view(std::string_view text);

std::optional<CachedView> load_view_cache(const std::filesystem::path& path);
/// The modes that the agent of this node last said it goes on receiving, as far as the config still knows them; all
/// that the config knows, if nothing was kept.
std::vector<std::string> received_modes(const NodePaths& paths, const std::string& node, const NetworkConfig& config);
/// Atomic. Throws Error{kernel}.
void save_view_cache(const std::filesystem::path& path, const std::string& config_json, const ClusterView& view,
                     const std::vector<ReceivedMode>& received = {});

}  // namespace knet
