// What the plugin prints (CNI spec 1.1, section 5): success results in the asked version's shape, and error objects.
#pragma once

#include <string>
#include <vector>

#include "cni/request.h"
#include "core/endpoint.h"

namespace knet {

struct CniResult {
  Endpoint endpoint;
  Mac host_mac;
};

std::string format_cni_result(const CniRequest& request, const CniResult& result);
std::string format_cni_versions(const std::string& asked);
std::string format_cni_error(const std::string& version, int code, const std::string& message,
                             const std::string& details = "");

}  // namespace knet
