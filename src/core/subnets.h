// Choice of a node's subnet out of the pool. Pure: the caller brings the random number, and races are settled by
// the store's create-if-absent.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/config.h"

namespace knet {

struct SubnetChoice {
  Prefix subnet, subnet6;  // a family that is off is unset
};

/// Whether the subnets fit the config: right length, inside [min, max], aligned, families as enabled.
bool fits(const NetworkConfig& config, const SubnetChoice& choice);

/// The preferred subnets (each family by itself) if they fit and are free, else a free one chosen by `random` among
/// all free ones, so that N nodes that start together rarely collide; and never missing the last free one. `taken` may
/// hold prefixes of any length: what overlaps is not free. Nothing: a family's pool is exhausted.
std::optional<SubnetChoice> choose_subnet(const NetworkConfig& config, std::span<const Prefix> taken,
                                          const SubnetChoice& preferred, uint64_t random);

/// How many subnets are free (saturating).
uint64_t free_subnets(const NetworkConfig& config, std::span<const Prefix> taken, Family family);

}  // namespace knet
