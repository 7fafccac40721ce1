// What the parts of the network config's code share: one family's pool, checked once for the words of the JSON and the
// words of the flags alike, and options by their specs. Pure; private to src/core.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/config.h"

namespace knet {

class Mode;

/// How messages call the fields: "SubnetLen" or "--subnet-len".
struct PoolWords {
  std::string_view network, length, min, max;
};
struct PoolInput {
  std::optional<Prefix> network;  // masked
  std::optional<int64_t> length;
  std::optional<IpAddr> min, max;
};
struct PoolBounds {
  IpAddr min, max;
};
struct PoolValues {
  Prefix network;
  int length = 0;
  IpAddr min, max;
};

/// flannel's defaults: 24 (64) where the network is at least four times as wide, else its length + 2; second and last
/// subnet.
int default_length(const Prefix& network);
PoolBounds default_bounds(const Prefix& network, int length);
/// flannel's limits; input.network must be set.
PoolValues check_pool(const PoolInput& input, const PoolWords& words, Family family, ErrorKind kind);
void set_pool(NetworkConfig& config, Family family, const PoolValues& values);

/// That the mode exists, carries the families and takes the options together. Throws Error{config}.
void check_mode(const NetworkConfig& config, const ModeRegistry& modes);

/// The spec that a key means, ignoring case; null if there is none.
const OptionSpec* find_spec(const Mode& mode, std::string_view key);
/// "mode vxlan has no option VNID; did you mean VNI? it has DirectRouting, MTU, Port, VNI"
std::string unknown_option(const Mode& mode, std::string_view key);
/// "VNI is 0; give 1 to 16777215"; throws Error{kind} that begins with `word`.
OptionValue check_integer(const OptionSpec& spec, int64_t value, std::string_view word, ErrorKind kind);
/// One of the spec's words, if it has any, as the spec spells it; throws Error{kind} that begins with `word`.
OptionValue check_text(const OptionSpec& spec, std::string_view text, std::string_view word, ErrorKind kind);
/// From text ("--opt VNI=7", a spec's fallback).
OptionValue parse_option(const OptionSpec& spec, std::string_view text, std::string_view word, ErrorKind kind);
std::string option_to_text(const OptionValue& value);
/// The option in force: set, or the spec's fallback.
std::string effective_option(const NetworkConfig& config, const OptionSpec& spec);

}  // namespace knet
