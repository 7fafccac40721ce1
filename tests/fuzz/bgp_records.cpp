// BGP's records of the store and the grammars inside of them, by the first byte: r a rule, s a selector, c the settings,
// p a peer, n a node's. What is accepted is written, read again as the same, and written the same.
#include "core/bgp.h"
#include "core/selector.h"
#include "tests/fuzz/fuzz_target.h"

using namespace knet;

namespace {

// These two are what people type: their errors are of usage.
template <typename Parse>
void try_typed(Parse&& parse) {
  try {
    parse();
  } catch (const Error& error) {
    fuzz::hold(error.kind == ErrorKind::usage && !error.text.empty() && error.text.size() < 1000 &&
               error.text.find('\n') == std::string::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input = fuzz::text(data + 1, size - 1);
  switch (data[0]) {
    case 'r':
      try_typed([&] {
        const BgpRule rule = parse_bgp_rule(input);
        fuzz::hold(parse_bgp_rule(format(rule)) == rule);
      });
      break;
    case 's':
      try_typed([&] {
        const Selector selector(input);
        const Labels labels{{"gpu", ""}, {"rack", "a"}, {"zone", "x"}};
        const Selector again(selector.str());
        fuzz::hold(again.str() == selector.str());
        fuzz::hold(again.matches(labels) == selector.matches(labels));
      });
      break;
    case 'c':
      fuzz::try_parse([&] {
        const BgpConfig config = parse_bgp_config(input);
        fuzz::hold(parse_bgp_config(format_bgp_config(config)) == config);
      });
      break;
    case 'p':
      fuzz::try_parse([&] {
        const BgpPeerSpec peer = parse_bgp_peer("tor", input);
        fuzz::hold(parse_bgp_peer("tor", format_bgp_peer(peer)) == peer);
      });
      break;
    case 'n':
      fuzz::try_parse([&] {
        const NodeSpec spec = parse_node_spec("n1", input);
        fuzz::hold(parse_node_spec("n1", format_node_spec(spec)) == spec);
      });
      break;
    default:
      break;
  }
  return 0;
}
