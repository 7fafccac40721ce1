// knet bgp peer add and set: from flags to a peer outside of the cluster.
#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "commands/bgp/bgp.h"
#include "commands/bgp/peer.h"
#include "commands/bgp/reach.h"
#include "commands/common/changes.h"
#include "commands/common/secrets.h"
#include "core/selector.h"

namespace knet {
namespace {

Prefix remote_of(const std::string& text) {
  const std::optional<IpAddr> address = IpAddr::parse(text);
  const std::optional<Prefix> prefix = address ? Prefix::host(*address) : Prefix::parse(text);
  if (!prefix) fail(ErrorKind::usage, "'{}' is no address and no prefix; give one such as 10.0.0.1, or 10.1.0.0/16 for dynamic neighbours", printable(text));
  if (!prefix->is_masked()) fail(ErrorKind::usage, "{} has host bits; the prefix is {}", prefix->str(), prefix->masked().str());
  const IpAddr& addr = prefix->addr();
  if (prefix->is_host() && (addr.is_unspecified() || addr.is_multicast()))
    fail(ErrorKind::usage, "{} is nobody's address", addr.str());
  if (addr.is_v6() && addr.is_link_local())
    fail(ErrorKind::usage, "{} is link-local: it says not on which link; give the peer's global or unique local address", addr.str());
  return *prefix;
}

uint16_t hold_time_of(const std::string& text) {
  const auto seconds = static_cast<uint16_t>(number_of("--hold-time", text, 0, UINT16_MAX));
  if (seconds == 1 || seconds == 2) fail(ErrorKind::usage, "--hold-time {}: 3 seconds are the least (RFC 4271); 0: the cluster's", seconds);
  return seconds;
}

std::vector<BgpRule> rules_of(const char* flag, const std::vector<std::string>& texts) {
  std::vector<BgpRule> rules;
  for (const std::string& text : texts) {
    try {
      rules.push_back(parse_bgp_rule(text));
    } catch (const Error& error) {
      throw with_context(error, fmt::format("{} '{}'", flag, printable(text)));
    }
  }
  return rules;
}

void apply_where(const BgpPeerFlags& flags, BgpPeerSpec& peer) {
  if (flags.all_nodes || !flags.node.empty() || !flags.selector.empty()) peer.node.clear(), peer.selector.clear();
  if (!flags.node.empty()) {
    check_node_name(flags.node);
    peer.node = flags.node;
  }
  if (flags.selector.empty()) return;
  try {
    peer.selector = Selector(flags.selector).str();
  } catch (const Error& error) {
    throw with_context(error, "--selector");
  }
}

/// `password`: as read from the file that was given.
void apply(const BgpPeerFlags& flags, const std::string& password, BgpPeerSpec& peer) {
  if (!flags.asn.empty()) peer.asn = flags.asn == "any" || flags.asn == "0" ? 0 : asn_of("--as", flags.asn);
  apply_where(flags, peer);
  if (flags.no_password) peer.password.clear();
  if (!flags.password_file.empty()) peer.password = password;
  if (flags.ttl_security_given->count() > 0) peer.ttl_security = flags.ttl_security;
  if (flags.multihop_given->count() > 0) peer.multihop = flags.multihop;
  if (flags.passive_given->count() > 0) peer.passive = flags.passive;
  if (flags.client_given->count() > 0) peer.client = flags.client;
  if (!flags.port.empty()) peer.port = static_cast<uint16_t>(number_of("--port", flags.port, 1, UINT16_MAX));
  if (!flags.hold_time.empty()) peer.hold_time = hold_time_of(flags.hold_time);
  if (!flags.next_hop.empty())
    peer.next_hop = flags.next_hop == "self" ? BgpNextHop::self : flags.next_hop == "keep" ? BgpNextHop::keep : BgpNextHop::automatic;
  if (flags.prefix_limit == "default") peer.prefix_limit.reset();
  else if (!flags.prefix_limit.empty()) peer.prefix_limit = static_cast<uint32_t>(number_of("--prefix-limit", flags.prefix_limit, 1, UINT32_MAX));
  if (flags.no_import || !flags.import.empty()) peer.import = rules_of("--import", flags.import);
  if (flags.no_export || !flags.export_.empty()) peer.export_ = rules_of("--export", flags.export_);
  if (peer.asn == 0 && peer.remote.is_host())
    fail(ErrorKind::usage, "--as any is for dynamic neighbours of a prefix only; give {}'s AS number", peer.remote.addr().str());
  if (peer.ttl_security && peer.multihop)
    fail(ErrorKind::usage, "ttl-security takes no packet that was routed, multihop expects routed ones: give one of them (--multihop=false takes it away)");
  if (!peer.remote.is_host() && !flags.port.empty()) fail(ErrorKind::usage, "--port is what is dialled; neighbours of {} are not, they dial", peer.remote.str());
}

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
  peer.remote = remote_of(given.remote);
  peer.name = given.name;
  if (peer.name.empty()) {
    peer.name = peer.remote.is_host() ? peer.remote.addr().str() : peer.remote.str();
    std::replace(peer.name.begin(), peer.name.end(), '/', '-');
  }
  check_bgp_peer_name(peer.name);
  apply(given, password, peer);
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
    apply(given, password, peer);
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
