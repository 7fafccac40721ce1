// Rulesets of core/nft.h as nf_tables messages, and the transaction that carries them. Private to src/kernel.
// Expressions are those that nft and iptables-nft emit themselves, so that both can list what we made.
// Source: include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/netstate.h"
#include "kernel/netlink.h"

namespace knet {

/// Comments of our rules begin with this; nft lists them.
inline constexpr std::string_view kNftComment = "knet:";
/// An unhooked chain whose one rule's comment holds digest and fingerprint: see NftTables.
inline constexpr std::string_view kSealChain = "seal";

/// Begins a message of the nf_tables subsystem; `type` is NFT_MSG_*, `family` NFPROTO_*.
NlMessage& begin_nft(NlMessage& message, int type, int flags, uint8_t family);
uint8_t nfproto_of(Family family);  // none: inet

/// One transaction: all of it or nothing.
class NftTransaction {
 public:
  explicit NftTransaction(NlSocket& socket) : socket_(socket) {}
  NlMessage message{32 << 10};
  void add();  // what stands in `message`
  uint32_t next_set_id() { return ++set_id_; }
  /// With a generation: ERESTART if the ruleset has changed since. ENOBUFS if it is too big for the socket.
  NlFailure commit(std::optional<uint32_t> generation = {});

 private:
  void append(const NlMessage& message);
  NlSocket& socket_;
  std::vector<char> bytes_;
  uint32_t first_seq_ = 0;
  uint32_t last_seq_ = 0;
  size_t last_ = 0;
  uint32_t set_id_ = 0;
};

/// The table anew, in place of one that may be there, with an empty seal chain.
void render_table(NftTransaction& transaction, const NftTable& table);
void render_table_removal(NftTransaction& transaction, const std::string& name);
void render_seal(NftTransaction& transaction, const std::string& table, std::string_view comment);
/// At the head of its chain.
void render_accept(NftTransaction& transaction, const ForwardAccept& accept);

}  // namespace knet
