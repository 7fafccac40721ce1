// The cluster's network config: flannel's JSON at <prefix>/config. Parsed, validated, written. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ip.h"

namespace knet {

class ModeRegistry;

/// One option of a mode (Backend key), with what a person needs to know.
enum class OptionType : uint8_t { boolean, integer, text };
using OptionValue = std::variant<bool, int64_t, std::string>;
struct OptionSpec {
  std::string_view name;  // flannel's spelling: "DirectRouting"
  OptionType type;
  std::string_view fallback;  // default, as text: "false", "1", "" (for text)
  int64_t min = 0;            // integers only
  int64_t max = 0;
  std::string_view help;
  bool live = false;  // may be changed while nodes run (knet config set)
  std::span<const std::string_view> values = {};  // text: the words that it takes, if not any
  bool secret = false;                            // text: never printed; --opt takes it as @FILE
};

/// Set options only, canonical names, sorted by name.
using ModeOptions = std::vector<std::pair<std::string, OptionValue>>;

struct NetworkConfig {
  bool enable_v4 = true;
  bool enable_v6 = false;
  Prefix network;
  Prefix network6;
  int subnet_len = 24;
  int subnet_len6 = 64;
  IpAddr subnet_min, subnet_max;  // first and last subnet given out, inclusive
  IpAddr subnet_min6, subnet_max6;
  std::string mode = "vxlan";  // lower case
  ModeOptions options;
  /// knet's own, inside "Knet": {...} of the JSON, which flannel ignores.
  bool masquerade = true;  // "Masquerade": pods' traffic that leaves the cluster
  /// "Earlier": the modes that nodes may still receive while the cluster changes over to `mode` (`knet mode set`), with
  /// their options, the latest first. Empty once it is finished. Never holds `mode` itself.
  std::vector<std::pair<std::string, ModeOptions>> earlier;

  bool operator==(const NetworkConfig&) const = default;
  std::vector<Prefix> networks() const;  // one or two
  /// This config as the mode called `name` sees it: its name, its own options (current or earlier, else none), nothing
  /// in `earlier`.
  NetworkConfig as_mode(std::string_view name) const;
  bool option_bool(std::string_view name, bool fallback) const;
  int64_t option_int(std::string_view name, int64_t fallback) const;
  std::string option_text(std::string_view name, std::string_view fallback = "") const;
};

/// Parses and validates flannel's JSON: keys match case-insensitively, defaults filled in as flannel does
/// (facts: SubnetLen 24 or Network+2, SubnetMin skips the first subnet), option types and ranges by the mode's specs.
/// An absent Backend means type udp, as in flannel's code. Unknown top-level keys are kept out and named in `notices`
/// if given. Throws Error{config}: one message naming key and value and what would be right.
NetworkConfig parse_network_config(std::string_view json, const ModeRegistry& modes,
                                   std::vector<std::string>* notices = nullptr);
/// The type of a lease that names none: the config's Backend.Type if that is udp, alloc, aws-vpc or gce, else "udp"; so
/// too when the config can't be read or its mode is none of ours. Never throws.
std::string implied_mode(std::string_view config_json);
/// The same from the config's mode, in lower case.
std::string_view implied_mode_under(std::string_view config_mode);
/// Canonical JSON; always with Backend.Type; defaults that flannel would compute alike are left out, except SubnetLen.
std::string format_network_config(const NetworkConfig& config);

/// From the words of `knet init`: unset fields get flannel's defaults. Throws Error{usage} in the words of the flags.
struct ConfigWords {
  std::optional<std::string> network, network6;
  std::optional<int> subnet_len, subnet_len6;
  std::optional<std::string> subnet_min, subnet_max, subnet_min6, subnet_max6;
  std::string mode = "vxlan";
  std::vector<std::string> options;  // "Key=Value"
  bool masquerade = true;
};
NetworkConfig make_network_config(const ConfigWords& words, const ModeRegistry& modes);
/// The config in another mode, with just these options ("Key=Value"); `earlier` is left as it is. Throws Error{usage}.
NetworkConfig change_mode(const NetworkConfig& config, std::string_view mode, const std::vector<std::string>& options,
                          const ModeRegistry& modes);

/// How a mode that has several ways of moving packets is told which to take.
inline constexpr std::string_view kDatapathOption = "Datapath";

/// What stands in the place of a secret option's value.
inline constexpr std::string_view kHidden = "(hidden)";
/// Whether an option of this name is a secret in any mode.
bool is_secret_option(std::string_view key, const ModeRegistry& modes);
/// The config's JSON as it may be shown. Throws Error{config} if it is no JSON.
std::string hide_secrets(std::string_view config_json, const ModeRegistry& modes);
/// The option in force (set, or the default), as it may be shown.
std::string shown_option(const NetworkConfig& config, const OptionSpec& spec);

/// What a change would mean for running nodes.
struct ConfigChange {
  std::string what;   // "Backend.VNI 1 -> 7"
  bool live;          // can be done while nodes run
  std::string steps;  // what to do where it can't
};
std::vector<ConfigChange> compare(const NetworkConfig& from, const NetworkConfig& to, const ModeRegistry& modes);

/// How many subnets the pool has (saturating at 2^63-1), per family.
uint64_t pool_size(const NetworkConfig& config, Family family);

}  // namespace knet
