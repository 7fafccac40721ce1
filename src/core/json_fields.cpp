#include "core/json_fields.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace knet {
namespace {

using Json = nlohmann::json;

std::string shown(const Json& value) { return printable(value.dump(-1, ' ', true, Json::error_handler_t::replace)); }

std::optional<int64_t> whole_number(const Json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()})
    return std::nullopt;
  return value.get<int64_t>();
}

}  // namespace

RecordFields::RecordFields(const Json& record, std::string_view what, int known) : record_(record), what_(what) {
  if (!record.is_object()) fail(ErrorKind::config, "{} is {}, not an object", what, shown(record));
  const auto found = record.find("schema");
  if (found == record.end()) fail(ErrorKind::config, "{} has no schema", what);
  const auto schema = whole_number(*found);
  if (!schema || *schema < 1 || *schema > std::numeric_limits<int>::max()) {
    fail(ErrorKind::config, "{}: schema is {}, not a number from 1 on", what, shown(*found));
  }
  schema_ = static_cast<int>(*schema);
  newer_ = schema_ > known;
}

const Json* RecordFields::find(const char* name) const {
  const auto found = record_.find(name);
  return found == record_.end() || found->is_null() ? nullptr : &*found;
}

bool RecordFields::wrong(const char* name, const Json& value, std::string_view wanted) const {
  if (!newer_) fail(ErrorKind::config, "{}: {} is {}, not {}", what_, name, shown(value), wanted);
  return true;
}

std::optional<std::string> RecordFields::text(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string() && wrong(name, *value, "a text")) return std::nullopt;
  return value->get<std::string>();
}

std::string RecordFields::needed_text(const char* name) const {
  auto value = text(name);
  if (!value || value->empty()) fail(ErrorKind::config, "{}: {} is missing", what_, name);
  return *std::move(value);
}

std::optional<int64_t> RecordFields::integer(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const auto number = whole_number(*value);
  if (!number && wrong(name, *value, "a whole number")) return std::nullopt;
  return number;
}

std::optional<bool> RecordFields::boolean(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean() && wrong(name, *value, "true or false")) return std::nullopt;
  return value->get<bool>();
}

std::vector<std::string> RecordFields::texts(const char* name) const {
  std::vector<std::string> result;
  const Json* value = find(name);
  if (value == nullptr) return result;
  if (!value->is_array() && wrong(name, *value, "a list of texts")) return result;
  for (const Json& item : *value) {
    if (!item.is_string() && wrong(name, item, "a text")) continue;
    result.push_back(item.get<std::string>());
  }
  return result;
}

IpAddr RecordFields::address(const char* name) const {
  const Json* value = find(name);
  if (value == nullptr) return {};
  const auto ip = value->is_string() ? IpAddr::parse(value->get_ref<const std::string&>()) : std::nullopt;
  if (!ip && wrong(name, *value, "an address")) return {};
  return *ip;
}

std::vector<Prefix> RecordFields::prefixes(const char* name) const {
  std::vector<Prefix> result;
  const Json* value = find(name);
  if (value == nullptr) return result;
  if (!value->is_array() && wrong(name, *value, "a list of subnets")) return result;
  for (const Json& item : *value) {
    const auto prefix = item.is_string() ? Prefix::parse(item.get_ref<const std::string&>()) : std::nullopt;
    if (!prefix && wrong(name, item, "a subnet")) continue;
    result.push_back(*prefix);
  }
  return result;
}

std::vector<IpAddr> RecordFields::addresses(const char* name) const {
  std::vector<IpAddr> result;
  const Json* value = find(name);
  if (value == nullptr) return result;
  if (!value->is_array() && wrong(name, *value, "a list of addresses")) return result;
  for (const Json& item : *value) {
    const auto ip = item.is_string() ? IpAddr::parse(item.get_ref<const std::string&>()) : std::nullopt;
    if (!ip && wrong(name, item, "an address")) continue;
    result.push_back(*ip);
  }
  return result;
}

std::vector<std::pair<std::string, std::string>> RecordFields::labels(const char* name) const {
  std::vector<std::pair<std::string, std::string>> result;
  const Json* value = find(name);
  if (value == nullptr) return result;
  if (!value->is_object() && wrong(name, *value, "an object of texts")) return result;
  for (const auto& [key, item] : value->items()) {
    if (!item.is_string() && wrong(name, item, "a text")) continue;
    result.emplace_back(key, item.get<std::string>());
  }
  return result;
}

std::string dump_record(const nlohmann::ordered_json& record) {
  return record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace knet
