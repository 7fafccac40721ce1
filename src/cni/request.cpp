#include "cni/request.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/text.h"

namespace knet {
namespace {

using nlohmann::json;

[[noreturn]] void bad_environment(std::string text) {
  throw CniError(kCniInvalidEnvironment, ErrorKind::usage, std::move(text));
}
[[noreturn]] void bad_config(std::string text) {
  throw CniError(kCniInvalidConfig, ErrorKind::config, std::move(text));
}

bool alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

/// Spec: starts with an alphanumeric, then any of alphanumerics, '_', '.', '-'.
bool is_cni_name(std::string_view text) {
  if (text.empty() || text.size() > 255 || !alphanumeric(text.front())) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

/// Spec: not empty, at most 15 bytes, not "." or "..", no '/', ':' or white space.
bool is_interface_name(std::string_view text) {
  if (text.empty() || text.size() > 15 || text == "." || text == "..") return false;
  return std::none_of(text.begin(), text.end(),
                      [](unsigned char c) { return c == '/' || c == ':' || c <= ' ' || c == 127; });
}

std::string text_or(const json& object, const char* key, const std::string& fallback) {
  const auto at = object.find(key);
  if (at == object.end() || at->is_null()) return fallback;
  if (!at->is_string()) bad_config(fmt::format("network config: {} is {}, not a text", key, printable(at->dump())));
  return at->get<std::string>();
}

std::filesystem::path directory_or(const json& object, const char* key, const std::filesystem::path& fallback) {
  const std::filesystem::path path = text_or(object, key, fallback.string());
  if (!path.is_absolute())
    bad_config(fmt::format("network config: {} is {}, not an absolute path", key, printable(path.string())));
  return path;
}

IpAddr wanted_address(std::string_view text, std::string_view where) {
  const std::string_view bare = text.substr(0, text.find('/'));
  const auto ip = IpAddr::parse(bare);
  if (!ip) bad_config(fmt::format("{}: {} is not an address", where, printable(text)));
  return *ip;
}

/// CNI_ARGS: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;IP=10.244.1.9". Unknown keys are passed over.
void read_arguments(std::string_view text, CniRequest& request) {
  std::string pod_namespace;
  std::string pod_name;
  for (std::string_view pair : split(text, ';')) {
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos)
      bad_environment(fmt::format("CNI_ARGS: '{}' is no KEY=VALUE", printable(pair)));
    const std::string_view key = pair.substr(0, equals);
    const std::string_view value = pair.substr(equals + 1);
    if (key == "K8S_POD_NAMESPACE")
      pod_namespace = value;
    else if (key == "K8S_POD_NAME")
      pod_name = value;
    else if (key == "IP") {
      for (std::string_view one : split(value, ',')) request.wanted.push_back(wanted_address(one, "CNI_ARGS: IP"));
    }
  }
  if (!pod_name.empty()) request.pod = pod_namespace + "/" + pod_name;
}

PreviousResult read_previous(const json& previous) {
  PreviousResult result;
  if (!previous.is_object()) bad_config("network config: prevResult is not an object");
  const auto ips = previous.find("ips");
  if (ips == previous.end()) return result;
  if (!ips->is_array()) bad_config("network config: prevResult.ips is not a list");
  for (const json& ip : *ips) {
    if (!ip.is_object()) bad_config("network config: prevResult.ips holds something that is not an object");
    const std::string text = text_or(ip, "address", "");
    const auto prefix = Prefix::parse(text);
    if (!prefix)
      bad_config(fmt::format("network config: prevResult.ips: {} is not an address with its length", printable(text)));
    result.addresses.push_back(*prefix);
  }
  return result;
}

std::vector<CniRequest::Attachment> read_attachments(const json& list) {
  std::vector<CniRequest::Attachment> attachments;
  if (!list.is_array()) bad_config("network config: cni.dev/valid-attachments is not a list");
  for (const json& item : list) {
    if (!item.is_object())
      bad_config("network config: cni.dev/valid-attachments holds something that is not an object");
    attachments.push_back({text_or(item, "containerID", ""), text_or(item, "ifname", "")});
  }
  return attachments;
}

void read_config(const std::string& text, CniRequest& request) {
  json config;
  try {
    config = parse_json(text, "network config on stdin");
  } catch (const Error& error) {
    throw CniError(kCniDecodingFailure, ErrorKind::config, error.text);
  }
  if (!config.is_object())
    throw CniError(kCniDecodingFailure, ErrorKind::config, "network config on stdin is not an object");

  request.version = text_or(config, "cniVersion", request.version);
  const auto& known = cni_versions();
  if (std::find(known.begin(), known.end(), request.version) == known.end()) {
    throw CniError(kCniIncompatibleVersion, ErrorKind::config,
                   fmt::format("network config: cniVersion {} is not one that knet speaks ({})",
                               printable(request.version), join(known, ", ")));
  }
  request.network = text_or(config, "name", "");
  request.state_dir = directory_or(config, "stateDir", request.state_dir);
  request.run_dir = directory_or(config, "runDir", request.run_dir);
  if (const auto mtu = config.find("mtu"); mtu != config.end()) {
    const bool fits = mtu->is_number_integer() &&
                      (mtu->get<int64_t>() == 0 || (mtu->get<int64_t>() >= 68 && mtu->get<int64_t>() <= 65535));
    if (!fits) bad_config(fmt::format("network config: mtu {} is not 0 or 68 to 65535", printable(mtu->dump())));
    request.mtu = mtu->get<uint32_t>();
  }
  if (const auto dns = config.find("dns"); dns != config.end() && dns->is_object() && !dns->empty())
    request.dns = dns->dump();
  if (const auto runtime = config.find("runtimeConfig"); runtime != config.end() && runtime->is_object()) {
    if (const auto ips = runtime->find("ips"); ips != runtime->end() && ips->is_array()) {
      for (const json& ip : *ips) {
        if (!ip.is_string()) bad_config("network config: runtimeConfig.ips holds something that is not a text");
        request.wanted.push_back(wanted_address(ip.get<std::string>(), "runtimeConfig.ips"));
      }
    }
  }
  if (const auto previous = config.find("prevResult"); previous != config.end() && !previous->is_null())
    request.previous = read_previous(*previous);
  if (const auto valid = config.find("cni.dev/valid-attachments"); valid != config.end())
    request.valid_attachments = read_attachments(*valid);
}

}  // namespace

const std::vector<std::string>& cni_versions() {
  static const std::vector<std::string> versions{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
  return versions;
}

bool cni_older(std::string_view a, std::string_view b) {
  const auto& versions = cni_versions();
  return std::find(versions.begin(), versions.end(), a) < std::find(versions.begin(), versions.end(), b);
}

CniRequest parse_cni_request(const CniEnvironment& environment, const std::string& config) {
  auto variable = [&](const char* name) {
    const auto at = environment.find(name);
    return at == environment.end() ? std::string() : at->second;
  };
  CniRequest request;
  request.command = variable("CNI_COMMAND");
  if (request.command == "VERSION") return request;
  static const std::vector<std::string> commands{"ADD", "DEL", "CHECK", "STATUS", "GC"};
  if (std::find(commands.begin(), commands.end(), request.command) == commands.end()) {
    bad_environment(fmt::format("CNI_COMMAND is '{}'; knet knows ADD, DEL, CHECK, STATUS, GC and VERSION",
                                printable(request.command)));
  }
  read_config(config, request);
  if (request.command == "STATUS") return request;
  if (!is_cni_name(request.network))
    bad_config(fmt::format("network config: name '{}' is not a network's name", printable(request.network)));
  if (request.command == "GC") {
    if (!request.valid_attachments) bad_config("network config: GC without cni.dev/valid-attachments");
    return request;
  }

  request.container = variable("CNI_CONTAINERID");
  request.ifname = variable("CNI_IFNAME");
  request.netns = variable("CNI_NETNS");
  if (!is_cni_name(request.container))
    bad_environment(fmt::format("CNI_CONTAINERID is '{}': not a container's id", printable(request.container)));
  if (!is_interface_name(request.ifname))
    bad_environment(fmt::format("CNI_IFNAME is '{}': not an interface's name (1 to 15 bytes, no '/', ':' or blank)",
                                printable(request.ifname)));
  if (request.command != "DEL" && request.netns.empty())
    bad_environment(fmt::format("CNI_NETNS is empty; {} needs the container's network namespace", request.command));
  read_arguments(variable("CNI_ARGS"), request);
  if (request.command == "CHECK" && !request.previous) bad_config("network config: CHECK without prevResult");
  return request;
}

}  // namespace knet
