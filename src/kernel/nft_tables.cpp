#include "kernel/nft_tables.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/digest.h"
#include "base/error.h"
#include "kernel/nft_render.h"

namespace knet {

namespace {

constexpr std::string_view kSealComment = "knet:seal ";
constexpr std::string_view kForwardComment = "knet:forward:";
// Somebody else commits at the same moment: another turn. Each try is a fresh look.
constexpr int kTries = 10;
constexpr size_t kHex = 16;

bool is_our_table(std::string_view name) { return name == "knet" || name.starts_with("knet-"); }

/// The comment in a rule's userdata (libnftnl's TLVs: type, length, bytes with NUL).
std::string_view comment_of(Attr userdata) {
  auto* bytes = static_cast<const char*>(userdata.data());
  size_t left = userdata.size();
  while (left >= 2) {
    size_t size = static_cast<uint8_t>(bytes[1]);
    if (size + 2 > left) return {};
    if (bytes[0] == 0) {
      std::string_view text(bytes + 2, size);
      return text.substr(0, text.find('\0'));
    }
    bytes += size + 2;
    left -= size + 2;
  }
  return {};
}

/// The comment as iptables-nft writes it back after a save and restore: an xt match.
std::string_view xt_comment_of(Attr expressions) {
  std::string_view comment;
  expressions.for_each([&](Attr element) {
    Attrs<NFTA_EXPR_DATA> expr(element);
    if (expr[NFTA_EXPR_NAME].text() != "match") return;
    Attrs<NFTA_MATCH_INFO> match(expr[NFTA_EXPR_DATA]);
    if (match[NFTA_MATCH_NAME].text() == "comment") comment = match[NFTA_MATCH_INFO].text();
  });
  return comment;
}

std::optional<uint64_t> parse_hex(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct Seal {
  uint64_t digest = 0;
  uint64_t fingerprint = 0;
};

std::optional<Seal> parse_seal(std::string_view comment) {
  if (!comment.starts_with(kSealComment)) return std::nullopt;
  comment.remove_prefix(kSealComment.size());
  if (comment.size() != 2 * kHex + 1) return std::nullopt;
  auto digest = parse_hex(comment.substr(0, kHex));
  auto print = parse_hex(comment.substr(kHex + 1));
  if (!digest || !print) return std::nullopt;
  return Seal{*digest, *print};
}

/// "knet:forward:from:10.244.0.0/16"
bool parse_forward(std::string_view comment, ForwardAccept& out) {
  if (!comment.starts_with(kForwardComment)) return false;
  comment.remove_prefix(kForwardComment.size());
  out.source = comment.starts_with("from:");
  if (!out.source && !comment.starts_with("to:")) return false;
  auto prefix = Prefix::parse(comment.substr(comment.find(':') + 1));
  if (prefix) out.network = *prefix;
  return prefix.has_value();
}

/// What the dump of a table comes to; handles, positions, counters and use counts left out.
class Fingerprint {
 public:
  void add(std::string_view bytes) {
    uint64_t size = bytes.size();
    value_ = fingerprint({reinterpret_cast<const char*>(&size), sizeof size}, value_);
    value_ = fingerprint(bytes, value_);
  }
  void add(Attr attr) { add({static_cast<const char*>(attr.data()), attr.size()}); }
  void reset() { value_ = fingerprint({}); }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = fingerprint({});
};

void add_expressions(Fingerprint& print, Attr list) {
  list.for_each([&](Attr element) {
    Attrs<NFTA_EXPR_DATA> expr(element);
    print.add(expr[NFTA_EXPR_NAME].text());
    if (expr[NFTA_EXPR_NAME].text() != "counter") print.add(expr[NFTA_EXPR_DATA]);
  });
}

}  // namespace

struct NftTables::State {
  std::unique_ptr<NlSocket> socket = open_netfilter_socket();
  NlMessage message;

