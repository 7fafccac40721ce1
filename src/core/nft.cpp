#include "core/nft.h"

#include <fmt/core.h>

#include "base/digest.h"

namespace knet {

namespace {

// Each expression as unambiguous text: what renders differently must read differently here.
struct ExprText {
  std::string& out;
  void operator()(const NftAddressIn& e) const {
    out += fmt::format("addr {} {}", e.source, e.negate);
    for (const Prefix& prefix : e.prefixes) out += " " + prefix.str();
  }
  void operator()(const NftInterfaceIs& e) const {
    out += fmt::format("iface {} {} {}:{}", e.input, e.negate, e.name.size(), e.name);
  }
  void operator()(const NftMulticastDestination& e) const {
    out += fmt::format("multicast {} {}", e.negate, static_cast<int>(e.family));
  }
  void operator()(const NftMarkIs& e) const { out += fmt::format("mark {:#x} {:#x}", e.mask, e.value); }
  void operator()(const NftProtocolIs& e) const { out += fmt::format("protocol {} {}", e.negate, e.protocol); }
  void operator()(const NftEstablished&) const { out += "established"; }
  void operator()(const NftUdpPortIs& e) const { out += fmt::format("udp port {}", e.port); }
  void operator()(const NftCounter&) const { out += "counter"; }
  void operator()(const NftAccept&) const { out += "accept"; }
  void operator()(const NftDrop&) const { out += "drop"; }
  void operator()(const NftReturn&) const { out += "return"; }
  void operator()(const NftMasquerade& e) const { out += fmt::format("masquerade {}", e.fully_random); }
};

}  // namespace

uint64_t digest(const NftRuleset& rules) {
  std::string text;
  for (const NftChain& chain : rules.chains) {
    text += fmt::format("chain {} {} {} {}\n", chain.name, chain.nat, static_cast<int>(chain.hook), chain.priority);
    for (const NftRule& rule : chain.rules) {
      text += fmt::format("rule {}:{}", rule.key.size(), rule.key);
      for (const NftExpr& expr : rule.exprs) {
        text += ";";
        std::visit(ExprText{text}, expr);
      }
      text += "\n";
    }
  }
  const uint64_t value = fingerprint(text);
  return value != 0 ? value : 1;
}

}  // namespace knet
