// Our nf_tables tables and the accept rules that we put into foreign forward chains, over nfnetlink. One thread; the
// namespace is that in which it was made. Whole tables are replaced in one atomic batch; a table counts as intact while
// its dump (handles and counters left out) has the fingerprint that it had after our commit.
// Source: include/uapi/linux/netfilter/nf_tables.h.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/netstate.h"
#include "kernel/netlink.h"

namespace knet {

class NftTables {
 public:
  /// Opens a socket; no privilege needed. Everything else answers false or an errno where nf_tables is missing.
  NftTables();
  ~NftTables();

  uint32_t port() const;

  /// Our tables ("knet" and those that begin with "knet-"), digest 0 where not intact or not provable. False: not read.
  bool read_tables(std::vector<NftTable>& out);
  /// Accept rules with our comment, and foreign base chains at the forward hook whose policy is drop.
  bool read_forward(std::vector<ForwardAccept>& accepts, std::vector<ForeignChain>& drops);

  // error 0 if fine. Each is one transaction.
  NlFailure write_table(const NftTable& table);
  NlFailure remove_table(const std::string& name);
  NlFailure add_accept(const ForwardAccept& accept);
  NlFailure remove_accept(const ForwardAccept& accept);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace knet