  bool dump(int type, uint8_t family, const std::function<void(NlMessage&)>& filter, const std::function<void()>& reset,
            const std::function<void(const nlmsghdr*, uint8_t)>& each) {
    if (!socket) return false;
    begin_nft(message, type, 0, family);
    if (filter) filter(message);
    auto result = socket->dump(message, reset, [&](const nlmsghdr* answer) {
      each(answer, static_cast<const nfgenmsg*>(NLMSG_DATA(answer))->nfgen_family);
    });
    return result == NlSocket::Dump::whole;
  }

  std::optional<uint32_t> generation() {
    std::optional<uint32_t> id;
    begin_nft(message, NFT_MSG_GETGEN, 0, AF_UNSPEC);
    NlFailure failure = socket->request(message, [&](const nlmsghdr* answer) {
      id = Attrs<NFTA_GEN_ID>(answer, sizeof(nfgenmsg))[NFTA_GEN_ID].be32();
    });
    return failure.error ? std::nullopt : id;
  }

  /// False: not read whole. `seal` gets what is written in the table, if anything.
  bool fingerprint_of(const std::string& table, Fingerprint& print, std::optional<Seal>& seal) {
    // Each dump starts the sum anew when it is repeated: so every part has its own, and they are joined at the end.
    Fingerprint tables, chains, rules, sets;
    std::vector<std::string> names;
    bool whole =
        dump(
            NFT_MSG_GETTABLE, NFPROTO_INET, {}, [&] { tables.reset(); },
            [&](const nlmsghdr* answer, uint8_t) {
              Attrs<NFTA_TABLE_FLAGS> attrs(answer, sizeof(nfgenmsg));
              if (attrs[NFTA_TABLE_NAME].text() == table) tables.add(attrs[NFTA_TABLE_FLAGS]);
            }) &&
        dump(
            NFT_MSG_GETCHAIN, NFPROTO_INET, {}, [&] { chains.reset(); },
            [&](const nlmsghdr* answer, uint8_t) {
              Attrs<NFTA_CHAIN_FLAGS> attrs(answer, sizeof(nfgenmsg));
              if (attrs[NFTA_CHAIN_TABLE].text() != table) return;
              for (int type : {NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY, NFTA_CHAIN_TYPE, NFTA_CHAIN_FLAGS})
                chains.add(attrs[type]);
            }) &&
        dump(
            NFT_MSG_GETRULE, NFPROTO_INET, [&](NlMessage& m) { m.put_text(NFTA_RULE_TABLE, table); },
            [&] {
              rules.reset();
              seal.reset();
            },
            [&](const nlmsghdr* answer, uint8_t) {
              Attrs<NFTA_RULE_USERDATA> attrs(answer, sizeof(nfgenmsg));
              if (attrs[NFTA_RULE_TABLE].text() != table) return;
              if (attrs[NFTA_RULE_CHAIN].text() == kSealChain) {
                seal = parse_seal(comment_of(attrs[NFTA_RULE_USERDATA]));
                return;
              }
              rules.add(attrs[NFTA_RULE_CHAIN]);
              rules.add(attrs[NFTA_RULE_USERDATA]);
              add_expressions(rules, attrs[NFTA_RULE_EXPRESSIONS]);
            }) &&
        dump(
            NFT_MSG_GETSET, NFPROTO_INET, [&](NlMessage& m) { m.put_text(NFTA_SET_TABLE, table); },
            [&] {
              sets.reset();
              names.clear();
            },
            [&](const nlmsghdr* answer, uint8_t) {
              Attrs<NFTA_SET_KEY_LEN> attrs(answer, sizeof(nfgenmsg));
              if (attrs[NFTA_SET_TABLE].text() != table) return;
              for (int type : {NFTA_SET_NAME, NFTA_SET_FLAGS, NFTA_SET_KEY_TYPE}) sets.add(attrs[type]);
              names.emplace_back(attrs[NFTA_SET_NAME].text());
            });
    for (const std::string& name : names) {
      Fingerprint elements;
      whole = whole && dump(
                           NFT_MSG_GETSETELEM, NFPROTO_INET,
                           [&](NlMessage& m) {
                             m.put_text(NFTA_SET_ELEM_LIST_TABLE, table).put_text(NFTA_SET_ELEM_LIST_SET, name);
                           },
                           [&] { elements.reset(); },
                           [&](const nlmsghdr* answer, uint8_t) {
                             Attrs<NFTA_SET_ELEM_LIST_ELEMENTS> attrs(answer, sizeof(nfgenmsg));
                             attrs[NFTA_SET_ELEM_LIST_ELEMENTS].for_each([&](Attr element) { elements.add(element); });
                           });
      sets.add(fmt::format("{:x}", elements.value()));
    }
    for (const Fingerprint& part : {tables, chains, rules, sets}) print.add(fmt::format("{:x}", part.value()));
    return whole;
  }

