// From flags to a peer outside of the cluster.
#include "base/text.h"
#include "commands/bgp/bgp.h"
#include "commands/bgp/peer.h"
#include "core/selector.h"

namespace knet {
namespace {

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

}  // namespace

Prefix bgp_remote_of(const std::string& text) {
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

void apply_bgp_peer(const BgpPeerFlags& flags, const std::string& password, BgpPeerSpec& peer) {
  if (!flags.asn.empty()) peer.asn = flags.asn == "any" || flags.asn == "0" ? 0 : asn_of("--as", flags.asn);
  apply_where(flags, peer);
  if (flags.no_password) peer.password.clear();
  if (!flags.password_file.empty()) peer.password = password;
  if (given(flags.ttl_security_given)) peer.ttl_security = flags.ttl_security;
  if (given(flags.multihop_given)) peer.multihop = flags.multihop;
  if (given(flags.passive_given)) peer.passive = flags.passive;
  if (given(flags.client_given)) peer.client = flags.client;
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

}  // namespace knet
