// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Past the stack: what belongs to a TCP connection that the stack has let through both ways goes from the ingress of one
// device to the egress of another without its forwarding and its rules; the kernel's own flow offload works by the same
// rules (Documentation/networking/nf_flowtable.rst). Compiled by scripts/bpf into shortcut_code.h.
//
//      a pod's link, ingress ──┬── conntrack: established, whole, no NAT ──┬── route, neighbour ──► an uplink, egress
//      an uplink, ingress    ──┘   its source is behind this device        └── TTL, MACs        ──► a pod's link, egress
//
// One program for all devices; it decides nothing by itself: routes, neighbours, MTU, forwarding are the kernel's, and so
// is the connection; what they say is believed for 50 ms. All else goes on to the stack: whatever begins or ends a connection, is not
// TCP, is a fragment, has options or a mark (it or its connection), is too big or at its last hop. And one packet in 64 does, so that
// conntrack's and the neighbours' timers go on.
#include "common.h"
#include "shortcut_abi.h"

struct ct_options {  // struct bpf_ct_opts as it was at first: newer kernels take that size too
  __s32 netns;
  __s32 error;
  __u8 protocol;
  __u8 direction;
  __u8 reserved[2];
};

static void *(*ct_lookup)(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple_size, struct ct_options *options,
                          __u32 options_size) = (void *)(KNET_CALL_MARK + KNET_CALL_CT_LOOKUP);
static void (*ct_release)(void *connection) = (void *)(KNET_CALL_MARK + KNET_CALL_CT_RELEASE);
static long (*map_update)(void *map, const void *key, const void *value, __u64 flags) = (void *)BPF_FUNC_map_update_elem;
static __u32 (*random)(void) = (void *)BPF_FUNC_get_prandom_u32;
static long (*redirect_peer)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect_peer;
static __u64 (*now)(void) = (void *)BPF_FUNC_ktime_get_coarse_ns;

// linux/netfilter/nf_conntrack_common.h, nf_conntrack_tcp.h
enum {
  CT_SEEN_REPLY = 1 << 1,
  CT_ASSURED = 1 << 2,
  CT_CONFIRMED = 1 << 3,
  CT_SOURCE_NAT = 1 << 4,
  CT_DESTINATION_NAT = 1 << 5,
  CT_SEQUENCE_ADJUST = 1 << 6,
  CT_DYING = 1 << 9,
  CT_HELPER = 1 << 13,
  CT_WANTED = CT_SEEN_REPLY | CT_ASSURED | CT_CONFIRMED,
  CT_REFUSED = CT_SOURCE_NAT | CT_DESTINATION_NAT | CT_SEQUENCE_ADJUST | CT_DYING | CT_HELPER,
  CT_TCP_ESTABLISHED = 3,
};
enum { CURRENT_NETNS = -1 };
enum { TCP_FLAGS_OF_INTEREST = 0x37, TCP_ACK = 0x10 };  // FIN, SYN, RST, ACK, URG
enum { LONG_WAY_EACH = 64 };
enum { BELIEVED_NS = 50000000 };

struct tcp {
  __u16 source;
  __u16 destination;
  __u32 sequence;
  __u32 acknowledged;
  __u8 offset;
  __u8 flags;
  __u16 window;
  __u16 check;
  __u16 urgent;
};

/// Whether conntrack would let it pass unchanged, and has nothing to learn from it.
inlined int is_established(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size) {
  struct ct_options options = {.netns = CURRENT_NETNS, .protocol = PROTO_TCP};
  void *connection = ct_lookup(skb, tuple, size, &options, sizeof options);
  if (!connection) return 0;
  const __u64 status = *(__u64 *)(connection + BURNT(KNET_CT_STATUS));
  const __u8 state = *(__u8 *)(connection + BURNT(KNET_CT_STATE));
  // Rules restore it into packets' marks, and others route by those.
  const __u32 mark = BURNT(KNET_CT_MARK) ? *(__u32 *)(connection + BURNT(KNET_CT_MARK)) : 0;
  ct_release(connection);
  return (status & CT_WANTED) == CT_WANTED && !(status & CT_REFUSED) && state == CT_TCP_ESTABLISHED && !mark;
}

/// Whether a packet to this one's source would leave by the device that it came in by (strict reverse path, RFC 3704 2.2):
/// nobody borrows another's connection. `back`: the route asked for.
inlined int is_from_here(struct __sk_buff *skb, struct bpf_fib_lookup *back) {
  return !fib_lookup(skb, back, sizeof *back, 0) && back->ifindex == skb->ifindex;
}

