#include "commands/common/changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "commands/common/output.h"
#include "commands/common/secrets.h"
#include "commands/common/table.h"

namespace knet {

void Changes::put(std::string_view what, const std::string& from, const std::string& to) {
  if (from != to) rows_.push_back({std::string(what), from.empty() ? "none" : from, to.empty() ? "none" : to});
}

void Changes::put_list(std::string_view what, const std::vector<std::string>& from, const std::vector<std::string>& to) {
  put(what, join(from, ", "), join(to, ", "));
}

void Changes::put_secret(std::string_view what, const std::string& from, const std::string& to) {
  if (from != to) rows_.push_back({std::string(what), shown_password(from), shown_password(to)});
}

bool Changes::has(std::string_view what) const {
  return std::any_of(rows_.begin(), rows_.end(), [&](const Row& row) { return row.what == what; });
}

int Changes::report(std::string_view object, const std::string& where, bool dry_run, bool json) const {
  if (json) {
    nlohmann::ordered_json changes = nlohmann::ordered_json::array();
    for (const Row& row : rows_) changes.push_back({{"what", row.what}, {"from", row.from}, {"to", row.to}});
    print_json({{"object", object}, {"written_to", where}, {"written", !rows_.empty() && !dry_run}, {"changes", changes},
                {"notices", notices}, {"next", next}});
    return kExitOk;
  }
  Table table({{""}, {"", Column::Kind::free}});
  for (const Row& row : rows_) table.add({row.what, row.from + " -> " + row.to});
  print(table);
  for (const std::string& notice : notices) print("note: " + printable(notice, 1000) + "\n");
  if (rows_.empty()) {
    print(fmt::format("nothing to change: {} {} so already\n", object, object.ends_with('s') ? "are" : "is"));
  } else if (dry_run) {
    print(fmt::format("dry run: {} would be written to {}\n", count_of(rows_.size(), "change"), where));
  } else {
    print(fmt::format("{} written to {}; running agents follow\n", count_of(rows_.size(), "change"), where));
  }
  if (!next.empty()) print("next: " + next + "\n");
  return kExitOk;
}

}  // namespace knet
