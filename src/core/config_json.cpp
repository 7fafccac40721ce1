// The network config as flannel's JSON: parsing and writing.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/text.h"
#include "core/config_pool.h"
#include "core/mode.h"

namespace knet {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 13> kKeys{
    "Network",   "IPv6Network",   "EnableIPv4",    "EnableIPv6",    "EnableNFTables", "SubnetLen", "SubnetMin",
    "SubnetMax", "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax", "Backend",        "Knet"};
constexpr PoolWords kWords4{"Network", "SubnetLen", "SubnetMin", "SubnetMax"};
constexpr PoolWords kWords6{"IPv6Network", "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax"};

std::string shown(const Json& value) { return printable(value.dump(-1, ' ', true, Json::error_handler_t::replace)); }

/// An object whose keys match as Go's decoder matches them.
class Fields {
 public:
  Fields(const Json& object, std::string_view where) : object_(object), where_(where) {}

  /// Null if absent or JSON null.
  const Json* find(std::string_view name) const {
    const Json* found = nullptr;
    for (const auto& [key, value] : object_.items()) {
      if (!equals_ignoring_case(key, name)) continue;
      if (found != nullptr) fail(ErrorKind::config, "{} is given twice, in different cases", word(name));
      found = &value;
    }
    return found == nullptr || found->is_null() ? nullptr : found;
  }
  std::string word(std::string_view name) const { return fmt::format("{}{}", where_, name); }

  bool boolean(std::string_view name, bool fallback) const {
    const Json* value = find(name);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) fail(ErrorKind::config, "{} is {}; give true or false", word(name), shown(*value));
    return value->get<bool>();
  }
  std::optional<int64_t> integer(std::string_view name) const {
    const Json* value = find(name);
    if (value == nullptr) return std::nullopt;
    return whole_number(*value, word(name));
  }
  std::optional<std::string> text(std::string_view name, std::string_view wanted) const {
    const Json* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) fail(ErrorKind::config, "{} is {}; give {} in quotes", word(name), shown(*value), wanted);
    return value->get<std::string>();
  }

  static int64_t whole_number(const Json& value, std::string_view word) {
    const bool too_big =
        value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()};
    if (!value.is_number_integer() || too_big)
      fail(ErrorKind::config, "{} is {}; give a whole number", word, shown(value));
    return value.get<int64_t>();
  }

 private:
  const Json& object_;
  std::string_view where_;
};

void note(std::vector<std::string>* notices, std::string text) {
  if (notices != nullptr) notices->push_back(std::move(text));
}

std::optional<Prefix> parse_network(const Fields& fields, std::string_view name, std::vector<std::string>* notices) {
  const auto text = fields.text(name, "a network such as 10.244.0.0/16");
  if (!text) return std::nullopt;
  const auto prefix = Prefix::parse(*text);
  if (!prefix)
    fail(ErrorKind::config, "{} \"{}\" is not a network such as 10.244.0.0/16", fields.word(name), printable(*text));
  if (!prefix->is_masked()) {
    note(notices,
         fmt::format("{} {} has host bits; taken as {}", fields.word(name), prefix->str(), prefix->masked().str()));
  }
  return prefix->masked();
}

/// Unset for the unspecified address too, which is Go's zero value.
std::optional<IpAddr> parse_bound(const Fields& fields, std::string_view name, Family family) {
  const auto text = fields.text(name, "an address");
  if (!text) return std::nullopt;
  const auto ip = IpAddr::parse(*text);
  if (!ip || ip->family() != family) {
    fail(ErrorKind::config, "{} \"{}\" is not an {} address", fields.word(name), printable(*text),
         family == Family::v4 ? "IPv4" : "IPv6");
  }
  if (ip->is_unspecified()) return std::nullopt;
  return ip;
}

void parse_pool(const Fields& fields, const PoolWords& words, Family family, bool enabled, std::string_view enable,
                NetworkConfig& config, std::vector<std::string>* notices) {
  PoolInput input;
  input.network = parse_network(fields, words.network, notices);
  input.length = fields.integer(words.length);
  input.min = parse_bound(fields, words.min, family);
  input.max = parse_bound(fields, words.max, family);
  if (!enabled) {
    if (input.network) note(notices, fmt::format("{} is given but {} is not true: ignored", words.network, enable));
    return;
  }
  if (!input.network) {
    fail(ErrorKind::config, "{} is missing; give a network such as {}", words.network,
         family == Family::v4 ? "10.244.0.0/16" : "fd00:10:244::/56");
  }
  if (input.length == 0) input.length.reset();  // Go's zero value: flannel takes the default
  set_pool(config, family, check_pool(input, words, family, ErrorKind::config));
}

