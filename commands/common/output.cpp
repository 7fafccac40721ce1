#include "commands/common/output.h"

#include <nlohmann/json.hpp>

#include "commands/common/table.h"

namespace knet {

void print_json(const nlohmann::ordered_json& object) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  out["schema"] = kOutputSchema;
  for (const auto& [key, value] : object.items()) out[key] = value;
  print(out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace knet
