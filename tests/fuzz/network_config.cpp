// The network config's JSON: what is accepted is written and read again as the same value, and can be cut into subnets.
#include "core/config.h"
#include "core/mode.h"
#include "core/subnets.h"
#include "tests/fuzz/fuzz_target.h"

using namespace knet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json = fuzz::text(data, size);
  (void)implied_mode(json);
  fuzz::try_parse([&] {
    std::vector<std::string> notices;
    const NetworkConfig config = parse_network_config(json, mode_registry(), &notices);
    const std::string text = format_network_config(config);
    fuzz::hold(parse_network_config(text, mode_registry()) == config);
    fuzz::hold(compare(config, config, mode_registry()).empty());
    const auto choice = choose_subnet(config, {}, {}, size);
    fuzz::hold(choice && fits(config, *choice));
  });
  return 0;
}