OptionValue parse_json_option(const OptionSpec& spec, const Json& value, std::string_view where) {
  const std::string word = fmt::format("{}{}", where, spec.name);
  switch (spec.type) {
    case OptionType::boolean:
      if (!value.is_boolean()) fail(ErrorKind::config, "{} is {}; give true or false", word, shown(value));
      return value.get<bool>();
    case OptionType::integer:
      return check_integer(spec, Fields::whole_number(value, word), word, ErrorKind::config);
    case OptionType::text:
      break;
  }
  if (!value.is_string())
    fail(ErrorKind::config, "{} is {}; give a text in quotes", word, spec.secret ? "no text" : shown(value));
  return check_text(spec, value.get<std::string>(), word, ErrorKind::config);
}

// The options beside "Type", sorted by name.
ModeOptions parse_options(const Json& backend, const Mode& mode, std::string_view where,
                          std::vector<std::string>* notices) {
  ModeOptions options;
  const Fields fields(backend, where);
  for (const auto& [key, value] : backend.items()) {
    if (equals_ignoring_case(key, "Type")) continue;
    const OptionSpec* spec = find_spec(mode, key);
    if (spec == nullptr) {
      const auto ignored = mode.ignored_options();
      const bool harmless = std::any_of(ignored.begin(), ignored.end(), [&, &name = key](std::string_view known) {
        return equals_ignoring_case(known, name);
      });
      if (!harmless)
        // What is no plain value may be, or hold, a secret whose key was mistyped.
        fail(ErrorKind::config, "{}{} is {}: {}", where, printable(key),
             value.is_boolean() || value.is_number() ? shown(value) : "given", unknown_option(mode, key));
      note(notices, fmt::format("{}{} is flannel's alone: ignored", where, printable(key)));
      continue;
    }
    (void)fields.find(spec->name);  // refuses a key given in two cases
    if (!value.is_null()) options.emplace_back(spec->name, parse_json_option(*spec, value, where));
  }
  std::sort(options.begin(), options.end());
  return options;
}

void parse_backend(const Json* backend, const ModeRegistry& modes, NetworkConfig& config,
                   std::vector<std::string>* notices) {
  config.mode = "udp";
  if (backend == nullptr) {
    (void)modes.get(config.mode);
    return;
  }
  if (!backend->is_object())
    fail(ErrorKind::config, "Backend is {}; give an object such as {{\"Type\": \"vxlan\"}}", shown(*backend));
  const Fields fields(*backend, "Backend.");
  const auto type = fields.text("Type", "a mode such as vxlan");
  if (!type) fail(ErrorKind::config, "Backend.Type is missing; give a mode such as \"vxlan\"");
  const Mode& mode = modes.get(*type);
  config.mode = mode.name();
  config.options = parse_options(*backend, mode, "Backend.", notices);
}

// One that this version has not is left out: another node's newer knet may have written it.
void parse_earlier(const Json* list, const ModeRegistry& modes, NetworkConfig& config,
                   std::vector<std::string>* notices) {
  if (list == nullptr) return;
  if (!list->is_array()) fail(ErrorKind::config, "Knet.Earlier is {}; give a list of backends", shown(*list));
  for (const Json& backend : *list) {
    if (!backend.is_object()) fail(ErrorKind::config, "Knet.Earlier holds {}; give objects", shown(backend));
    constexpr std::string_view where = "Knet.Earlier.";
    const auto type = Fields(backend, where).text("Type", "a mode such as vxlan");
    const Mode* mode = type ? modes.find(*type) : nullptr;
    if (mode == nullptr) {
      note(notices, fmt::format("Knet.Earlier holds {}: ignored", shown(backend)));
      continue;
    }
    const auto same = [&](const auto& earlier) { return earlier.first == mode->name(); };
    if (mode->name() == config.mode || std::any_of(config.earlier.begin(), config.earlier.end(), same)) continue;
    config.earlier.emplace_back(mode->name(), parse_options(backend, *mode, where, notices));
  }
}

