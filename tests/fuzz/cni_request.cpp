// The plugin's parser of network configs and CNI_ARGS: whatever comes, a request or a CniError. Input: config, then a NUL,
// then CNI_ARGS.
#include <cstdint>
#include <string>

#include "cni/request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t nul = text.find('\0');
  knet::CniEnvironment environment{{"CNI_COMMAND", "GC"}};
  const std::string config = text.substr(0, nul);
  for (const char* command : {"ADD", "CHECK", "GC"}) {
    environment["CNI_COMMAND"] = command;
    environment["CNI_CONTAINERID"] = environment["CNI_IFNAME"] = "c";
    environment["CNI_NETNS"] = "/n";
    environment["CNI_ARGS"] = nul == std::string::npos ? "" : text.substr(nul + 1);
    try {
      knet::parse_cni_request(environment, config);
    } catch (const knet::CniError&) {
    }
  }
  return 0;
}
