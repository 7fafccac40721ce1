// Typed reading of a record of ours that was parsed into a tree: one message per wrong field, naming it. A record of a
// newer schema is read as far as it is known: a field of another type there counts as absent. Private to src/core.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ip.h"

namespace knet {

class RecordFields {
 public:
  /// Throws Error{config} unless `record` is an object with a whole number "schema" of 1 or more.
  /// `known` is the highest schema that the caller understands.
  RecordFields(const nlohmann::json& record, std::string_view what, int known);

  int schema() const { return schema_; }
  std::optional<std::string> text(const char* name) const;
  std::string needed_text(const char* name) const;  // throws if absent or empty, whatever the schema
  std::optional<int64_t> integer(const char* name) const;
  std::optional<bool> boolean(const char* name) const;
  std::vector<std::string> texts(const char* name) const;
  IpAddr address(const char* name) const;  // unset if absent
  std::vector<Prefix> prefixes(const char* name) const;
  std::vector<IpAddr> addresses(const char* name) const;
  std::vector<std::pair<std::string, std::string>> labels(const char* name) const;  // sorted

 private:
  const nlohmann::json* find(const char* name) const;
  [[nodiscard]] bool wrong(const char* name, const nlohmann::json& value, std::string_view wanted) const;

  const nlohmann::json& record_;
  std::string_view what_;
  int schema_ = 0;
  bool newer_ = false;
};

/// Text for a record: bytes that are not UTF-8 are replaced.
std::string dump_record(const nlohmann::ordered_json& record);

}  // namespace knet
