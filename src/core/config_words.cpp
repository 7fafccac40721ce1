// The network config from the flags of `knet init`, with messages in their words.
#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "core/config_pool.h"
#include "core/mode.h"

namespace knet {
namespace {

constexpr PoolWords kFlags4{"--network", "--subnet-len", "--subnet-min", "--subnet-max"};
constexpr PoolWords kFlags6{"--network6", "--subnet-len6", "--subnet-min6", "--subnet-max6"};

struct FamilyWords {
  const std::optional<std::string>& network;
  const std::optional<int>& length;
  const std::optional<std::string>& min;
  const std::optional<std::string>& max;
};

std::optional<IpAddr> parse_bound(const std::optional<std::string>& text, std::string_view flag, Family family) {
  if (!text) return std::nullopt;
  const auto ip = IpAddr::parse(*text);
  if (!ip || ip->family() != family) {
    fail(ErrorKind::usage, "{} {} is not an {} address; give the network address of a subnet", flag, printable(*text),
         family == Family::v4 ? "IPv4" : "IPv6");
  }
  return ip;
}

/// Whether the family is on.
bool read_family(const FamilyWords& words, const PoolWords& flags, Family family, NetworkConfig& config) {
  const std::string_view example = family == Family::v4 ? "10.244.0.0/16" : "fd00:10:244::/56";
  if (!words.network) {
    for (const auto& [given, flag] :
         {std::pair{words.length.has_value(), flags.length}, std::pair{words.min.has_value(), flags.min},
          std::pair{words.max.has_value(), flags.max}}) {
      if (given)
        fail(ErrorKind::usage, "{} needs {}; give for example {} {}", flag, flags.network, flags.network, example);
    }
    return false;
  }
  PoolInput input;
  input.network = Prefix::parse(*words.network);
  if (!input.network) {
    fail(ErrorKind::usage, "{} {} is not a network; give an address and a length such as {}", flags.network,
         printable(*words.network), example);
  }
  if (!input.network->is_masked()) {
    fail(ErrorKind::usage, "{} {} has host bits; give {}", flags.network, input.network->str(),
         input.network->masked().str());
  }
  if (words.length) input.length = *words.length;
  input.min = parse_bound(words.min, flags.min, family);
  input.max = parse_bound(words.max, flags.max, family);
  set_pool(config, family, check_pool(input, flags, family, ErrorKind::usage));
  return true;
}

const Mode& find_mode(std::string_view word, const ModeRegistry& modes) {
  try {
    return modes.get(word);
  } catch (const Error& error) {
    fail(ErrorKind::usage, "--mode: {}", error.text);
  }
}

ModeOptions read_options(const std::vector<std::string>& words, const Mode& mode) {
  ModeOptions options;
  for (const std::string& word : words) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0)
      fail(ErrorKind::usage, "--opt {} is not Key=Value", printable(word));
    const std::string_view key = std::string_view(word).substr(0, equals);
    if (equals_ignoring_case(key, "Type"))
      fail(ErrorKind::usage, "--opt {}: the type is given by --mode", printable(word));
    const OptionSpec* spec = find_spec(mode, key);
    if (spec == nullptr) fail(ErrorKind::usage, "--opt {}: {}", printable(word), unknown_option(mode, key));
    if (std::any_of(options.begin(), options.end(), [&](const auto& option) { return option.first == spec->name; })) {
      fail(ErrorKind::usage, "--opt {}: {} is given twice", printable(word), spec->name);
    }
    options.emplace_back(spec->name, parse_option(*spec, std::string_view(word).substr(equals + 1),
                                                  fmt::format("--opt {}", spec->name), ErrorKind::usage));
  }
  std::sort(options.begin(), options.end());
  return options;
}

}  // namespace

NetworkConfig make_network_config(const ConfigWords& words, const ModeRegistry& modes) {
  NetworkConfig config;
  config.enable_v4 =
      read_family({words.network, words.subnet_len, words.subnet_min, words.subnet_max}, kFlags4, Family::v4, config);
  config.enable_v6 = read_family({words.network6, words.subnet_len6, words.subnet_min6, words.subnet_max6}, kFlags6,
                                 Family::v6, config);
  if (!config.enable_v4 && !config.enable_v6) {
    fail(ErrorKind::usage,
         "no network; give --network such as 10.244.0.0/16, --network6 such as fd00:10:244::/56, or both");
  }
  const Mode& mode = find_mode(words.mode, modes);
  config.mode = mode.name();
  config.options = read_options(words.options, mode);
  config.masquerade = words.masquerade;
  try {
    check_mode(config, modes);
  } catch (const Error& error) {
    fail(ErrorKind::usage, "--mode {}: {}", config.mode, error.text);
  }
  return config;
}

NetworkConfig change_mode(const NetworkConfig& config, std::string_view mode, const std::vector<std::string>& options,
                          const ModeRegistry& modes) {
  NetworkConfig changed = config;
  try {
    const Mode& found = modes.get(mode);
    changed.mode = found.name();
    changed.options = read_options(options, found);
    check_mode(changed, modes);
  } catch (const Error& error) {
    throw Error(ErrorKind::usage, error.text);
  }
  return changed;
}

}  // namespace knet
