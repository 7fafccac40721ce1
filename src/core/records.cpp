#include "core/records.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "core/json_fields.h"

namespace knet {
namespace {

constexpr size_t kLongestName = 253;
constexpr size_t kLongestLabel = 63;

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/// Why a part between dots is no RFC 1123 label; empty if it is one.
std::string_view wrong_label(std::string_view label) {
  if (label.empty()) return "an empty part between dots";
  if (label.size() > kLongestLabel) return "a part longer than 63 bytes";
  if (!is_letter_or_digit(label.front()) || !is_letter_or_digit(label.back())) {
    return "a part that does not begin and end with a letter or digit";
  }
  const bool fits = std::all_of(label.begin(), label.end(), [](char c) { return is_letter_or_digit(c) || c == '-'; });
  return fits ? std::string_view{} : "a character other than a-z, 0-9, '-' and '.'";
}

/// The name in a record of somebody else's: it goes into tables, files and commands to type.
void check_read_name(std::string_view what, std::string_view field, std::string_view name) {
  try {
    check_node_name(name);
  } catch (const Error&) {
    fail(ErrorKind::config, "{}: {} is \"{}\", not a node's name", what, field, printable(name));
  }
}

}  // namespace

std::string format_node(const NodeRecord& node) {
  nlohmann::ordered_json record;
  record["schema"] = node.schema;
  record["name"] = node.name;
  record["machine_id"] = node.machine_id;
  if (!node.instance.empty()) record["instance"] = node.instance;
  record["subnets"] = nlohmann::ordered_json::array();
  for (const Prefix& subnet : node.subnets) record["subnets"].push_back(subnet.str());
  if (node.public_ip) record["public_ip"] = node.public_ip.str();
  if (node.public_ip6) record["public_ip6"] = node.public_ip6.str();
  if (node.asn) record["asn"] = *node.asn;
  if (node.reflector) record["reflector"] = *node.reflector;
  if (!node.labels.empty()) {
    for (const auto& [key, value] : node.labels) record["labels"][key] = value;
  }
  record["version"] = node.version;
  record["seen_rev"] = node.seen_rev;
  if (!node.receives.empty()) record["receives"] = node.receives;
  for (const auto& [mode, why] : node.modes) record["modes"][mode] = why;
  return dump_record(record);
}

NodeRecord parse_node(std::string_view json) {
  const nlohmann::json record = parse_json(json, "node record");
  const RecordFields fields(record, "node record", kSchema);
  NodeRecord node;
  node.schema = fields.schema();
  node.name = fields.needed_text("name");
  check_read_name("node record", "name", node.name);
  node.machine_id = fields.text("machine_id").value_or("");
  node.instance = fields.text("instance").value_or("");
  node.subnets = fields.prefixes("subnets");
  node.public_ip = fields.address("public_ip");
  node.public_ip6 = fields.address("public_ip6");
  if (const auto asn = fields.integer("asn")) {
    if (*asn < 0 || *asn > std::numeric_limits<uint32_t>::max()) {
      fail(ErrorKind::config, "node record: asn is {}; give 0 to 4294967295", *asn);
    }
    node.asn = static_cast<uint32_t>(*asn);
  }
  node.reflector = fields.text("reflector");
  node.labels = fields.labels("labels");
  node.version = fields.text("version").value_or("");
  node.seen_rev = fields.integer("seen_rev").value_or(0);
  // Display only: of whatever a node tells there, what can be read.
  if (const auto receives = record.find("receives"); receives != record.end() && receives->is_array()) {
    for (const auto& mode : *receives)
      if (mode.is_string()) node.receives.push_back(printable(mode.get<std::string>(), kLongestLabel));
  }
  if (const auto modes = record.find("modes"); modes != record.end() && modes->is_object()) {
    for (const auto& [mode, why] : modes->items())
      if (why.is_string()) node.modes.emplace_back(mode, why.get<std::string>());
  }
  return node;
}

std::string format_reservation(const Reservation& reservation) {
  nlohmann::ordered_json record;
  record["schema"] = kSchema;
  record["node"] = reservation.node;
  return dump_record(record);
}

Reservation parse_reservation(std::string_view json) {
  const nlohmann::json record = parse_json(json, "reservation");
  Reservation reservation{RecordFields(record, "reservation", kSchema).needed_text("node")};
  check_read_name("reservation", "node", reservation.node);
  return reservation;
}

std::string format_schema(int schema) { return std::to_string(schema); }

int parse_schema(std::string_view value) {
  const auto schema = parse_int(trim(value));
  if (!schema || *schema < 1 || *schema > std::numeric_limits<int>::max()) {
    fail(ErrorKind::config, "schema is \"{}\", not a number from 1 on", printable(value));
  }
  return static_cast<int>(*schema);
}

void check_node_name(std::string_view name) {
  if (name.empty()) fail(ErrorKind::usage, "the node name is empty; give --node-name");
  if (name.size() > kLongestName) {
    fail(ErrorKind::usage, "node name {} has {} bytes; at most {} are allowed", printable(name), name.size(),
         kLongestName);
  }
  std::string_view wrong;
  for (size_t from = 0; wrong.empty() && from <= name.size();) {
    const size_t dot = std::min(name.find('.', from), name.size());
    wrong = wrong_label(name.substr(from, dot - from));
    from = dot + 1;
  }
  if (wrong.empty()) return;
  std::string hint = lower(name);
  std::replace(hint.begin(), hint.end(), '_', '-');
  bool helps = true;
  for (std::string_view label : split(hint, '.')) helps = helps && wrong_label(label).empty();
  fail(ErrorKind::usage, "node name {} has {}{}", printable(name), wrong,
       helps && !hint.ends_with('.') ? "; give " + hint : "");
}

}  // namespace knet
