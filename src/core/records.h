// knet's own records under <prefix>/knet/: values and JSON codecs (schema 1). Reading never refuses a newer schema.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "core/lease.h"

namespace knet {

inline constexpr int kSchema = 1;

/// <prefix>/knet/nodes/<name>: presence, TTL 60 s. Display and seen_rev only: it never changes forwarding.
struct NodeRecord {
  int schema = kSchema;
  std::string name;
  std::string machine_id;
  std::string instance;  // this machine as of this boot; tells clones with one machine id apart; "": unknown
  std::vector<Prefix> subnets;
  IpAddr public_ip, public_ip6;
  std::optional<uint32_t> asn;
  std::optional<std::string> reflector;
  std::vector<std::pair<std::string, std::string>> labels;
  std::string version;
  Revision seen_rev = 0;
  std::vector<std::string> receives;  // modes that it announced before and still takes packets by
  /// What its kernel runs, as `knet mode set` asks: mode -> why it can't, "" if it can; besides "ipip/kernel" -> why for
  /// each Datapath that can't be asked for by name. Empty: not told (yet).
  std::vector<std::pair<std::string, std::string>> modes;
  bool operator==(const NodeRecord&) const = default;
};
std::string format_node(const NodeRecord& node);
NodeRecord parse_node(std::string_view json);  // throws Error{config}

/// <prefix>/knet/reservations/<subnet key>: this subnet is kept for that node.
struct Reservation {
  std::string node;
  bool operator==(const Reservation&) const = default;
};
std::string format_reservation(const Reservation& reservation);
Reservation parse_reservation(std::string_view json);

/// The value of StorePaths::schema(): a bare number.
std::string format_schema(int schema);
int parse_schema(std::string_view value);  // throws Error{config}

/// A node name: RFC 1123 label or subdomain, in lower case, at most 253 bytes. Throws Error{usage}.
void check_node_name(std::string_view name);

/// All paths in the store, from the prefix ("/coreos.com/network", no trailing slash).
struct StorePaths {
  std::string prefix = "/coreos.com/network";
  std::string config() const { return prefix + "/config"; }
  std::string subnets() const { return prefix + "/subnets/"; }
  std::string subnet(std::string_view key) const { return subnets() + std::string(key); }
  std::string knet() const { return prefix + "/knet/"; }
  std::string schema() const { return knet() + "schema"; }
  std::string nodes() const { return knet() + "nodes/"; }
  std::string node(std::string_view name) const { return nodes() + std::string(name); }
  /// Who holds that subnet, beside the lease and under its TTL lease: a node record.
  std::string holders() const { return knet() + "holders/"; }
  /// A node without a subnet: a node record under a TTL lease like a subnet's.
  std::string speakers() const { return knet() + "speakers/"; }
  std::string speaker(std::string_view node) const { return speakers() + std::string(node); }
  std::string bgp_config() const { return knet() + "bgp/config"; }
  std::string bgp_peers() const { return knet() + "bgp/peers/"; }
  std::string bgp_peer(std::string_view name) const { return bgp_peers() + std::string(name); }
  std::string specs() const { return knet() + "specs/"; }
  std::string spec(std::string_view node) const { return specs() + std::string(node); }
  std::string reservations() const { return knet() + "reservations/"; }
  std::string reservation(std::string_view key) const { return reservations() + std::string(key); }
};

}  // namespace knet
