#include "kernel/bpf_tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <tuple>

#include "base/error.h"
#include "base/text.h"
#include "core/names.h"
#include "core/ownership.h"
#include "kernel/bpf/tunnel_abi.h"
#include "kernel/bpf_program.h"
#include "kernel/rtnl.h"
#include "kernel/rtnl_read.h"

namespace knet {

namespace {

// All of ours on a device hang here, told apart by their handles; 107 as in our routes' protocol.
constexpr uint32_t kPriority = 107;
constexpr uint32_t kIngress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
constexpr uint32_t kEgress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);

uint32_t parent_of(TunnelEnd end) { return end == TunnelEnd::encap ? kEgress : kIngress; }

tcmsg head_of(int index, TunnelEnd end, uint32_t handle) {
  tcmsg head{};
  head.tcm_ifindex = index;
  head.tcm_parent = parent_of(end);
  head.tcm_handle = handle;
  head.tcm_info = TC_H_MAKE(kPriority << 16, htons(0x0003));  // ETH_P_ALL
  return head;
}

/// What a filter was made of, as its name says: "knet/encap/knet.udp/udp/8285/192.0.2.1/-/DIGEST/CODE/7.2.0".
struct Label {
  Filter filter;
  uint64_t code = 0;
  bpf::Place place;
};

std::string label_text(const Label& label) {
  const Filter& f = label.filter;
  return fmt::format("knet/{}/{}/{}/{}/{}/{}/{:x}/{:x}/{}.{}.{}", f.end == TunnelEnd::encap ? "encap" : "decap",
                     f.tunnel.view(), f.wire == TunnelWire::udp ? "udp" : "ipip", f.port, f.local.str(),
                     f.local6.str(), f.digest, label.code, label.place.tunnel, label.place.uplink4,
                     label.place.uplink6);
}

std::optional<uint64_t> number(std::string_view text, int base) {
  char buffer[24] = {};
  if (text.empty() || text.size() >= sizeof buffer) return std::nullopt;
  memcpy(buffer, text.data(), text.size());
  char* end = nullptr;
  errno = 0;
  const uint64_t value = strtoull(buffer, &end, base);
  if (errno || *end) return std::nullopt;
  return value;
}

/// Nothing for a name that is not ours.
std::optional<Label> parse_label(std::string_view text) {
  const std::vector<std::string_view> words = split(text, '/');
  if (words.size() != 10 || words[0] != "knet" || (words[1] != "encap" && words[1] != "decap") ||
      words[2].empty() || words[2].size() > 15 || words[2].find_first_of(" \t\n\v\f\r") != words[2].npos || (words[3] != "udp" && words[3] != "ipip"))
    return std::nullopt;
  const std::vector<std::string_view> indexes = split(words[9], '.');
  const auto port = number(words[4], 10), digest = number(words[7], 16), code = number(words[8], 16);
  if (indexes.size() != 3 || !port || !digest || !code) return std::nullopt;
  Label label;
  Filter& f = label.filter;
  f.end = words[1] == "encap" ? TunnelEnd::encap : TunnelEnd::decap;
  f.tunnel = DevName(words[2]);
  f.wire = words[3] == "udp" ? TunnelWire::udp : TunnelWire::ipip;
  f.port = static_cast<uint16_t>(*port);
  f.local = IpAddr::parse(words[5]).value_or(IpAddr());
  f.local6 = IpAddr::parse(words[6]).value_or(IpAddr());
  f.digest = *digest;
  label.code = *code;
  uint32_t* const places[] = {&label.place.tunnel, &label.place.uplink4, &label.place.uplink6};
  for (size_t i = 0; i < 3; ++i) {
    const auto index = number(indexes[i], 10);
    if (!index) return std::nullopt;
    *places[i] = static_cast<uint32_t>(*index);
  }
  return label;
}

// What tcx has no name for: the label, in a map that the program holds.
constexpr bpf::MapShape kLabelMap = {BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), 192, 1, 0, "knet_label"};
constexpr uint32_t kLabelKey = 0;

std::optional<Label> read_label(const bpf::ProgramInfo& program) {
  for (uint32_t id : program.maps) {
    const Fd map = bpf::open_map(id, kLabelMap);
    char text[kLabelMap.value_bytes + 1] = {};
    if (map && bpf::map_get(map, &kLabelKey, text)) return parse_label(text);
  }
  return std::nullopt;
}

