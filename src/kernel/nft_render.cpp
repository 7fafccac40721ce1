#include "kernel/nft_render.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace knet {

namespace {

// nft's datatype numbers (include/datatype.h in nftables): they only serve its listing.
constexpr uint32_t kTypeIpv4Addr = 7;
constexpr uint32_t kTypeIpv6Addr = 8;
constexpr size_t kElementsPerMessage = 256;
// NFNL_MSG_BATCH_BEGIN with its one attribute, the generation.
constexpr size_t kBeginBytes = NLMSG_HDRLEN + sizeof(nfgenmsg) + NLA_HDRLEN + sizeof(uint32_t);
// libnftnl's TLV in a rule's userdata: type 0 is the comment.
constexpr uint8_t kUserdataComment = 0;

/// One expression of the rule under construction; its data nest stays open while it lives.
class Expr {
 public:
  Expr(NlMessage& message, std::string_view name)
      : element_(message.nest(NFTA_LIST_ELEM)), name_(message, name), data_(message.nest(NFTA_EXPR_DATA)) {}

 private:
  struct Name {
    Name(NlMessage& message, std::string_view name) { message.put_text(NFTA_EXPR_NAME, name); }
  };
  NlMessage::Nest element_;
  Name name_;
  NlMessage::Nest data_;
};

void put_value(NlMessage& message, int type, const void* bytes, size_t size) {
  auto data = message.nest(type);
  message.put(NFTA_DATA_VALUE, bytes, size);
}

void meta(NlMessage& message, uint32_t key) {
  Expr expr(message, "meta");
  message.put_be32(NFTA_META_DREG, NFT_REG_1).put_be32(NFTA_META_KEY, key);
}

void compare(NlMessage& message, bool negate, const void* bytes, size_t size) {
  Expr expr(message, "cmp");
  message.put_be32(NFTA_CMP_SREG, NFT_REG_1).put_be32(NFTA_CMP_OP, negate ? NFT_CMP_NEQ : NFT_CMP_EQ);
  put_value(message, NFTA_CMP_DATA, bytes, size);
}

void mask(NlMessage& message, const void* bytes, size_t size) {
  static const char zeros[16] = {};
  Expr expr(message, "bitwise");
  message.put_be32(NFTA_BITWISE_SREG, NFT_REG_1).put_be32(NFTA_BITWISE_DREG, NFT_REG_1);
  message.put_be32(NFTA_BITWISE_LEN, static_cast<uint32_t>(size));
  put_value(message, NFTA_BITWISE_MASK, bytes, size);
  put_value(message, NFTA_BITWISE_XOR, zeros, size);
}

void verdict(NlMessage& message, int32_t code) {
  Expr expr(message, "immediate");
  message.put_be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  auto data = message.nest(NFTA_IMMEDIATE_DATA);
  auto inner = message.nest(NFTA_DATA_VERDICT);
  message.put_be32(NFTA_VERDICT_CODE, static_cast<uint32_t>(code));
}

void counter(NlMessage& message) {
  Expr expr(message, "counter");
  message.put_be64(NFTA_COUNTER_BYTES, 0).put_be64(NFTA_COUNTER_PACKETS, 0);
}

void load_address(NlMessage& message, Family family, bool source) {
  bool v4 = family == Family::v4;
  Expr expr(message, "payload");
  message.put_be32(NFTA_PAYLOAD_DREG, NFT_REG_1).put_be32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
  // Offsets of saddr and daddr: RFC 791 3.1, RFC 8200 3.
  message.put_be32(NFTA_PAYLOAD_OFFSET, v4 ? (source ? 12 : 16) : (source ? 8 : 24));
  message.put_be32(NFTA_PAYLOAD_LEN, v4 ? 4 : 16);
}

IpAddr mask_of(const Prefix& prefix) {
  IpAddr all = prefix.addr();
  memset(all.data(), 0xff, all.size());
  return Prefix(all, prefix.length()).masked().addr();
}

void match_prefix(NlMessage& message, const Prefix& prefix, bool source, bool negate) {
  load_address(message, prefix.family(), source);
  IpAddr bits = mask_of(prefix);
  if (!prefix.is_host()) mask(message, bits.data(), bits.size());
  IpAddr value = prefix.masked().addr();
  compare(message, negate, value.data(), value.size());
}

struct Range {
  IpAddr first;
  IpAddr last;
};

/// Disjoint ranges, neighbours joined: what an interval set takes.
std::vector<Range> ranges_of(const std::vector<Prefix>& prefixes) {
  std::vector<Range> ranges;
  for (const Prefix& prefix : prefixes) ranges.push_back({prefix.masked().addr(), prefix.last()});
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  std::vector<Range> merged;
  for (const Range& range : ranges) {
    if (!merged.empty()) {
      IpAddr& last = merged.back().last;
      IpAddr next = last.plus(1);
      if (range.first <= last || (next > last && range.first == next)) {
        last = std::max(last, range.last);
        continue;
      }
    }
    merged.push_back(range);
  }
  return merged;
}

struct Element {
  IpAddr key;
  bool end;
};

/// Adds an anonymous interval set to the transaction; its id.
uint32_t add_set(NftTransaction& transaction, std::string_view table, const std::vector<Prefix>& prefixes) {
  NlMessage& message = transaction.message;
  bool v4 = prefixes.front().is_v4();
  uint32_t id = transaction.next_set_id();
  begin_nft(message, NFT_MSG_NEWSET, NLM_F_CREATE, NFPROTO_INET);
  message.put_text(NFTA_SET_TABLE, table).put_text(NFTA_SET_NAME, "__set%d");
  message.put_be32(NFTA_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_INTERVAL);
  message.put_be32(NFTA_SET_KEY_TYPE, v4 ? kTypeIpv4Addr : kTypeIpv6Addr).put_be32(NFTA_SET_KEY_LEN, v4 ? 4 : 16);
  message.put_be32(NFTA_SET_ID, id);
  transaction.add();

  std::vector<Element> elements;
  IpAddr zero = v4 ? IpAddr::v4(0) : *IpAddr::parse("::");
  auto ranges = ranges_of(prefixes);
  // As nft does: the gap before the first range is closed too.
  if (!ranges.empty() && ranges.front().first != zero) elements.push_back({zero, true});
  for (const Range& range : ranges) {
    elements.push_back({range.first, false});
    IpAddr next = range.last.plus(1);
    if (next > range.last) elements.push_back({next, true});
  }
  for (size_t at = 0; at < elements.size(); at += kElementsPerMessage) {
    begin_nft(message, NFT_MSG_NEWSETELEM, NLM_F_CREATE, NFPROTO_INET);
    message.put_text(NFTA_SET_ELEM_LIST_TABLE, table).put_text(NFTA_SET_ELEM_LIST_SET, "__set%d");
    message.put_be32(NFTA_SET_ELEM_LIST_SET_ID, id);
    {
      auto list = message.nest(NFTA_SET_ELEM_LIST_ELEMENTS);
      for (size_t i = at; i < std::min(at + kElementsPerMessage, elements.size()); ++i) {
        auto element = message.nest(NFTA_LIST_ELEM);
        if (elements[i].end) message.put_be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
        put_value(message, NFTA_SET_ELEM_KEY, elements[i].key.data(), elements[i].key.size());
      }
    }
    transaction.add();
  }
  return id;
}

/// Writes a rule's expressions; sets were added before it, their ids in order.
struct ExprWriter {
  NlMessage& message;
  std::vector<uint32_t> set_ids;
  Family checked = Family::none;
  size_t next_set = 0;

