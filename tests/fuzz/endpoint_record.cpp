// A pod's endpoint record in the run directory.
#include "core/endpoint.h"
#include "tests/fuzz/fuzz_target.h"

using namespace knet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::try_parse([&] {
    const Endpoint endpoint = parse_endpoint(fuzz::text(data, size));
    fuzz::hold(parse_endpoint(format_endpoint(endpoint)) == endpoint);
  });
  return 0;
}
