#include "kernel/bypassed.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "kernel/nft_render.h"

namespace knet {

namespace {

constexpr uint32_t kNetdevEgress = 1;  // NF_NETDEV_EGRESS, younger than some headers

bool read_qdiscs(NlSocket& socket, Bypassed& out) {
  NlMessage message;
  tcmsg head{};
  message.begin(RTM_GETQDISC, 0, head);
  return socket.dump(
             message, [&] { out.qdiscs.clear(), out.shaped.clear(); },
             [&](const nlmsghdr* answer) {
               const auto* seen = static_cast<const tcmsg*>(NLMSG_DATA(answer));
               const auto kind = Attrs<TCA_KIND>(answer, sizeof *seen)[TCA_KIND].text();
               if (kind == "clsact" || kind == "ingress")
                 out.qdiscs.push_back(seen->tcm_ifindex);
               else if (kind != "noqueue")
                 out.shaped.push_back(seen->tcm_ifindex);
             }) == NlSocket::Dump::whole;
}

/// Of the families netdev and inet.
bool read_chains(Bypassed& out) {
  const auto socket = open_netfilter_socket();
  if (!socket) return true;  // no netfilter
  NlMessage message;
  begin_nft(message, NFT_MSG_GETCHAIN, 0, NFPROTO_UNSPEC);
  const auto read = socket->dump(
      message, [&] { out.chains.clear(), out.egress_chains.clear(); },
      [&](const nlmsghdr* answer) {
        const uint8_t family = static_cast<const nfgenmsg*>(NLMSG_DATA(answer))->nfgen_family;
        const Attr nest = Attrs<NFTA_CHAIN_HOOK>(answer, sizeof(nfgenmsg))[NFTA_CHAIN_HOOK];
        if (!nest || (family != NFPROTO_NETDEV && family != NFPROTO_INET)) return;
        const Attrs<NFTA_HOOK_DEVS> hook(nest);
        const uint32_t number = hook[NFTA_HOOK_HOOKNUM].be32();
        const bool netdev = family == NFPROTO_NETDEV, egress = netdev && number == kNetdevEgress;
        if (!egress && number != (netdev ? uint32_t{NF_NETDEV_INGRESS} : uint32_t{NF_INET_INGRESS})) return;
        std::vector<std::string>& names = egress ? out.egress_chains : out.chains;
        if (hook[NFTA_HOOK_DEV]) names.emplace_back(hook[NFTA_HOOK_DEV].text());
        if (const Attr list = hook[NFTA_HOOK_DEVS]) list.for_each([&](Attr dev) { names.emplace_back(dev.text()); });
      });
  return read == NlSocket::Dump::whole || socket->dump_error() == EOPNOTSUPP || socket->dump_error() == EINVAL;
}

/// Sockets' own policies are no matter of what is forwarded.
bool read_ipsec(bool& any) {
  std::unique_ptr<NlSocket> socket;
  try {
    socket = std::make_unique<NlSocket>(NETLINK_XFRM);
  } catch (const Error&) {
    return true;  // a kernel without
  }
  NlMessage message;
  const uint32_t flags = 0;
  const NlFailure asked = socket->request(message.begin(XFRM_MSG_GETSPDINFO, 0, flags), [&](const nlmsghdr* answer) {
    const Attr info = Attrs<XFRMA_SPD_INFO>(answer, sizeof flags)[XFRMA_SPD_INFO];
    xfrmu_spdinfo counts{};
    if (info.size() < sizeof counts) return;
    memcpy(&counts, info.data(), sizeof counts);
    any = counts.incnt + counts.outcnt + counts.fwdcnt > 0;
  });
  return asked.error == 0;
}

}  // namespace

bool Bypassed::on_egress(const LinkIndex::Entry& link) const {
  return std::find(qdiscs.begin(), qdiscs.end(), link.index) != qdiscs.end() ||
         std::find(shaped.begin(), shaped.end(), link.index) != shaped.end() ||
         std::find(egress_chains.begin(), egress_chains.end(), link.name.view()) != egress_chains.end();
}

bool Bypassed::on(const LinkIndex::Entry& link) const {
  return ipsec || std::find(qdiscs.begin(), qdiscs.end(), link.index) != qdiscs.end() ||
         std::find(chains.begin(), chains.end(), link.name.view()) != chains.end();
}

Bypassed read_bypassed(NlSocket& route) {
  Bypassed out;
  const bool all[] = {read_qdiscs(route, out), read_chains(out), read_ipsec(out.ipsec)};
  out.whole = std::all_of(std::begin(all), std::end(all), [](bool read) { return read; });
  return out;
}

}  // namespace knet