  void check_family(Family family) {
    if (checked == family) return;
    uint8_t proto = nfproto_of(family);
    meta(message, NFT_META_NFPROTO);
    compare(message, false, &proto, sizeof proto);
    checked = family;
  }
  void operator()(const NftAddressIn& e) {
    check_family(e.prefixes.front().family());
    if (e.prefixes.size() == 1) return match_prefix(message, e.prefixes.front(), e.source, e.negate);
    load_address(message, e.prefixes.front().family(), e.source);
    Expr expr(message, "lookup");
    message.put_text(NFTA_LOOKUP_SET, "__set%d").put_be32(NFTA_LOOKUP_SREG, NFT_REG_1);
    message.put_be32(NFTA_LOOKUP_SET_ID, set_ids[next_set++]);
    if (e.negate) message.put_be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  }
  void operator()(const NftInterfaceIs& e) {
    char name[16] = {};
    bool beginning = !e.name.empty() && e.name.back() == '*';
    size_t size = std::min(e.name.size() - (beginning ? 1 : 0), sizeof name - 1);
    memcpy(name, e.name.data(), size);
    meta(message, e.input ? NFT_META_IIFNAME : NFT_META_OIFNAME);
    compare(message, e.negate, name, beginning ? size : sizeof name);
  }
  void operator()(const NftMulticastDestination& e) {
    check_family(e.family);
    Prefix multicast = e.family == Family::v4 ? Prefix(IpAddr::v4(0xe0000000), 4) : *Prefix::parse("ff00::/8");
    match_prefix(message, multicast, false, e.negate);
  }
  void operator()(const NftMarkIs& e) {
    meta(message, NFT_META_MARK);
    if (e.mask != 0xffffffff) mask(message, &e.mask, sizeof e.mask);
    compare(message, false, &e.value, sizeof e.value);
  }
  void operator()(const NftProtocolIs& e) {
    meta(message, NFT_META_L4PROTO);
    compare(message, e.negate, &e.protocol, sizeof e.protocol);
  }
  void operator()(const NftUdpPortIs& e) {
    {
      Expr expr(message, "payload");
      message.put_be32(NFTA_PAYLOAD_DREG, NFT_REG_1).put_be32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
      message.put_be32(NFTA_PAYLOAD_OFFSET, 2).put_be32(NFTA_PAYLOAD_LEN, 2);  // RFC 768
    }
    const uint8_t port[2] = {static_cast<uint8_t>(e.port >> 8), static_cast<uint8_t>(e.port)};
    compare(message, false, port, sizeof port);
  }
  void operator()(const NftEstablished&) {
    {
      Expr expr(message, "ct");
      message.put_be32(NFTA_CT_DREG, NFT_REG_1).put_be32(NFTA_CT_KEY, NFT_CT_STATE);
    }
    // NF_CT_STATE_BIT() of IP_CT_ESTABLISHED and IP_CT_RELATED (linux/netfilter/nf_conntrack_common.h).
    const uint32_t states = 1u << 1 | 1u << 2, none = 0;
    mask(message, &states, sizeof states);
    compare(message, true, &none, sizeof none);
  }
  void operator()(const NftCounter&) { counter(message); }
  void operator()(const NftAccept&) { verdict(message, NF_ACCEPT); }
  void operator()(const NftDrop&) { verdict(message, NF_DROP); }
  void operator()(const NftReturn&) { verdict(message, NFT_RETURN); }
  void operator()(const NftMasquerade& e) {
    Expr expr(message, "masq");
    if (e.fully_random) message.put_be32(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
  }
};

void put_comment(NlMessage& message, std::string_view comment) {
  std::string userdata;
  userdata += static_cast<char>(kUserdataComment);
  userdata += static_cast<char>(comment.size() + 1);
  userdata += comment;
  userdata += '\0';
  message.put(NFTA_RULE_USERDATA, userdata.data(), userdata.size());
}

void add_rule(NftTransaction& transaction, std::string_view table, std::string_view chain, const NftRule& rule) {
  ExprWriter writer{transaction.message, {}};
  for (const NftExpr& expr : rule.exprs)
    if (auto* in = std::get_if<NftAddressIn>(&expr)) {
      if (in->prefixes.empty()) fail(ErrorKind::bug, "nft rule {} matches an empty list of prefixes", rule.key);
      if (in->prefixes.size() > 1) writer.set_ids.push_back(add_set(transaction, table, in->prefixes));
    }
  NlMessage& message = transaction.message;
  begin_nft(message, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, NFPROTO_INET);
  message.put_text(NFTA_RULE_TABLE, table).put_text(NFTA_RULE_CHAIN, chain);
  {
    auto list = message.nest(NFTA_RULE_EXPRESSIONS);
    for (const NftExpr& expr : rule.exprs) std::visit(writer, expr);
  }
  put_comment(message, std::string(kNftComment) + rule.key);
  transaction.add();
}

void add_chain(NftTransaction& transaction, std::string_view table, const NftChain* chain) {
  NlMessage& message = transaction.message;
  begin_nft(message, NFT_MSG_NEWCHAIN, NLM_F_CREATE, NFPROTO_INET);
  message.put_text(NFTA_CHAIN_TABLE, table)
      .put_text(NFTA_CHAIN_NAME, chain ? std::string_view(chain->name) : kSealChain);
  if (chain) {
    {
      auto hook = message.nest(NFTA_CHAIN_HOOK);
      message.put_be32(NFTA_HOOK_HOOKNUM, static_cast<uint32_t>(chain->hook));
      message.put_be32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(chain->priority));
    }
    message.put_be32(NFTA_CHAIN_POLICY, NF_ACCEPT).put_text(NFTA_CHAIN_TYPE, chain->nat ? "nat" : "filter");
  }
  transaction.add();
}

void table_message(NftTransaction& transaction, int type, std::string_view name) {
  begin_nft(transaction.message, type, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0, NFPROTO_INET);
  transaction.message.put_text(NFTA_TABLE_NAME, name);
  transaction.add();
}

void batch_edge(NlMessage& message, int type) {
  nfgenmsg head{};
  head.nfgen_family = AF_UNSPEC;
  head.version = NFNETLINK_V0;
  head.res_id = htons(NFNL_SUBSYS_NFTABLES);
  message.begin(type, 0, head);
}

}  // namespace