/// Which way the connection's packets went a moment ago. The kernel may give an entry to another connection while it is being
/// read: the copy counts only if the entry is this one's even after that.
inlined int remembers(const struct knet_flow *flow, __u64 time, __u32 wire, struct knet_way *way) {
  const struct knet_way *known = map_lookup((void *)BURNT(KNET_FLOWS), flow);
  if (!known || known->until <= time || wire > known->wire) return 0;
  *way = *known;
  return map_lookup((void *)BURNT(KNET_FLOWS), flow) == known;
}

/// Where the route leads, kept for the packets that follow. 0: it is the stack's to say.
inlined int find_way(struct __sk_buff *skb, const struct knet_flow *flow, struct bpf_fib_lookup *route, __u32 wire,
                     struct knet_way *way) {
  route->tot_len = wire;
  if (fib_lookup(skb, route, sizeof *route, 0) || route->ifindex == skb->ifindex) return 0;
  const __u32 to = route->ifindex;
  way->ifindex = to;
  way->wire = wire;
  way->direct = map_lookup((void *)BURNT(KNET_DIRECT), &to) != 0;
  __builtin_memcpy(way->macs, route->dmac, 6);
  __builtin_memcpy(way->macs + 6, route->smac, 6);
  map_update((void *)BURNT(KNET_FLOWS), flow, way, 0);
  return 1;
}

/// The `size` bytes at `at`, that hold the hop limit, and the MAC header are written.
inlined int send(struct __sk_buff *skb, const struct knet_way *way, __u32 at, const void *bytes, __u32 size) {
  if (skb_store_bytes(skb, at, bytes, size, BPF_F_RECOMPUTE_CSUM)) return TC_UNSPEC;
  if (skb_store_bytes(skb, 0, way->macs, sizeof way->macs, 0)) return TC_SHOT;
  const __u32 first = 0;
  struct knet_count *taken = map_lookup((void *)BURNT(KNET_TAKEN), &first);
  if (taken) {
    taken->packets += 1;
    taken->bytes += skb->len - ETH_BYTES;
  }
  return way->direct ? redirect_peer(way->ifindex, 0) : redirect(way->ifindex, 0);
}

inlined __u32 at_most_16_bits(__u32 value) { return value > 0xffff ? 0xffff : value; }

/// Amid a connection, and not one of those few that go the long way.
inlined int is_plain(const struct tcp *tcp) {
  return (tcp->flags & TCP_FLAGS_OF_INTEREST) == TCP_ACK && tcp->offset >= 0x50 && random() % LONG_WAY_EACH != 0;
}

inlined int shortcut4(struct __sk_buff *skb) {
  const __u32 bytes = skb->len - ETH_BYTES;
  struct ipv4 *ip;
  POINT(ip, ETH_BYTES, ETH_BYTES + sizeof *ip, return TC_UNSPEC);
  if (ip->version_ihl != 0x45 || ip->protocol != PROTO_TCP || ip->ttl <= 1 || ip->fragment & swap16(0x3fff)) return TC_UNSPEC;
  // Shorter than it says is malformed; longer has Ethernet's padding, which means nothing to whom it goes.
  if (!skb->gso_size && swap16(ip->total) > bytes) return TC_UNSPEC;
  POINT(ip, ETH_BYTES, ETH_BYTES + sizeof *ip + sizeof(struct tcp), return TC_UNSPEC);
  const struct tcp *tcp = (void *)(ip + 1);
  if (!is_plain(tcp)) return TC_UNSPEC;

  const __u32 wire = at_most_16_bits(skb->gso_size ? sizeof *ip + (tcp->offset >> 4) * 4 + skb->gso_size : bytes);
  const struct knet_flow flow = {skb->ifindex, *(const __u32 *)tcp, {ip->source}, {ip->destination}};
  const __u8 tos = ip->tos;
  // The hop limit, the protocol and the checksum, which stays right (RFC 1624).
  struct {
    __u8 ttl;
    __u8 protocol;
    __u16 check;
  } changed = {ip->ttl - 1, PROTO_TCP, 0};
  const __u32 sum = ip->check + swap16(0x0100);
  changed.check = sum + (sum >= 0xffff);
  const __u32 at = ETH_BYTES + __builtin_offsetof(struct ipv4, ttl);

  const __u64 time = now();
  struct knet_way way = {};
  if (remembers(&flow, time, wire, &way)) return send(skb, &way, at, &changed, sizeof changed);

  struct bpf_sock_tuple tuple = {};
  tuple.ipv4.saddr = flow.source[0];
  tuple.ipv4.daddr = flow.destination[0];
  __builtin_memcpy(&tuple.ipv4.sport, &flow.ports, sizeof flow.ports);  // and dport
  if (!is_established(skb, &tuple, sizeof tuple.ipv4)) return TC_UNSPEC;
  struct bpf_fib_lookup route = {.family = FAMILY_INET, .l4_protocol = PROTO_TCP, .ifindex = skb->ifindex};
  route.ipv4_src = flow.destination[0];
  route.ipv4_dst = flow.source[0];
  if (!is_from_here(skb, &route)) return TC_UNSPEC;

  __builtin_memset(&route, 0, sizeof route);
  route.family = FAMILY_INET;
  route.l4_protocol = PROTO_TCP;
  route.ifindex = skb->ifindex;
  route.tos = tos;
  route.sport = tuple.ipv4.sport;
  route.dport = tuple.ipv4.dport;
  route.ipv4_src = flow.source[0];
  route.ipv4_dst = flow.destination[0];
  way.until = time + BELIEVED_NS;
  return find_way(skb, &flow, &route, wire, &way) ? send(skb, &way, at, &changed, sizeof changed) : TC_UNSPEC;
}

