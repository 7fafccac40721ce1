// A node's presence record.
#include "core/records.h"
#include "tests/fuzz/fuzz_target.h"

using namespace knet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::try_parse([&] {
    const NodeRecord node = parse_node(fuzz::text(data, size));
    fuzz::hold(parse_node(format_node(node)) == node);
  });
  return 0;
}