NlMessage& begin_nft(NlMessage& message, int type, int flags, uint8_t family) {
  nfgenmsg head{};
  head.nfgen_family = family;
  head.version = NFNETLINK_V0;
  return message.begin(NFNL_SUBSYS_NFTABLES << 8 | type, flags, head);
}

uint8_t nfproto_of(Family family) {
  return family == Family::v4 ? NFPROTO_IPV4 : family == Family::v6 ? NFPROTO_IPV6 : NFPROTO_INET;
}

void NftTransaction::append(const NlMessage& what) {
  what.header()->nlmsg_seq = last_seq_ = socket_.next_seq();
  size_t at = bytes_.size();
  bytes_.resize(at + NLMSG_ALIGN(what.size()));
  memcpy(bytes_.data() + at, what.header(), what.size());
}

void NftTransaction::add() {
  if (bytes_.empty()) {
    // Room for BEGIN, which is known only at commit.
    bytes_.resize(kBeginBytes);
    first_seq_ = socket_.next_seq();
  }
  last_ = bytes_.size();
  append(message);
}

NlFailure NftTransaction::commit(std::optional<uint32_t> generation) {
  NlMessage begin(256);
  batch_edge(begin, NFNL_MSG_BATCH_BEGIN);
  if (generation) begin.put_be32(NFNL_BATCH_GENID, *generation);
  begin.header()->nlmsg_seq = first_seq_;
  size_t skip = kBeginBytes - begin.size();
  memcpy(bytes_.data() + skip, begin.header(), begin.size());
  reinterpret_cast<nlmsghdr*>(bytes_.data() + last_)->nlmsg_flags |= NLM_F_ACK;
  uint32_t acked = last_seq_;
  NlMessage end(256);
  batch_edge(end, NFNL_MSG_BATCH_END);
  append(end);
  try {
    socket_.send(bytes_.data() + skip, bytes_.size() - skip);
  } catch (const Error& error) {
    return {0, ENOBUFS, error.text};
  }
  // Everything was done, and every answer queued, when send() returned.
  NlFailure result{0, EIO, "no answer from nf_tables"};
  bool refused = false;
  socket_.receive_waiting([&](const nlmsghdr* head) {
    if (head->nlmsg_type != NLMSG_ERROR || head->nlmsg_seq < first_seq_ || head->nlmsg_seq > last_seq_) return;
    int error = 0;
    memcpy(&error, NLMSG_DATA(head), sizeof error);
    if (error && !refused) {
      refused = true;
      result = {0, -error, ack_reason(head, -error)};
    }
    if (!error && head->nlmsg_seq == acked && !refused) result = {};
  });
  return result;
}

