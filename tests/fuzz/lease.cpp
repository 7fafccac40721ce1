// A subnet key, a line feed, and the value at it. What is accepted is written and read again as the same lease.
#include "core/lease.h"

#include "tests/fuzz/fuzz_target.h"

using namespace knet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input = fuzz::text(data, size);
  const size_t feed = input.find('\n');
  if (feed == std::string_view::npos) return 0;
  const auto key = parse_subnet_key(input.substr(0, feed));
  if (!key) return 0;
  fuzz::hold(format_subnet_key(key->subnet, key->subnet6) == input.substr(0, feed));
  fuzz::try_parse([&] {
    const Lease lease = parse_lease(*key, input.substr(feed + 1), "udp");
    const std::string value = format_lease(lease);
    fuzz::hold(parse_lease(*key, value, "alloc").same_content(lease));
    fuzz::hold(format_lease(parse_lease(*key, value, "alloc")) == value);
  });
  return 0;
}
