// A node's lease of a subnet, as it stands in the store under <prefix>/subnets/, byte for byte as flannel v0.28
// writes it, and its codec. Values only: no expiry, no clock, no Json tree.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"

namespace knet {

using Revision = int64_t;  // of the store; 0: none
using LeaseId = int64_t;   // of the store's TTL lease; 0: none (a reservation)

/// Backend data per family as raw compact JSON text ("" if absent); only the mode that is named reads it.
/// Example: {"VNI":1,"VtepMAC":"fe:0b:bb:72:15:3b"}.
struct BackendData {
  std::string v4;
  std::string v6;
  bool operator==(const BackendData&) const = default;
};

struct Lease {
  Prefix subnet;   // not set on an IPv6-only node
  Prefix subnet6;  // not set on an IPv4-only node
  IpAddr public_ip;
  IpAddr public_ip6;
  std::string mode;           // as announced, lower case
  bool mode_implied = false;  // the value has no BackendType (flannel's udp and alloc); `mode` is the config's
  BackendData data;
  LeaseId lease_id = 0;
  Revision rev = 0;  // mod revision

  bool same_content(const Lease& other) const;  // all but lease_id, rev and mode_implied
  /// No node is behind it: see placeholder().
  bool is_placeholder() const { return !public_ip && !public_ip6; }
};

/// "10.5.66.0-24", "10.6.85.0-24&2001:cafe:42:2f::-64", "0.0.0.0-0&2001:cafe:42:61::-64".
std::string format_subnet_key(const Prefix& subnet, const Prefix& subnet6);
/// The part of a key after "subnets/". Nothing if it isn't one (foreign or corrupt).
struct SubnetKey {
  Prefix subnet;
  Prefix subnet6;
};
std::optional<SubnetKey> parse_subnet_key(std::string_view key);

/// What stands at a reserved subnet's key while its node has no lease: PublicIP 0.0.0.0, PublicIPv6 null, BackendType
/// alloc, and no TTL. flanneld counts the key as taken and skips it as a peer, because its type is another than any
/// that routes.
Lease placeholder(const SubnetKey& key);

/// The value's exact bytes, keys in flannel's order; knet always writes BackendType.
std::string format_lease(const Lease& lease);
/// Throws Error{config} naming what is wrong ("BackendType is a number"); the caller adds the key.
/// `default_mode` is the config's type where that is udp, alloc, aws-vpc or gce, else "udp": used when BackendType is
/// absent (implied_mode() in config.h). Keys match case-insensitively, the last of two counts, as in Go. 0.0.0.0 is
/// read as no address: each subnet needs a node's address of its family, unless it is a placeholder().
Lease parse_lease(const SubnetKey& key, std::string_view value, std::string_view default_mode);

/// For people: "10.244.1.0/24" or "10.244.1.0/24 fd00:1::/64".
std::string subnets_text(const Lease& lease);

}  // namespace knet