/// False with errno.
bool write_label(const Fd& program, const Label& label) {
  const std::string text = label_text(label);
  char bytes[kLabelMap.value_bytes] = {};
  if (text.size() >= sizeof bytes) {
    errno = ENAMETOOLONG;
    return false;
  }
  memcpy(bytes, text.data(), text.size());
  const Fd map = bpf::make_map(kLabelMap);
  return map && bpf::map_put(map, &kLabelKey, bytes) && bpf::bind_map(program, map);
}

/// Whether packets have MAC headers on it.
bool has_mac(const DevName& dev) {
  Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  memcpy(request.ifr_name, dev.c_str(), dev.view().size());
  return fd && ioctl(fd.get(), SIOCGIFHWADDR, &request) == 0 && request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
}

}  // namespace

struct BpfTunnels::State {
  struct Found {
    Filter filter;  // its digest as the name says
    Label label;
    int index = 0;
    uint32_t handle = 0;  // of a tc filter
    bool tcx = false;
    bpf::ProgramInfo program;
  };
  struct Tunnel {
    DevName dev;
    bpf::TunnelMaps maps;
  };

  NlSocket& socket;
  NlMessage message;
  bool whole = true;
  bool has_tcx = false;  // and it may be used
  std::vector<std::pair<int, bool>> qdiscs;
  std::vector<LinkIndex::Entry> links;
  std::vector<Found> found;
  std::vector<std::tuple<int, TunnelEnd, uint32_t>> strange;  // others' at our priority
  std::vector<Tunnel> tunnels;
  std::optional<std::vector<Address>> addresses;

  State(NlSocket& netlink, const LinkIndex& names, bool tcx) : socket(netlink), links(names.all()) {
    read_tcx();
    has_tcx = has_tcx && tcx;
    qdiscs = devices();
    for (const auto& [index, both_ways] : qdiscs)
      if (const LinkIndex::Entry* link = names.find(index)) {
        // encap stands on our TUN devices alone, decap on anything else.
        const bool tunnel = is_agent_link(link->name.view());
        if (!tunnel || both_ways) read_device(*link, tunnel ? TunnelEnd::encap : TunnelEnd::decap);
      }
    // A tunnel's maps are those of its encap; where that is gone, of any decap.
    for (TunnelEnd end : {TunnelEnd::encap, TunnelEnd::decap})
      for (const Found& one : found)
        if (one.filter.end == end && !maps_of(one.filter.tunnel)) {
          bpf::TunnelMaps maps;
          if (bpf::open_tunnel_maps(one.program, maps)) tunnels.push_back({one.filter.tunnel, std::move(maps)});
        }
  }

  void read_tcx() {
    std::vector<uint32_t> programs;
    for (const LinkIndex::Entry& link : links) {
      if (link.type == LinkType::loopback || is_agent_link(link.name.view()) || Ownership::is_pod_link(link.name.view()))
        continue;
      if (!bpf::ingress_programs(link.index, programs)) {
        if (errno == ENODEV) continue;
        // Not allowed to ask: there may be some. Else there is no tcx.
        whole = errno != EPERM;
        return;
      }
      has_tcx = true;
      for (uint32_t id : programs) {
        Found one;
        if (!bpf::program_info(id, one.program)) {
          whole = whole && errno != EPERM;  // it may be ours
          continue;
        }
        const std::optional<Label> label = read_label(one.program);
        if (!label || label->filter.end != TunnelEnd::decap) continue;
        one.label = *label;
        one.filter = label->filter;
        one.filter.dev = link.name;
        one.index = link.index;
        one.tcx = true;
        found.push_back(std::move(one));
      }
    }
  }

  /// Those with a clsact (true) or an ingress qdisc.
  std::vector<std::pair<int, bool>> devices() {
    std::vector<std::pair<int, bool>> out;
    tcmsg head{};
    message.begin(RTM_GETQDISC, 0, head);
    whole = socket.dump(
                message, [&] { out.clear(); },
                [&](const nlmsghdr* answer) {
                  auto* seen = static_cast<const tcmsg*>(NLMSG_DATA(answer));
                  const auto kind = Attrs<TCA_KIND>(answer, sizeof *seen)[TCA_KIND].text();
                  if (kind == "clsact" || kind == "ingress") out.emplace_back(seen->tcm_ifindex, kind == "clsact");
                }) == NlSocket::Dump::whole && whole;
    return out;
  }