void render_table(NftTransaction& transaction, const NftTable& table) {
  // New, deleted, new: whether or not there was one.
  render_table_removal(transaction, table.name);
  table_message(transaction, NFT_MSG_NEWTABLE, table.name);
  for (const NftChain& chain : table.rules.chains) add_chain(transaction, table.name, &chain);
  add_chain(transaction, table.name, nullptr);
  for (const NftChain& chain : table.rules.chains)
    for (const NftRule& rule : chain.rules) add_rule(transaction, table.name, chain.name, rule);
}

void render_table_removal(NftTransaction& transaction, const std::string& name) {
  table_message(transaction, NFT_MSG_NEWTABLE, name);
  table_message(transaction, NFT_MSG_DELTABLE, name);
}

void render_seal(NftTransaction& transaction, const std::string& table, std::string_view comment) {
  NlMessage& message = transaction.message;
  begin_nft(message, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, NFPROTO_INET);
  message.put_text(NFTA_RULE_TABLE, table).put_text(NFTA_RULE_CHAIN, kSealChain);
  {
    auto list = message.nest(NFTA_RULE_EXPRESSIONS);
    verdict(message, NFT_RETURN);
  }
  put_comment(message, comment);
  transaction.add();
}

void render_accept(NftTransaction& transaction, const ForwardAccept& accept) {
  NlMessage& message = transaction.message;
  begin_nft(message, NFT_MSG_NEWRULE, NLM_F_CREATE, nfproto_of(accept.chain.family));
  message.put_text(NFTA_RULE_TABLE, accept.chain.table).put_text(NFTA_RULE_CHAIN, accept.chain.chain);
  {
    auto list = message.nest(NFTA_RULE_EXPRESSIONS);
    ExprWriter writer{message, {}};
    if (accept.chain.family == Family::none) writer.check_family(accept.network.family());
    match_prefix(message, accept.network, accept.source, false);
    counter(message);
    verdict(message, NF_ACCEPT);
  }
  put_comment(message, fmt::format("{}forward:{}:{}", kNftComment, accept.source ? "from" : "to",
                                   accept.network.masked().str()));
  transaction.add();
}

}  // namespace knet
