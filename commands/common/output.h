// JSON for scripts: one object, versioned ("schema":1 first), two blanks of indent.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace knet {

inline constexpr int kOutputSchema = 1;

/// Adds the schema unless `object` has one, and prints it to stdout.
void print_json(const nlohmann::ordered_json& object);

}  // namespace knet
