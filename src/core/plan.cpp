#include "core/plan.h"

#include <fmt/core.h>

namespace knet {

std::string_view to_string(Verb verb) {
  switch (verb) {
    case Verb::create:
      return "create";
    case Verb::replace:
      return "replace";
    case Verb::remove:
      return "remove";
  }
  return "?";
}

std::string_view to_string(Why why) {
  switch (why) {
    case Why::missing:
      return "missing";
    case Why::differs:
      return "differs";
    case Why::recreate:
      return "recreate";
    case Why::unwanted:
      return "unwanted";
  }
  return "?";
}

size_t Plan::size() const {
  size_t count = 0;
  for (const Stage& stage : stages) count += stage.ops.size();
  return count;
}

std::string describe(const Plan& plan, const ObjectRef& object) {
  const NetState& state = object.observed ? *plan.observed : *plan.desired;
  std::string text;
  for_each_kind(state, [&](const auto& objects) {
    using T = typename std::decay_t<decltype(objects)>::value_type;
    if (T::kKind == object.kind) text = describe(objects.at(object.index));
  });
  return text;
}

std::string describe(const Plan& plan, const Op& op) {
  return fmt::format("{} {} ({})", to_string(op.verb), describe(plan, op.object), to_string(op.why));
}

std::vector<std::string> describe(const Plan& plan) {
  std::vector<std::string> lines;
  lines.reserve(plan.size());
  for (const Stage& stage : plan.stages)
    for (const Op& op : stage.ops) lines.push_back(describe(plan, op));
  return lines;
}

}  // namespace knet