inlined int shortcut6(struct __sk_buff *skb) {
  const __u32 bytes = skb->len - ETH_BYTES;
  struct ipv6 *ip;
  POINT(ip, ETH_BYTES, ETH_BYTES + sizeof *ip, return TC_UNSPEC);
  if (ip->version_class >> 4 != 6 || ip->next != PROTO_TCP || ip->hops <= 1) return TC_UNSPEC;
  if (!skb->gso_size && swap16(ip->payload) + sizeof *ip > bytes) return TC_UNSPEC;
  POINT(ip, ETH_BYTES, ETH_BYTES + sizeof *ip + sizeof(struct tcp), return TC_UNSPEC);
  const struct tcp *tcp = (void *)(ip + 1);
  if (!is_plain(tcp)) return TC_UNSPEC;

  const __u32 wire = at_most_16_bits(skb->gso_size ? sizeof *ip + (tcp->offset >> 4) * 4 + skb->gso_size : bytes);
  struct knet_flow flow = {.ifindex = skb->ifindex, .ports = *(const __u32 *)tcp};
  __builtin_memcpy(flow.source, ip->source, sizeof flow.source);
  __builtin_memcpy(flow.destination, ip->destination, sizeof flow.destination);
  const __u32 label = *(__u32 *)ip & swap32(0x0fffffff);
  const __u8 hops = ip->hops - 1;
  const __u32 at = ETH_BYTES + __builtin_offsetof(struct ipv6, hops);

  const __u64 time = now();
  struct knet_way way = {};
  if (remembers(&flow, time, wire, &way)) return send(skb, &way, at, &hops, sizeof hops);

  struct bpf_sock_tuple tuple = {};
  __builtin_memcpy(tuple.ipv6.saddr, flow.source, sizeof flow.source);
  __builtin_memcpy(tuple.ipv6.daddr, flow.destination, sizeof flow.destination);
  __builtin_memcpy(&tuple.ipv6.sport, &flow.ports, sizeof flow.ports);  // and dport
  if (!is_established(skb, &tuple, sizeof tuple.ipv6)) return TC_UNSPEC;
  struct bpf_fib_lookup route = {.family = FAMILY_INET6, .l4_protocol = PROTO_TCP, .ifindex = skb->ifindex};
  __builtin_memcpy(route.ipv6_src, flow.destination, sizeof flow.destination);
  __builtin_memcpy(route.ipv6_dst, flow.source, sizeof flow.source);
  if (!is_from_here(skb, &route)) return TC_UNSPEC;

  __builtin_memset(&route, 0, sizeof route);
  route.family = FAMILY_INET6;
  route.l4_protocol = PROTO_TCP;
  route.ifindex = skb->ifindex;
  route.flowinfo = label;
  route.sport = tuple.ipv6.sport;
  route.dport = tuple.ipv6.dport;
  __builtin_memcpy(route.ipv6_src, flow.source, sizeof flow.source);
  __builtin_memcpy(route.ipv6_dst, flow.destination, sizeof flow.destination);
  way.until = time + BELIEVED_NS;
  return find_way(skb, &flow, &route, wire, &way) ? send(skb, &way, at, &hops, sizeof hops) : TC_UNSPEC;
}

SECTION("tc/shortcut") int shortcut(struct __sk_buff *skb) {
  const __u32 type = skb->protocol;
  if (type != swap16(ETH_IP) && type != swap16(ETH_IPV6)) return TC_UNSPEC;
  // Another host's, a VLAN's, or marked for a rule of somebody's.
  if (skb->pkt_type != 0 || skb->vlan_present || skb->mark) return TC_UNSPEC;
  return type == swap16(ETH_IP) ? shortcut4(skb) : shortcut6(skb);
}
