// JSON from outside: parsing with limits and messages that name where. nlohmann stays in .cpp files.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace knet {

/// Parses a whole text. `what` names it in the error: "config: not JSON at byte 17: ...". Refuses depth over 64.
/// Throws Error{config}.
nlohmann::json parse_json(std::string_view text, std::string_view what);

}  // namespace knet