void parse_own(const Json* own, const ModeRegistry& modes, NetworkConfig& config, std::vector<std::string>* notices) {
  if (own == nullptr) return;
  if (!own->is_object())
    fail(ErrorKind::config, "Knet is {}; give an object such as {{\"Masquerade\": false}}", shown(*own));
  config.masquerade = Fields(*own, "Knet.").boolean("Masquerade", true);
  parse_earlier(Fields(*own, "Knet.").find("Earlier"), modes, config, notices);
  for (const auto& [key, value] : own->items()) {
    if (!equals_ignoring_case(key, "Masquerade") && !equals_ignoring_case(key, "Earlier"))
      note(notices, fmt::format("Knet.{} is not known here: ignored", printable(key)));
  }
}

void note_unknown_keys(const Json& root, std::vector<std::string>* notices) {
  const std::vector<std::string> names(kKeys.begin(), kKeys.end());
  for (const auto& [key, value] : root.items()) {
    if (std::any_of(names.begin(), names.end(),
                    [&, &name = key](const auto& known) { return equals_ignoring_case(known, name); }))
      continue;
    const auto near = nearest(key, names);
    note(notices, fmt::format("{} is not a key of the network config{}: ignored", printable(key),
                              near ? fmt::format("; did you mean {}?", *near) : ""));
  }
}

nlohmann::ordered_json to_json(const OptionValue& value) {
  return std::visit([](const auto& typed) { return nlohmann::ordered_json(typed); }, value);
}

nlohmann::ordered_json backend_json(const std::string& mode, const ModeOptions& options) {
  nlohmann::ordered_json backend = {{"Type", mode}};
  for (const auto& [name, value] : options) backend[name] = to_json(value);
  return backend;
}

}  // namespace

NetworkConfig parse_network_config(std::string_view json, const ModeRegistry& modes,
                                   std::vector<std::string>* notices) {
  const Json root = parse_json(json, "network config");
  if (!root.is_object()) fail(ErrorKind::config, "the network config is {}, not a JSON object", shown(root));
  const Fields fields(root, "");
  NetworkConfig config;
  config.enable_v4 = fields.boolean("EnableIPv4", true);
  config.enable_v6 = fields.boolean("EnableIPv6", false);
  (void)fields.boolean("EnableNFTables", false);  // knet always uses nftables
  if (!config.enable_v4 && !config.enable_v6)
    fail(ErrorKind::config, "EnableIPv4 and EnableIPv6 are both false; no network is left");
  parse_pool(fields, kWords4, Family::v4, config.enable_v4, "EnableIPv4", config, notices);
  parse_pool(fields, kWords6, Family::v6, config.enable_v6, "EnableIPv6", config, notices);
  parse_backend(fields.find("Backend"), modes, config, notices);
  parse_own(fields.find("Knet"), modes, config, notices);
  if (notices != nullptr) note_unknown_keys(root, notices);
  check_mode(config, modes);
  return config;
}

std::string format_network_config(const NetworkConfig& config) {
  nlohmann::ordered_json root;
  const auto put = [&](const PoolWords& words, const Prefix& network, int length, const IpAddr& min,
                       const IpAddr& max) {
    const PoolBounds usual = default_bounds(network, length);
    root[std::string(words.network)] = network.str();
    root[std::string(words.length)] = length;
    if (min != usual.min) root[std::string(words.min)] = min.str();
    if (max != usual.max) root[std::string(words.max)] = max.str();
  };
  if (config.enable_v4) put(kWords4, config.network, config.subnet_len, config.subnet_min, config.subnet_max);
  if (!config.enable_v4) root["EnableIPv4"] = false;
  if (config.enable_v6) {
    root["EnableIPv6"] = true;
    put(kWords6, config.network6, config.subnet_len6, config.subnet_min6, config.subnet_max6);
  }
  root["Backend"] = backend_json(config.mode, config.options);
  if (!config.masquerade) root["Knet"]["Masquerade"] = false;
  for (const auto& [mode, options] : config.earlier) root["Knet"]["Earlier"].push_back(backend_json(mode, options));
  return root.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string_view implied_mode_under(std::string_view config_mode) {
  for (std::string_view silent : {"alloc", "aws-vpc", "gce"}) {
    if (config_mode == silent) return silent;
  }
  return "udp";
}

std::string implied_mode(std::string_view config_json) {
  try {
    const Json root = parse_json(config_json, "network config");
    const Json* backend = root.is_object() ? Fields(root, "").find("Backend") : nullptr;
    if (backend == nullptr || !backend->is_object()) return "udp";
    const std::string type = lower(Fields(*backend, "Backend.").text("Type", "a mode").value_or("udp"));
    return std::string(implied_mode_under(type));
  } catch (const Error&) {
    // What is wrong with the config is told where it is used.
  }
  return "udp";
}

}  // namespace knet
