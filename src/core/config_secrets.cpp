// Options that are secret: found by their specs, and hidden wherever a config is shown.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/text.h"
#include "core/config_pool.h"
#include "core/mode.h"

namespace knet {

namespace {

// Wherever such a key stands, also where nobody looks for it.
void hide(nlohmann::ordered_json& value, const ModeRegistry& modes) {
  if (value.is_object())
    for (auto& [key, member] : value.items()) {
      if (is_secret_option(key, modes) && member != "")
        member = kHidden;
      else
        hide(member, modes);
    }
  if (value.is_array())
    for (auto& member : value) hide(member, modes);
}

}  // namespace

bool is_secret_option(std::string_view key, const ModeRegistry& modes) {
  return std::any_of(modes.all().begin(), modes.all().end(), [&](const Mode* mode) {
    const OptionSpec* spec = find_spec(*mode, key);
    return spec != nullptr && spec->secret;
  });
}

std::string hide_secrets(std::string_view config_json, const ModeRegistry& modes) {
  auto root = nlohmann::ordered_json::parse(config_json, nullptr, false);
  if (root.is_discarded()) fail(ErrorKind::config, "the network config is not JSON");
  hide(root, modes);
  return root.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string shown_option(const NetworkConfig& config, const OptionSpec& spec) {
  std::string text = effective_option(config, spec);
  return spec.secret && !text.empty() ? std::string(kHidden) : text;
}

}  // namespace knet
