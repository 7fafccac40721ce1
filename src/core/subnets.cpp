#include "core/subnets.h"

#include <algorithm>
#include <limits>

#include "core/blocks.h"

namespace knet {
namespace {

/// One family's pool: blocks first..last (inclusive) of `length` bits.
struct Pool {
  Family family;
  int length;
  IpAddr min, max;
  BlockNumber first() const { return block_number(min, length); }
  BlockNumber last() const { return block_number(max, length); }
};

struct Span {
  BlockNumber first, last;  // inclusive
};

std::optional<Pool> pool_of(const NetworkConfig& config, Family family) {
  if (!(family == Family::v4 ? config.subnet_min : config.subnet_min6)) return std::nullopt;
  if (family == Family::v4 && config.enable_v4)
    return Pool{family, config.subnet_len, config.subnet_min, config.subnet_max};
  if (family == Family::v6 && config.enable_v6)
    return Pool{family, config.subnet_len6, config.subnet_min6, config.subnet_max6};
  return std::nullopt;
}

/// The pool's blocks that are taken: sorted, apart from each other, inside the pool.
std::vector<Span> taken_spans(const Pool& pool, std::span<const Prefix> taken) {
  const BlockNumber first = pool.first(), last = pool.last();
  std::vector<Span> spans;
  spans.reserve(taken.size());
  for (const Prefix& prefix : taken) {
    if (prefix.family() != pool.family) continue;
    const Span span{std::max(first, block_number(prefix.masked().addr(), pool.length)),
                    std::min(last, block_number(prefix.last(), pool.length))};
    if (span.first <= span.last) spans.push_back(span);
  }
  std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.first < b.first; });
  size_t kept = 0;
  for (const Span& span : spans) {
    if (kept > 0 && span.first <= spans[kept - 1].last + 1) {
      spans[kept - 1].last = std::max(spans[kept - 1].last, span.last);
    } else {
      spans[kept++] = span;
    }
  }
  spans.resize(kept);
  return spans;
}

/// At most 2^126 blocks: no length over 126 is valid.
BlockNumber count_free(const Pool& pool, const std::vector<Span>& spans) {
  BlockNumber free = pool.last() - pool.first() + 1;
  for (const Span& span : spans) free -= span.last - span.first + 1;
  return free;
}

/// The `index`-th free block, which must exist.
Prefix free_block(const Pool& pool, const std::vector<Span>& spans, BlockNumber index) {
  BlockNumber number = pool.first() + index;
  for (const Span& span : spans) {
    if (number < span.first) break;
    number += span.last - span.first + 1;
  }
  return block_at(pool.family, number, pool.length);
}

bool fits(const Pool& pool, const Prefix& subnet) {
  return subnet.family() == pool.family && subnet.length() == pool.length && subnet.is_masked() &&
         subnet.addr() >= pool.min && subnet.addr() <= pool.max;
}

/// SplitMix64's finaliser: spreads one random word over a second one.
uint64_t mix(uint64_t word) {
  word += 0x9e3779b97f4a7c15u;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
  return word ^ (word >> 31);
}

std::optional<Prefix> choose(const Pool& pool, std::span<const Prefix> taken, const Prefix& preferred,
                             uint64_t random) {
  if (fits(pool, preferred) &&
      std::none_of(taken.begin(), taken.end(), [&](const Prefix& other) { return other.overlaps(preferred); })) {
    return preferred;
  }
  const std::vector<Span> spans = taken_spans(pool, taken);
  const BlockNumber free = count_free(pool, spans);
  if (free == 0) return std::nullopt;
  const BlockNumber wide =
      static_cast<BlockNumber>(mix(random ^ static_cast<uint64_t>(pool.family))) << 64 | mix(random);
  return free_block(pool, spans, wide % free);
}

bool family_fits(const NetworkConfig& config, Family family, const Prefix& subnet) {
  const auto pool = pool_of(config, family);
  return pool ? fits(*pool, subnet) : !subnet;
}

}  // namespace

bool fits(const NetworkConfig& config, const SubnetChoice& choice) {
  return family_fits(config, Family::v4, choice.subnet) && family_fits(config, Family::v6, choice.subnet6);
}

std::optional<SubnetChoice> choose_subnet(const NetworkConfig& config, std::span<const Prefix> taken,
                                          const SubnetChoice& preferred, uint64_t random) {
  SubnetChoice choice;
  if (const auto pool = pool_of(config, Family::v4)) {
    const auto subnet = choose(*pool, taken, preferred.subnet, random);
    if (!subnet) return std::nullopt;
    choice.subnet = *subnet;
  }
  if (const auto pool = pool_of(config, Family::v6)) {
    const auto subnet = choose(*pool, taken, preferred.subnet6, random);
    if (!subnet) return std::nullopt;
    choice.subnet6 = *subnet;
  }
  return choice;
}

uint64_t free_subnets(const NetworkConfig& config, std::span<const Prefix> taken, Family family) {
  const auto pool = pool_of(config, family);
  if (!pool) return 0;
  const BlockNumber free = count_free(*pool, taken_spans(*pool, taken));
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  return free > kMost ? kMost : static_cast<uint64_t>(free);
}

}  // namespace knet
