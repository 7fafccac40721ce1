// The verbs of `knet bgp`: each group one file beside this. Only commands/bgp.cpp calls them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "commands/common/cluster.h"
#include "commands/common/flags.h"

namespace knet {

/// As typed; "" and empty lists: not given.
struct BgpConfigFlags {
  std::string mesh, asn, port, hold_time, restart_time, local_pref, prefix_limit, max_paths, password_file;
  std::vector<std::string> advertise, no_advertise, import, no_import;
  bool no_password = false, force = false, dry_run = false;
};

struct BgpPeerFlags {
  std::string remote, name, asn, node, selector, password_file, port, hold_time, next_hop, prefix_limit;
  std::vector<std::string> import, export_, names;
  bool ttl_security = false, multihop = false, passive = false, client = false;
  bool no_password = false, no_import = false, no_export = false, all_nodes = false, dry_run = false;
  /// Of the options that are flags: only what was given changes a peer.
  const CLI::Option *ttl_security_given = nullptr, *multihop_given = nullptr, *passive_given = nullptr,
                    *client_given = nullptr;
};

struct BgpFlags : CommonFlags {
  BgpConfigFlags config;
  BgpPeerFlags add, set;   // verbs have variables of their own
  std::vector<std::string> peers;  // names, of show and remove
  std::string peer;        // reset: address, name or "all"
  std::string soft;        // in, out
  std::string received, advertised, prefix, limit;
};

int bgp_config_show(const BgpFlags& flags);
int bgp_config_set(const BgpFlags& flags);

int bgp_peer_add(const BgpFlags& flags);
int bgp_peer_set(const BgpFlags& flags);
int bgp_peer_list(const BgpFlags& flags);
int bgp_peer_show(const BgpFlags& flags);
int bgp_peer_remove(const BgpFlags& flags);
std::vector<std::string> bgp_peer_names(const BgpFlags& flags);

/// Of the agent on this node.
int bgp_peer_reset(const BgpFlags& flags);
int bgp_sessions(const BgpFlags& flags);
int bgp_routes(const BgpFlags& flags);
/// An address typed, or that of the session which has this name; asks the agent for the latter. Throws Error{usage}.
std::string bgp_peer_address(const NodePaths& paths, std::string_view flag, const std::string& typed);
std::vector<std::string> bgp_session_names(const BgpFlags& flags);

}  // namespace knet