  template <typename Each>
  bool dump_filters(int index, TunnelEnd end, const std::function<void()>& reset, Each each) {
    tcmsg head{};
    head.tcm_ifindex = index;
    head.tcm_parent = parent_of(end);
    message.begin(RTM_GETTFILTER, 0, head);
    return socket.dump(message, reset, [&](const nlmsghdr* answer) {
      auto* seen = static_cast<const tcmsg*>(NLMSG_DATA(answer));
      if (seen->tcm_handle) each(*seen, Attrs<TCA_OPTIONS>(answer, sizeof *seen));
    }) == NlSocket::Dump::whole;
  }

  void read_device(const LinkIndex::Entry& link, TunnelEnd end) {
    const size_t before = found.size();
    const bool all = dump_filters(
        link.index, end, [&] { found.resize(before); },
        [&](const tcmsg& head, const Attrs<TCA_OPTIONS>& attrs) {
          if (attrs[TCA_KIND].text() != "bpf" || head.tcm_info >> 16 != kPriority) return;
          const Attrs<TCA_BPF_ID> options(attrs[TCA_OPTIONS]);
          std::optional<Label> label = parse_label(options[TCA_BPF_NAME].text());
          if (!label || label->filter.end != end) {
            strange.emplace_back(link.index, end, head.tcm_handle);
            return;
          }
          Found& one = found.emplace_back();
          one.label = *label;
          one.filter = label->filter;
          one.filter.dev = link.name;
          one.index = link.index;
          one.handle = head.tcm_handle;
          one.program.id = options[TCA_BPF_ID].u32();
        });
    whole = whole && all;
    for (size_t i = before; i < found.size(); ++i) {
      // Not allowed to be asked about: its maps are not known, and it is not whole.
      const uint32_t id = found[i].program.id;
      if (!bpf::program_info(id, found[i].program)) found[i].program.maps.clear();
    }
  }

  const bpf::TunnelMaps* maps_of(const DevName& tunnel) const {
    for (const Tunnel& one : tunnels)
      if (one.dev == tunnel) return &one.maps;
    return nullptr;
  }

  int index_of(const DevName& dev) const {
    for (const LinkIndex::Entry& link : links)
      if (link.name == dev) return link.index;
    return 0;
  }

  /// The index of the device that carries an address; 0 if none does.
  uint32_t carrier(const IpAddr& ip) {
    if (!ip) return 0;
    if (!addresses) {
      std::vector<Link> named;
      for (const LinkIndex::Entry& link : links) {
        Link& one = named.emplace_back();
        one.name = link.name;
        one.index = link.index;
      }
      addresses.emplace();
      read_addresses(socket, LinkIndex(named), *addresses);
    }
    for (const Address& address : *addresses)
      if (address.prefix.addr() == ip)
        for (const LinkIndex::Entry& link : links)
          if (link.name == address.dev && link.type != LinkType::loopback && !is_agent_link(link.name.view()))
            return static_cast<uint32_t>(link.index);
    return 0;
  }

  bpf::Place place_of(const Filter& filter) {
    bpf::Place place;
    place.tunnel = static_cast<uint32_t>(index_of(filter.tunnel));
    place.uplink4 = carrier(filter.local);
    place.uplink6 = carrier(filter.local6);
    return place;
  }

  /// Whether it is what this knet would make now of the same Filter.
  bool intact(const Found& one) {
    const bpf::TunnelMaps* maps = maps_of(one.filter.tunnel);
    if (!maps || one.label.code != bpf::tunnel_code_digest()) return false;
    for (uint32_t id : maps->ids)
      if (std::find(one.program.maps.begin(), one.program.maps.end(), id) == one.program.maps.end()) return false;
    const bpf::Place place = place_of(one.filter);
    return place.tunnel == one.label.place.tunnel && place.uplink4 == one.label.place.uplink4 &&
           place.uplink6 == one.label.place.uplink6 && place.tunnel != 0;
  }

  Found* find(const Filter& filter) {
    for (Found& one : found)
      if (one.filter.key() == filter.key()) return &one;
    return nullptr;
  }

  /// One that neither ours nor anybody else's filter of this priority has.
  uint32_t free_handle(int index, TunnelEnd end) const {
    for (uint32_t handle = 1;; ++handle) {
      const bool ours = std::any_of(found.begin(), found.end(), [&](const Found& one) {
        return one.index == index && one.handle == handle;
      });
      if (!ours && std::find(strange.begin(), strange.end(), std::tuple(index, end, handle)) == strange.end())
        return handle;
    }
  }

