// Path attributes of BGP routes as values (RFC 4271 section 5, RFC 4760, RFC 6793), and the table that holds each
// distinct set once: routes refer to it, so that comparing two sets is comparing two pointers. One thread; no I/O.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/ip.h"

namespace knet::bgp {

using Asn = uint32_t;       // four octets (RFC 6793); 23456 stands for it towards two-octet peers
using RouterId = uint32_t;  // host byte order, never 0

enum class OriginCode : uint8_t { igp = 0, egp = 1, incomplete = 2 };

struct AsSegment {
  enum class Type : uint8_t { set = 1, sequence = 2, confed_sequence = 3, confed_set = 4 };
  Type type = Type::sequence;
  std::vector<Asn> asns;  // 1 to 255
  auto operator<=>(const AsSegment&) const = default;
};

/// Hops for the decision process: a set counts 1, confederation segments 0 (RFC 4271 9.1.2.2 a, RFC 5065 5.3).
int path_length(const std::vector<AsSegment>& path);

struct LargeCommunity {  // RFC 8092
  uint32_t global = 0, local1 = 0, local2 = 0;
  auto operator<=>(const LargeCommunity&) const = default;
};

struct Aggregator {
  Asn asn = 0;
  RouterId id = 0;
  auto operator<=>(const Aggregator&) const = default;
};

/// An optional transitive attribute that is not known here: passed on with the partial bit (RFC 4271 section 5).
struct UnknownAttribute {
  uint8_t flags = 0;
  uint8_t type = 0;
  std::vector<uint8_t> value;
  auto operator<=>(const UnknownAttribute&) const = default;
};

struct Attributes {
  OriginCode origin = OriginCode::igp;
  std::vector<AsSegment> as_path;
  IpAddr next_hop;    // global; of either family for IPv4 routes (RFC 8950)
  IpAddr link_local;  // of an IPv6 next hop of 32 bytes (RFC 2545 section 3)
  std::optional<uint32_t> med;
  std::optional<uint32_t> local_pref;
  bool atomic_aggregate = false;
  std::optional<Aggregator> aggregator;
  std::vector<uint32_t> communities;                         // sorted, once each (RFC 1997)
  std::vector<LargeCommunity> large_communities;             // sorted, once each
  std::vector<std::array<uint8_t, 8>> extended_communities;  // sorted (RFC 4360)
  std::optional<RouterId> originator_id;                     // RFC 4456
  std::vector<uint32_t> cluster_list;                        // nearest first
  std::vector<UnknownAttribute> unknown;                     // sorted by type
  auto operator<=>(const Attributes&) const = default;

  int path_length() const { return bgp::path_length(as_path); }
  bool path_has(Asn asn) const;
  /// The neighbouring AS: the first of the path's first sequence; 0 if the path is empty or begins with a set.
  Asn neighbor_as() const;
};

/// One distinct set, shared. Equal sets out of one table are equal pointers.
using AttrRef = std::shared_ptr<const Attributes>;

class AttributeTable {
 public:
  AttributeTable();
  ~AttributeTable();
  AttributeTable(const AttributeTable&) = delete;
  AttributeTable& operator=(const AttributeTable&) = delete;
  AttrRef intern(Attributes attributes);
  size_t size() const;  // sets alive

 private:
  struct State;
  std::shared_ptr<State> state_;  // outlives the table while sets are held
};

/// Well-known communities (RFC 1997, RFC 8326, RFC 9494).
inline constexpr uint32_t kNoExport = 0xffffff01, kNoAdvertise = 0xffffff02, kNoExportSubconfed = 0xffffff03,
                          kGracefulShutdown = 0xffff0000, kLlgrStale = 0xffff0006, kNoLlgr = 0xffff0007;

}  // namespace knet::bgp
