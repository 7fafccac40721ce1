// nf_tables rules as values: what the node's own table shall hold. src/kernel renders them to netlink
// (include/uapi/linux/netfilter/nf_tables.h). Each rule has a key of ours, kept in its userdata (comment).
// Drift is judged by digest, never by comparing dumps, handles or counters.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/ip.h"

namespace knet {

struct NftAddressIn {  // ip/ip6 saddr|daddr [!=] { prefixes }, all of one family
  bool source = true;
  bool negate = false;
  std::vector<Prefix> prefixes;
};
struct NftInterfaceIs {  // iifname|oifname [!=] "name"; a trailing '*' matches a beginning
  bool input = true;
  bool negate = false;
  std::string name;
};
struct NftMulticastDestination {  // daddr [!=] 224.0.0.0/4 or ff00::/8, by `family`
  bool negate = true;
  Family family = Family::v4;
};
struct NftMarkIs {  // meta mark & mask == value
  uint32_t mask = 0xffffffff;
  uint32_t value = 0;
};
struct NftProtocolIs {  // meta l4proto [!=] protocol
  uint8_t protocol = 0;
  bool negate = false;
};
struct NftUdpPortIs {  // udp dport; stands behind NftProtocolIs{17}
  uint16_t port = 0;
};
struct NftEstablished {};  // ct state established,related
struct NftCounter {};
struct NftAccept {};
struct NftDrop {};
struct NftReturn {};
struct NftMasquerade {
  bool fully_random = true;
};

using NftExpr = std::variant<NftAddressIn, NftInterfaceIs, NftMulticastDestination, NftMarkIs, NftProtocolIs,
                             NftUdpPortIs, NftEstablished, NftCounter, NftAccept, NftDrop, NftReturn, NftMasquerade>;

struct NftRule {
  std::string key;  // shown by `nft list` as the comment "knet:<key>"
  std::vector<NftExpr> exprs;
};

enum class NftHook : uint8_t { prerouting = 0, input = 1, forward = 2, output = 3, postrouting = 4 };

struct NftChain {
  std::string name;
  bool nat = false;     // type nat, else filter
  NftHook hook = NftHook::postrouting;
  int32_t priority = 0; // 100 is srcnat
  std::vector<NftRule> rules;
};

struct NftRuleset {
  std::vector<NftChain> chains;
};

/// Stable over processes and versions that render alike; never 0.
uint64_t digest(const NftRuleset& rules);

/// A base chain, or DOCKER-USER, of somebody else's in which an accept rule of ours may be needed.
struct ForeignChain {
  Family family = Family::v4;  // none: inet
  std::string table;           // "filter"
  std::string chain;           // "FORWARD" or "DOCKER-USER"
  auto operator<=>(const ForeignChain&) const = default;
};

}  // namespace knet