  NlFailure make_clsact(int index) {
    tcmsg head{};
    head.tcm_ifindex = index;
    head.tcm_parent = TC_H_CLSACT;
    head.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
    message.begin(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, head).put_text(TCA_KIND, "clsact");
    NlFailure made = socket.request(message);
    if (made.error == EEXIST) return {};  // an ingress qdisc too is one that decap can hang on
    return made;
  }

  /// A clsact where nothing hangs does nothing: with our last filter it goes, unless somebody shares its blocks.
  void drop_clsact(int index) {
    bool used = false;
    for (TunnelEnd end : {TunnelEnd::encap, TunnelEnd::decap})
      if (!dump_filters(index, end, [] {}, [&](const tcmsg&, const Attrs<TCA_OPTIONS>&) { used = true; })) return;
    tcmsg head{};
    bool shared = false, there = false;
    message.begin(RTM_GETQDISC, 0, head);
    const bool all = socket.dump(
                         message, [] {},
                         [&](const nlmsghdr* answer) {
                           auto* seen = static_cast<const tcmsg*>(NLMSG_DATA(answer));
                           if (seen->tcm_ifindex != index) return;
                           const Attrs<TCA_EGRESS_BLOCK> attrs(answer, sizeof *seen);
                           if (attrs[TCA_KIND].text() != "clsact") return;
                           there = true;
                           shared = attrs[TCA_INGRESS_BLOCK] || attrs[TCA_EGRESS_BLOCK];
                         }) == NlSocket::Dump::whole;
    if (!all || used || shared || !there) return;
    head.tcm_ifindex = index;
    head.tcm_parent = TC_H_CLSACT;
    head.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
    socket.request(message.begin(RTM_DELQDISC, 0, head));
  }

  NlFailure put(const Filter& filter) {
    const int index = index_of(filter.dev);
    if (!index) return {0, ENODEV, fmt::format("there is no device {}", filter.dev.view())};
    Label label{filter, bpf::tunnel_code_digest(), place_of(filter)};
    if (!label.place.tunnel) return {0, ENODEV, fmt::format("there is no device {}", filter.tunnel.view())};
    for (const auto& [ip, carrier] : {std::pair(filter.local, label.place.uplink4), {filter.local6, label.place.uplink6}})
      if (ip && !carrier) return {0, EADDRNOTAVAIL, fmt::format("no device carries {}", ip.str())};
    label.place.ethernet = filter.end == TunnelEnd::decap && has_mac(filter.dev);
    try {
      if (!maps_of(filter.tunnel)) tunnels.push_back({filter.tunnel, bpf::make_tunnel_maps()});
      return attach(filter, index, label, bpf::load_tunnel_program(filter, label.place, *maps_of(filter.tunnel)));
    } catch (const Error& error) {
      return {0, EOPNOTSUPP, error.text};
    }
  }

  NlFailure attach(const Filter& filter, int index, const Label& label, const Fd& program) {
    Found* old = find(filter);
    const auto at_device = [&](const auto& qdisc) { return qdisc.first == index; };
    const bool may = has_tcx && filter.end == TunnelEnd::decap && std::none_of(qdiscs.begin(), qdiscs.end(), at_device);
    if (old ? old->tcx : may) return attach_tcx(filter, index, label, program, old);
    if (NlFailure made = make_clsact(index); made.error) return made;
    const uint32_t handle = old ? old->handle : free_handle(index, filter.end);
    // Without EXCL the kernel would write over somebody else's filter of that handle.
    message.begin(RTM_NEWTFILTER, NLM_F_CREATE | (old ? 0 : NLM_F_EXCL), head_of(index, filter.end, handle))
        .put_text(TCA_KIND, "bpf");
    {
      auto options = message.nest(TCA_OPTIONS);
      message.put_u32(TCA_BPF_FD, static_cast<uint32_t>(program.get()));
      message.put_text(TCA_BPF_NAME, label_text(label));
      message.put_u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
    }
    NlFailure result = socket.request(message);
    if (result.error) return result;
    note(filter, index, label, old).handle = handle;
    return {};
  }

  NlFailure attach_tcx(const Filter& filter, int index, const Label& label, const Fd& program, Found* old) {
    const Fd instead = old ? bpf::open_program(old->program.id) : Fd();
    if (!write_label(program, label) || !bpf::attach_ingress(index, program, instead)) return {0, errno, errno_text(errno)};
    Found& now = note(filter, index, label, old);
    now.tcx = true;
    now.program.id = bpf::program_id(program);
    return {};
  }

