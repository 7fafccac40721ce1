// knet bgp peer add and set: from flags to a peer outside of the cluster.
#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "commands/bgp/bgp.h"
#include "commands/bgp/peer.h"
#include "commands/bgp/reach.h"
#include "commands/common/changes.h"
#include "commands/common/secrets.h"

namespace knet {
namespace {

/// What must hold between this peer and the cluster, and what is worth a word.
void check_against(OpenCluster& open, const BgpPeerSpec& peer, Changes& changes) {
  const BgpConfig config = open.cluster.load_bgp_config();
  const NodeTable nodes = open.cluster.list_nodes(open.config.mode, false);
  const std::vector<NodeSpec> specs = open.cluster.list_node_specs().rows;
  for (const NodeRow& row : nodes.rows)
    for (const LeaseRow& lease : row.leases)
      if (peer.remote == Prefix::host(lease.lease.public_ip) || peer.remote == Prefix::host(lease.lease.public_ip6))
        fail(ErrorKind::conflict, "{} is node {}: the cluster's nodes are peers by the mesh or by reflectors, without this", peer.remote.addr().str(), row.name);
  const std::vector<std::string> present = present_nodes(nodes);
  bool internal = peer.asn == config.asn, reflector = false;
  size_t served = 0;
  for (const std::string& name : present) {
    const NodeSpec spec = spec_of(specs, name);
    if (!applies_to(peer, spec)) continue;
    ++served;
    internal |= peer.asn == spec.asn.value_or(config.asn);
    reflector |= spec.reflector.has_value();
  }
  if (peer.client && peer.asn != 0 && !internal)
    fail(ErrorKind::usage, "--client is for peers in the nodes' own AS ({}): routes are reflected within an AS; {} is in AS {}", config.asn, peer.name, peer.asn);
  if (peer.client && !reflector && served > 0)
    changes.notices.push_back("none of its nodes is a reflector yet; make one with knet node set NODE --reflector 1.0.0.1");
  if (!peer.node.empty() && std::find(present.begin(), present.end(), peer.node) == present.end()) {
    const auto near = nearest(peer.node, present);
    changes.notices.push_back(fmt::format("there is no node {} yet{}", peer.node, near ? fmt::format("; did you mean {}?", *near) : ""));
  } else if (served == 0 && !present.empty()) {
    changes.notices.push_back(fmt::format("no node matches {} yet; labels are set with knet node set NODE --label KEY=VALUE", peer.selector));
  }
  if (open.config.mode != "bgp")
    changes.notices.push_back(fmt::format("the cluster's mode is {}: this counts once it is bgp (knet mode set bgp)", open.config.mode));
}

void compare(const BgpPeerSpec& from, const BgpPeerSpec& to, Changes& changes) {
  const std::vector<BgpPeerRow> before = bgp_peer_rows(from), after = bgp_peer_rows(to);
  for (size_t i = 0; i < before.size(); ++i) changes.put(before[i].name, before[i].value, after[i].value);
  if (from.password != to.password && !from.password.empty() && !to.password.empty()) changes.put_secret("password", from.password, to.password);
  for (const char* what : {"as", "port", "hold-time", "password", "ttl-security", "multihop", "passive"})
    if (changes.has(what)) {
      changes.notices.push_back(fmt::format("{}: the session with {} is reset", what, to.name));
      break;
    }
}

}  // namespace

int bgp_peer_add(const BgpFlags& flags) {
  const BgpPeerFlags& given = flags.add;
  Changes changes;
  const std::string password = given.password_file.empty() ? "" : read_password_file("--password-file", given.password_file, changes.notices);
  BgpPeerSpec peer;
  peer.remote = bgp_remote_of(given.remote);
  peer.name = given.name;
  if (peer.name.empty()) {
    peer.name = peer.remote.is_host() ? peer.remote.addr().str() : peer.remote.str();
    std::replace(peer.name.begin(), peer.name.end(), '/', '-');
  }
  check_bgp_peer_name(peer.name);
  apply_bgp_peer(given, password, peer);
  OpenCluster open(flags.store_options());
  check_against(open, peer, changes);
  for (const BgpPeerRow& row : bgp_peer_rows(peer))
    if (!row.usual) changes.put(row.name, "", row.value);
  bool taken = false;
  for (const BgpPeerSpec& other : open.cluster.list_bgp_peers().rows) {
    taken |= other.name == peer.name;
    if (other.name != peer.name && other.remote == peer.remote && other.node == peer.node && other.selector == peer.selector)
      fail(ErrorKind::conflict, "{} is the peer {} of the same nodes already; change it with: knet bgp peer set {}", peer.remote.str(), other.name, other.name);
  }
  if (taken || (!given.dry_run && !open.cluster.create_bgp_peer(peer)))
    fail(ErrorKind::conflict, "there is a peer {} already; change it with knet bgp peer set {}, or give this one another --name", peer.name, peer.name);
  if (!given.dry_run) changes.next = "knet bgp peers, on its nodes";
  return changes.report("peer " + peer.name, open.store->where() + " " + open.cluster.paths().bgp_peer(peer.name), given.dry_run, flags.output.json());
}

int bgp_peer_set(const BgpFlags& flags) {
  const BgpPeerFlags& given = flags.set;
  std::vector<std::string> notices;
  const std::string password = given.password_file.empty() ? "" : read_password_file("--password-file", given.password_file, notices);
  OpenCluster open(flags.store_options());
  const BgpPeerSpec found = find_bgp_peer(open.cluster, given.name);
  Changes changes;
  const auto change = [&](BgpPeerSpec& peer) {
    const BgpPeerSpec before = peer;
    apply_bgp_peer(given, password, peer);
    changes = {};  // a lost race begins again
    changes.notices = notices;
    compare(before, peer, changes);
    if (!changes.empty()) check_against(open, peer, changes);
  };
  if (given.dry_run) {
    BgpPeerSpec peer = found;
    change(peer);
  } else if (!open.cluster.update_bgp_peer(found.name, change)) {
    fail(ErrorKind::conflict, "{} was just removed by somebody else", found.name);
  }
  return changes.report("peer " + found.name, open.store->where() + " " + open.cluster.paths().bgp_peer(found.name), given.dry_run, flags.output.json());
}

}  // namespace knet
