#include "cni/result.h"

#include <nlohmann/json.hpp>

namespace knet {
namespace {

using json = nlohmann::ordered_json;

std::string default_destination(Family family) { return family == Family::v4 ? "0.0.0.0/0" : "::/0"; }

/// Before 0.3.0 a result has one address per family under ip4 and ip6.
json old_result(const CniResult& result) {
  json out;
  for (const IpAddr& address : result.endpoint.addresses) {
    json ip{{"ip", Prefix::host(address).str()}, {"gateway", pod_gateway(address.family()).str()}};
    ip["routes"] =
        json::array({{{"dst", default_destination(address.family())}, {"gw", pod_gateway(address.family()).str()}}});
    out[address.is_v4() ? "ip4" : "ip6"] = std::move(ip);
  }
  return out;
}

json new_result(const CniRequest& request, const CniResult& result) {
  const Endpoint& endpoint = result.endpoint;
  json out;
  out["interfaces"] = json::array({
      {{"name", endpoint.host_dev.str()}, {"mac", result.host_mac.str()}},
      {{"name", endpoint.ifname}, {"mac", endpoint.mac.str()}, {"sandbox", endpoint.netns}},
  });
  json ips = json::array();
  json routes = json::array();
  for (const IpAddr& address : endpoint.addresses) {
    json ip;
    if (cni_older(request.version, "1.0.0")) ip["version"] = address.is_v4() ? "4" : "6";
    ip["interface"] = 1;
    ip["address"] = Prefix::host(address).str();
    ips.push_back(std::move(ip));
    routes.push_back({{"dst", default_destination(address.family())}, {"gw", pod_gateway(address.family()).str()}});
  }
  out["ips"] = std::move(ips);
  out["routes"] = std::move(routes);
  return out;
}

}  // namespace

std::string format_cni_result(const CniRequest& request, const CniResult& result) {
  json out{{"cniVersion", request.version}};
  out.update(cni_older(request.version, "0.3.0") ? old_result(result) : new_result(request, result));
  out["dns"] = request.dns.empty() ? json::object() : json::parse(request.dns);
  return out.dump() + "\n";
}

std::string format_cni_versions(const std::string& asked) {
  return json{{"cniVersion", asked.empty() ? cni_versions().back() : asked}, {"supportedVersions", cni_versions()}}
             .dump() +
         "\n";
}

std::string format_cni_error(const std::string& version, int code, const std::string& message,
                             const std::string& details) {
  json out{{"cniVersion", version}, {"code", code}, {"msg", message}};
  if (!details.empty()) out["details"] = details;
  return out.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace knet