  NlFailure seal_table(const NftTable& table) {
    NlFailure result;
    for (int left = kTries; left > 0; --left) {
      auto now = generation();
      Fingerprint print;
      std::optional<Seal> seal;
      if (!now || !fingerprint_of(table.name, print, seal)) {
        result = {0, EAGAIN, "the table could not be read back"};
        continue;
      }
      NftTransaction transaction(*socket);
      render_seal(transaction, table.name, fmt::format("{}{:016x} {:016x}", kSealComment, table.digest, print.value()));
      result = transaction.commit(now);
      if (result.error != ERESTART && result.error != EAGAIN) return result;
    }
    return result;
  }

  template <typename Render>
  NlFailure commit(Render render) {
    if (!socket) return {0, EOPNOTSUPP, "this kernel has no netfilter"};
    NlFailure result;
    for (int left = kTries; left > 0; --left) {
      NftTransaction transaction(*socket);
      render(transaction);
      result = transaction.commit();
      if (result.error != ERESTART && result.error != EAGAIN) return result;
    }
    return result;
  }

  struct ForwardChain {
    ForeignChain chain;
    bool drops = false;
    bool docker_user = false;
  };
  bool forward_chains(std::vector<ForwardChain>& out) {
    return dump(
        NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, {}, [&] { out.clear(); },
        [&](const nlmsghdr* answer, uint8_t family) {
          Family of = family == NFPROTO_IPV4 ? Family::v4 : family == NFPROTO_IPV6 ? Family::v6 : Family::none;
          if (of == Family::none && family != NFPROTO_INET) return;
          Attrs<NFTA_CHAIN_TYPE> attrs(answer, sizeof(nfgenmsg));
          ForwardChain found;
          found.chain = {of, std::string(attrs[NFTA_CHAIN_TABLE].text()), std::string(attrs[NFTA_CHAIN_NAME].text())};
          if (of == Family::none && is_our_table(found.chain.table)) return;
          if (attrs[NFTA_CHAIN_HOOK]) {
            Attrs<NFTA_HOOK_HOOKNUM> hook(attrs[NFTA_CHAIN_HOOK]);
            if (hook[NFTA_HOOK_HOOKNUM].be32() != NF_INET_FORWARD || attrs[NFTA_CHAIN_TYPE].text() != "filter") return;
            found.drops = attrs[NFTA_CHAIN_POLICY] && attrs[NFTA_CHAIN_POLICY].be32() == NF_DROP;
          } else {
            found.docker_user = found.chain.chain == "DOCKER-USER";
            if (!found.docker_user) return;
          }
          out.push_back(std::move(found));
        });
  }

