#include "core/endpoint.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "core/json_fields.h"

namespace knet {
namespace {

constexpr int kEndpointSchema = 1;
constexpr size_t kIdDigits = 11;

void check_id(std::string_view id) {
  const bool hex =
      std::all_of(id.begin(), id.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (id.size() != kIdDigits || !hex)
    fail(ErrorKind::config, "endpoint: id is \"{}\", not {} hex digits", printable(id), kIdDigits);
}

}  // namespace

std::string endpoint_id(std::string_view network, std::string_view container, std::string_view ifname) {
  return sha1_hex(fmt::format("{}/{}/{}", network, container, ifname), kIdDigits);
}

DevName pod_link_name(std::string_view id) { return DevName(fmt::format("knet{}", id)); }

std::string format_endpoint(const Endpoint& endpoint) {
  nlohmann::ordered_json record;
  record["schema"] = kEndpointSchema;
  record["id"] = endpoint.id;
  record["network"] = endpoint.network;
  record["container"] = endpoint.container;
  record["ifname"] = endpoint.ifname;
  record["netns"] = endpoint.netns;
  if (!endpoint.pod.empty()) record["pod"] = endpoint.pod;
  record["host_dev"] = endpoint.host_dev.str();
  record["mac"] = endpoint.mac.str();
  record["addresses"] = nlohmann::ordered_json::array();
  for (const IpAddr& ip : endpoint.addresses) record["addresses"].push_back(ip.str());
  if (!endpoint.labels.empty()) {
    for (const auto& [key, value] : endpoint.labels) record["labels"][key] = value;
  }
  return dump_record(record);
}

Endpoint parse_endpoint(std::string_view json) {
  const nlohmann::json record = parse_json(json, "endpoint");
  const RecordFields fields(record, "endpoint", kEndpointSchema);
  Endpoint endpoint;
  endpoint.id = fields.needed_text("id");
  check_id(endpoint.id);
  endpoint.network = fields.text("network").value_or("");
  endpoint.container = fields.needed_text("container");
  endpoint.ifname = fields.needed_text("ifname");
  endpoint.netns = fields.text("netns").value_or("");
  endpoint.pod = fields.text("pod").value_or("");
  const std::string dev = fields.text("host_dev").value_or("knet" + endpoint.id);
  if (dev != "knet" + endpoint.id)
    fail(ErrorKind::config, "endpoint: host_dev is \"{}\", not knet{}", printable(dev), endpoint.id);
  endpoint.host_dev = DevName(dev);
  const std::string mac = fields.needed_text("mac");
  const auto parsed = Mac::parse(mac);
  if (!parsed) fail(ErrorKind::config, "endpoint: mac is \"{}\", not a MAC", printable(mac));
  endpoint.mac = *parsed;
  endpoint.addresses = fields.addresses("addresses");
  endpoint.labels = fields.labels("labels");
  return endpoint;
}

void drop_linkless(std::vector<Endpoint>& endpoints, const Observed& observed) {
  if (!observed.complete.test(static_cast<size_t>(Kind::link))) return;
  std::erase_if(endpoints, [&](const Endpoint& e) { return observed.net.find_link(e.host_dev) == nullptr; });
}

Mac pod_gateway_mac() { return Mac{{0xee, 0xee, 0xee, 0xee, 0xee, 0xee}}; }

IpAddr pod_gateway(Family family) {
  if (family == Family::v4) return IpAddr::v4(0xa9fe0101);  // 169.254.1.1
  return *IpAddr::parse("fe80::ecee:eeff:feee:eeee");       // EUI-64 of pod_gateway_mac()
}

}  // namespace knet