  Found& note(const Filter& filter, int index, const Label& label, Found* old) {
    Found& now = old ? *old : found.emplace_back();
    now.filter = filter;
    now.label = label;
    now.index = index;
    now.program.maps.assign(maps_of(filter.tunnel)->ids.begin(), maps_of(filter.tunnel)->ids.end());
    return now;
  }

  NlFailure remove(const Filter& filter) {
    Found* old = find(filter);
    if (!old) return {0, ENOENT, errno_text(ENOENT)};
    const int index = old->index;
    if (old->tcx) {
      if (!bpf::detach_ingress(index, bpf::open_program(old->program.id))) return {0, errno, errno_text(errno)};
      found.erase(found.begin() + (old - found.data()));
      return {};
    }
    message.begin(RTM_DELTFILTER, 0, head_of(index, filter.end, old->handle)).put_text(TCA_KIND, "bpf");
    NlFailure result = socket.request(message);
    if (result.error) return result;
    found.erase(found.begin() + (old - found.data()));
    // Where there is tcx, an uplink's clsact was there before us.
    const bool made_here = !has_tcx || filter.end == TunnelEnd::encap;
    if (made_here && std::none_of(found.begin(), found.end(), [&](const Found& one) { return one.index == index; }))
      drop_clsact(index);
    return {};
  }
};

BpfTunnels::BpfTunnels(NlSocket& socket, const LinkIndex& links, bool tcx)
    : state_(std::make_unique<State>(socket, links, tcx)) {}
BpfTunnels::~BpfTunnels() = default;

bool BpfTunnels::whole() const { return state_->whole; }

std::vector<Filter> BpfTunnels::filters() const {
  std::vector<Filter> out;
  for (const State::Found& one : state_->found) {
    out.push_back(one.filter);
    if (!state_->intact(one)) out.back().digest = 0;
  }
  return out;
}

bool BpfTunnels::peers(std::vector<TunnelPeer>& out) const {
  bool all = state_->whole;
  for (const State::Tunnel& tunnel : state_->tunnels) all = bpf::read_peers(tunnel.maps, tunnel.dev, out) && all;
  return all;
}

NlFailure BpfTunnels::put(const Filter& filter) { return state_->put(filter); }
NlFailure BpfTunnels::remove(const Filter& filter) { return state_->remove(filter); }

NlFailure BpfTunnels::put(const TunnelPeer& peer) {
  const bpf::TunnelMaps* maps = state_->maps_of(peer.dev);
  if (!maps) return {0, ENOENT, fmt::format("{} has no filter, and no map of peers", peer.dev.view())};
  if (!bpf::put_peer(*maps, peer)) return {0, errno, errno_text(errno)};
  return {};
}

NlFailure BpfTunnels::remove(const TunnelPeer& peer) {
  const bpf::TunnelMaps* maps = state_->maps_of(peer.dev);
  if (!maps || !bpf::remove_peer(*maps, peer)) return {0, maps ? errno : ENOENT, errno_text(maps ? errno : ENOENT)};
  return {};
}

namespace {

struct Count {
  std::string_view name;
  bool dropped;
};
/// In the order of enum knet_counted.
constexpr Count kTunnelCounts[KNET_COUNTED] = {
    {"encapsulated", false},      {"decapsulated", false},
    {"no peer", false},           {"too big", false},
    {"unusual", false},           {"unusual received", false},
    {"unknown source", true},     {"not the source's node", true},
    {"malformed", true},          {"congestion not supported", true},
    {"failed", true},
};

}  // namespace

std::vector<TunnelCounter> BpfTunnels::counters() const {
  std::vector<TunnelCounter> out;
  for (const State::Tunnel& tunnel : state_->tunnels) {
    const auto counts = bpf::read_counts(tunnel.maps);
    for (size_t what = 0; what < counts.size(); ++what)
      out.push_back({tunnel.dev, kTunnelCounts[what].name, kTunnelCounts[what].dropped, counts[what].first,
                     counts[what].second});
  }
  return out;
}

std::vector<TunnelCounter> read_tunnel_counters() {
  NlSocket socket(NETLINK_ROUTE);
  std::vector<Link> links;
  read_links(socket, links);
  BpfTunnels tunnels(socket, LinkIndex(links));
  return tunnels.counters();
}

}  // namespace knet
