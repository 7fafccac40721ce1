#include "cni/plugin.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/file.h"
#include "base/text.h"
#include "cni/attach.h"
#include "cni/request.h"
#include "cni/result.h"

extern char** environ;

namespace knet {
namespace {

constexpr size_t kMaxConfig = 1u << 20;

/// The version that the caller speaks, as far as it can be told from a config that may be broken.
std::string asked_version(const std::string& config) {
  const size_t key = config.find("\"cniVersion\"");
  if (key == std::string::npos) return "";
  const size_t open = config.find('"', config.find(':', key));
  const size_t close = open == std::string::npos ? open : config.find('"', open + 1);
  if (close == std::string::npos || close - open > 16) return "";
  const std::string version = config.substr(open + 1, close - open - 1);
  return version.find_first_not_of("0123456789.") == std::string::npos ? version : "";
}

std::string execute(const CniRequest& request, const std::string& asked) {
  if (request.command == "VERSION") return format_cni_versions(asked);
  if (request.command == "ADD") return format_cni_result(request, attach(request));
  if (request.command == "DEL") detach(request);
  if (request.command == "GC") collect(request);
  if (request.command == "STATUS") {
    refuse_without_pods(request, kCniNotAvailable);
    node_subnet(request, kCniNotAvailable);
  }
  if (request.command == "CHECK") {
    const auto wrong = check_attached(request);
    if (!wrong.empty())
      fail(ErrorKind::kernel, "{} of container {}: {}", request.ifname, request.container, join(wrong, "; "));
  }
  return "";
}

}  // namespace

int run_cni(const CniEnvironment& environment, const std::string& config, std::string& out) {
  const std::string asked = asked_version(config);
  const std::string version = asked.empty() ? cni_versions().back() : asked;
  try {
    out = execute(parse_cni_request(environment, config), asked);
    return kExitOk;
  } catch (const CniError& error) {
    out = format_cni_error(version, error.code, error.text);
  } catch (const Error& error) {
    out = format_cni_error(version, cni_code(error.kind), error.text);
  } catch (const std::exception& error) {
    out = format_cni_error(version, cni_code(ErrorKind::bug), error.what());
  }
  return kExitFailed;
}

int cni_main() {
  CniEnvironment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, "CNI_", 4) != 0) continue;
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  std::string out;
  int status = kExitFailed;
  try {
    const std::string config =
        ::isatty(STDIN_FILENO) ? "" : read_all(STDIN_FILENO, "network config on stdin", kMaxConfig);
    status = run_cni(environment, config, out);
  } catch (const Error& error) {
    out = format_cni_error(cni_versions().back(), kCniDecodingFailure, error.text);
  }
  std::fwrite(out.data(), 1, out.size(), stdout);
  return std::fflush(stdout) == 0 ? status : kExitFailed;
}

}  // namespace knet
