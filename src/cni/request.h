// What a runtime asks of the plugin: environment and network config (CNI spec 1.1, sections 1 and 2), checked. Hostile
// input: names are held to the spec's alphabets before they become paths or device names.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cni/plugin.h"
#include "core/endpoint.h"

namespace knet {

/// An error with its CNI code, where the spec names a code of its own for the case.
struct CniError : Error {
  CniError(int code, ErrorKind kind, std::string text) : Error(kind, std::move(text)), code(code) {}
  int code;
};

inline constexpr int kCniIncompatibleVersion = 1;
inline constexpr int kCniInvalidEnvironment = 4;
inline constexpr int kCniDecodingFailure = 6;
inline constexpr int kCniInvalidConfig = 7;
inline constexpr int kCniTryAgainLater = 11;
inline constexpr int kCniNotAvailable = 50;

/// The part of prevResult that CHECK looks at.
struct PreviousResult {
  std::vector<Prefix> addresses;
};

struct CniRequest {
  std::string command;
  std::string version = "0.1.0";  // cniVersion of the config; 0.1.0 where it is absent, as the spec says
  std::string network;
  std::string container;
  std::string ifname;
  std::string netns;
  std::string pod;  // "namespace/name"
  std::filesystem::path state_dir = "/var/lib/knet";
  std::filesystem::path run_dir = "/run/knet";
  uint32_t mtu = 0;            // 0: subnet.env's
  std::vector<IpAddr> wanted;  // CNI_ARGS IP= or runtimeConfig.ips
  std::optional<PreviousResult> previous;
  std::string dns;  // config's dns object, compact JSON, passed through into the result
  struct Attachment {
    std::string container, ifname;
  };
  std::optional<std::vector<Attachment>> valid_attachments;  // GC

  std::string id() const { return endpoint_id(network, container, ifname); }
};

/// Versions of the spec that the plugin speaks, oldest first.
const std::vector<std::string>& cni_versions();
/// a < b by the numbers of "1.0.0".
bool cni_older(std::string_view a, std::string_view b);

/// Throws CniError. What a command does not need is not demanded (DEL without a netns, VERSION without anything).
CniRequest parse_cni_request(const CniEnvironment& environment, const std::string& config);

}  // namespace knet