  bool rules_of(const ForeignChain& chain, const std::function<void()>& reset,
                const std::function<void(std::string_view comment, uint64_t handle)>& each) {
    return dump(
        NFT_MSG_GETRULE, nfproto_of(chain.family),
        [&](NlMessage& m) { m.put_text(NFTA_RULE_TABLE, chain.table).put_text(NFTA_RULE_CHAIN, chain.chain); }, reset,
        [&](const nlmsghdr* answer, uint8_t) {
          Attrs<NFTA_RULE_USERDATA> attrs(answer, sizeof(nfgenmsg));
          if (attrs[NFTA_RULE_CHAIN].text() != chain.chain || attrs[NFTA_RULE_TABLE].text() != chain.table) return;
          auto comment = comment_of(attrs[NFTA_RULE_USERDATA]);
          if (comment.empty()) comment = xt_comment_of(attrs[NFTA_RULE_EXPRESSIONS]);
          each(comment, attrs[NFTA_RULE_HANDLE].be64());
        });
  }
};

NftTables::NftTables() : state_(std::make_unique<State>()) {}
NftTables::~NftTables() = default;
uint32_t NftTables::port() const { return state_->socket ? state_->socket->port() : 0; }

bool NftTables::read_tables(std::vector<NftTable>& out) {
  std::vector<std::string> names;
  bool whole = state_->dump(
      NFT_MSG_GETTABLE, NFPROTO_INET, {}, [&] { names.clear(); },
      [&](const nlmsghdr* answer, uint8_t family) {
        auto name = Attrs<NFTA_TABLE_NAME>(answer, sizeof(nfgenmsg))[NFTA_TABLE_NAME].text();
        if (family == NFPROTO_INET && is_our_table(name)) names.emplace_back(name);
      });
  if (!whole) return false;
  for (std::string& name : names) {
    Fingerprint print;
    std::optional<Seal> seal;
    if (!state_->fingerprint_of(name, print, seal)) return false;
    NftTable& table = out.emplace_back();
    table.name = std::move(name);
    table.digest = seal && seal->fingerprint == print.value() ? seal->digest : 0;
  }
  return true;
}

bool NftTables::read_forward(std::vector<ForwardAccept>& accepts, std::vector<ForeignChain>& drops) {
  std::vector<State::ForwardChain> chains;
  if (!state_->forward_chains(chains)) return false;
  bool whole = true;
  for (const State::ForwardChain& found : chains) {
    size_t start = accepts.size();
    whole = state_->rules_of(
                found.chain, [&] { accepts.resize(start); },
                [&](std::string_view comment, uint64_t) {
                  ForwardAccept accept;
                  accept.chain = found.chain;
                  if (parse_forward(comment, accept)) accepts.push_back(std::move(accept));
                }) &&
            whole;
    if (!found.drops) continue;
    // Docker leaves DOCKER-USER alone and jumps to it first; FORWARD itself it rewrites.
    auto user = std::find_if(chains.begin(), chains.end(), [&](const State::ForwardChain& other) {
      return other.docker_user && other.chain.family == found.chain.family && other.chain.table == found.chain.table;
    });
    drops.push_back(user == chains.end() ? found.chain : user->chain);
  }
  std::sort(drops.begin(), drops.end());
  drops.erase(std::unique(drops.begin(), drops.end()), drops.end());
  return whole;
}

NlFailure NftTables::write_table(const NftTable& table) {
  NlFailure written = state_->commit([&](NftTransaction& transaction) { render_table(transaction, table); });
  return written.error ? written : state_->seal_table(table);
}

NlFailure NftTables::remove_table(const std::string& name) {
  return state_->commit([&](NftTransaction& transaction) { render_table_removal(transaction, name); });
}

NlFailure NftTables::add_accept(const ForwardAccept& accept) {
  return state_->commit([&](NftTransaction& transaction) { render_accept(transaction, accept); });
}

NlFailure NftTables::remove_accept(const ForwardAccept& accept) {
  std::vector<uint64_t> handles;
  state_->rules_of(
      accept.chain, [&] { handles.clear(); },
      [&](std::string_view comment, uint64_t handle) {
        ForwardAccept found;
        found.chain = accept.chain;
        if (parse_forward(comment, found) && found.key() == accept.key()) handles.push_back(handle);
      });
  if (handles.empty()) return {0, ENOENT, "there is no such rule"};
  return state_->commit([&](NftTransaction& transaction) {
    for (uint64_t handle : handles) {
      begin_nft(transaction.message, NFT_MSG_DELRULE, 0, nfproto_of(accept.chain.family));
      transaction.message.put_text(NFTA_RULE_TABLE, accept.chain.table).put_text(NFTA_RULE_CHAIN, accept.chain.chain);
      transaction.message.put_be64(NFTA_RULE_HANDLE, handle);
      transaction.add();
    }
  });
}

}  // namespace knet
