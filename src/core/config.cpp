#include "core/config.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "core/blocks.h"
#include "core/config_pool.h"
#include "core/mode.h"

namespace knet {
namespace {

const OptionValue* find_option(const ModeOptions& options, std::string_view name) {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [&](const auto& option) { return equals_ignoring_case(option.first, name); });
  return found == options.end() ? nullptr : &found->second;
}

template <typename T>
T option_or(const NetworkConfig& config, std::string_view name, T fallback) {
  const OptionValue* value = find_option(config.options, name);
  const T* typed = value == nullptr ? nullptr : std::get_if<T>(value);
  return typed == nullptr ? fallback : *typed;
}

/// A network that pods could never be reached in.
std::string_view unfit(const Prefix& network) {
  struct Row {
    std::string_view prefix, why;
  };
  constexpr std::array kRows{
      Row{"0.0.0.0/8", "the unspecified addresses"},     Row{"127.0.0.0/8", "the loopback addresses"},
      Row{"169.254.0.0/16", "the link-local addresses"}, Row{"224.0.0.0/4", "the multicast addresses"},
      Row{"::/128", "the unspecified address"},          Row{"::1/128", "the loopback address"},
      Row{"fe80::/10", "the link-local addresses"},      Row{"ff00::/8", "the multicast addresses"},
  };
  for (const Row& row : kRows) {
    if (Prefix::parse(row.prefix)->overlaps(network)) return row.why;
  }
  return {};
}

struct Limits {
  int widest;       // longest network length that can be cut
  int longest;      // longest subnet length
  int usual;        // subnet length by default ...
  int usual_up_to;  // ... for networks no longer than this
};
constexpr Limits limits_of(Family family) {
  return family == Family::v4 ? Limits{28, 30, 24, 22} : Limits{124, 126, 64, 62};
}

IpAddr check_bound(const std::optional<IpAddr>& given, const IpAddr& fallback, const Prefix& network, int length,
                   std::string_view word, ErrorKind kind) {
  if (!given) return fallback;
  if (!network.contains(*given)) {
    fail(kind, "{} {} is not in {}", word, given->str(), network.str());
  }
  const Prefix subnet = Prefix{*given, length}.masked();
  if (subnet.addr() != *given) {
    fail(kind, "{} {} is not the beginning of a /{}; give {}", word, given->str(), length, subnet.addr().str());
  }
  return *given;
}

}  // namespace

std::vector<Prefix> NetworkConfig::networks() const {
  std::vector<Prefix> result;
  if (enable_v4) result.push_back(network);
  if (enable_v6) result.push_back(network6);
  return result;
}

NetworkConfig NetworkConfig::as_mode(std::string_view name) const {
  NetworkConfig config = *this;
  config.earlier.clear();
  if (equals_ignoring_case(name, mode)) return config;
  config.mode = name;
  config.options.clear();
  for (const auto& [before, its] : earlier)
    if (equals_ignoring_case(before, name)) config.options = its;
  return config;
}

bool NetworkConfig::option_bool(std::string_view name, bool fallback) const { return option_or(*this, name, fallback); }
int64_t NetworkConfig::option_int(std::string_view name, int64_t fallback) const {
  return option_or(*this, name, fallback);
}
std::string NetworkConfig::option_text(std::string_view name, std::string_view fallback) const {
  return option_or(*this, name, std::string(fallback));
}

PoolBounds default_bounds(const Prefix& network, int length) {
  // The first subnet is left out, as in flannel: its network address would be the network's own.
  return {network.addr().plus_shifted(1, network.addr().bits() - length),
          Prefix{network.last(), length}.masked().addr()};
}

int default_length(const Prefix& network) {
  const Limits limits = limits_of(network.family());
  return network.length() <= limits.usual_up_to ? limits.usual : network.length() + 2;
}

PoolValues check_pool(const PoolInput& input, const PoolWords& words, Family family, ErrorKind kind) {
  const Limits limits = limits_of(family);
  const Prefix& network = *input.network;
  if (network.family() != family) {
    fail(kind, "{} {} is not an {} network", words.network, network.str(), family == Family::v4 ? "IPv4" : "IPv6");
  }
  if (const std::string_view why = unfit(network); !why.empty()) {
    fail(kind, "{} {} holds {}; give a private network such as {}", words.network, network.str(), why,
         family == Family::v4 ? "10.244.0.0/16" : "fd00:10:244::/56");
  }
  if (network.length() > limits.widest) {
    fail(kind, "{} {} is too small to be cut into subnets; give /{} or wider", words.network, network.str(),
         limits.widest);
  }
  PoolValues values;
  values.network = network;
  values.length = default_length(network);
  if (input.length) {
    const int64_t shortest = network.length() + 2;
    if (*input.length < 1 || *input.length > network.addr().bits()) {
      fail(kind, "{} {} is not a prefix length; give {} to {} for {}", words.length, *input.length, shortest,
           limits.longest, network.str());
    }
    if (*input.length < shortest || *input.length > limits.longest) {
      fail(kind, "{} {} is out of range; give {} to {} for {}", words.length, *input.length, shortest, limits.longest,
           network.str());
    }
    values.length = static_cast<int>(*input.length);
  }
  const PoolBounds bounds = default_bounds(network, values.length);
  values.min = check_bound(input.min, bounds.min, network, values.length, words.min, kind);
  values.max = check_bound(input.max, bounds.max, network, values.length, words.max, kind);
  if (values.min > values.max) {
    fail(kind, "{} {} is above {} {}: no subnet is left", words.min, values.min.str(), words.max, values.max.str());
  }
  return values;
}

void set_pool(NetworkConfig& config, Family family, const PoolValues& values) {
  if (family == Family::v4) {
    config.network = values.network;
    config.subnet_len = values.length;
    config.subnet_min = values.min;
    config.subnet_max = values.max;
  } else {
    config.network6 = values.network;
    config.subnet_len6 = values.length;
    config.subnet_min6 = values.min;
    config.subnet_max6 = values.max;
  }
}

void check_mode(const NetworkConfig& config, const ModeRegistry& modes) {
  const Mode& mode = modes.get(config.mode);
  for (const auto& [family, on, name] :
       {std::tuple{Family::v4, config.enable_v4, "IPv4"}, std::tuple{Family::v6, config.enable_v6, "IPv6"}}) {
    if (on && !mode.carries(family)) fail(ErrorKind::config, "mode {} does not carry {}", mode.name(), name);
  }
  mode.validate(config);
}

uint64_t pool_size(const NetworkConfig& config, Family family) {
  const bool v4 = family == Family::v4;
  if (!(v4 ? config.enable_v4 : config.enable_v6)) return 0;
  const IpAddr& min = v4 ? config.subnet_min : config.subnet_min6;
  const IpAddr& max = v4 ? config.subnet_max : config.subnet_max6;
  const int length = v4 ? config.subnet_len : config.subnet_len6;
  if (!min || !max || min > max) return 0;
  const BlockNumber count = block_number(max, length) - block_number(min, length) + 1;
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  return count > kMost ? kMost : static_cast<uint64_t>(count);
}

}  // namespace knet
