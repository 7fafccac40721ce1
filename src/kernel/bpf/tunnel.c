// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// The two tc programs of a tunnel's path in the kernel. Compiled by scripts/bpf into tunnel_code.h, which the build takes
// as it is: no compiler for BPF is needed there. (bpf_fib_lookup is for programs that are under the GPL, among others.)
//
//      encap, egress of the TUN device                    decap, ingress of an uplink
//      [inner IP ...]                                     [MAC][outer IP][UDP][inner IP ...]
//        peer by inner destination                          ours? a member's? the inner source that member's?
//      [MAC][outer IP][UDP][inner IP ...]                 [MAC][inner IP ...]
//        to the uplink, the kernel finds the neighbour      to the TUN device, as if received there
//
// What the programs leave alone goes on to userspace: encap returns OK, so that the packet reaches whoever holds the TUN
// device open; decap returns UNSPEC, so that the stack puts fragments together and gives the packet to a socket.
// Constants are burnt in when a program is loaded: each BURNT(n) is a 64-bit load with a number that the loader replaces.
// A branch that such a constant decides is no part of the program that runs.
#include <linux/bpf.h>
#include <linux/types.h>

#include "tunnel_abi.h"

#define BURNT(slot)                                                                         \
  ({                                                                                        \
    __u64 burnt_value_;                                                                     \
    asm("%0 = %1 ll" : "=r"(burnt_value_) : "i"(KNET_BURNT_MARK | (unsigned long long)(slot))); \
    burnt_value_;                                                                           \
  })
#define SECTION(name) __attribute__((section(name), used))
#define inlined static inline __attribute__((always_inline))
#define swap16(value) __builtin_bswap16(value)
#define swap32(value) __builtin_bswap32(value)
#define rare(condition) __builtin_expect(!!(condition), 0)

static void *(*map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*skb_store_bytes)(void *skb, __u32 offset, const void *from, __u32 size, __u64 flags) =
    (void *)BPF_FUNC_skb_store_bytes;
static long (*skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 size) = (void *)BPF_FUNC_skb_load_bytes;
static long (*l3_csum_replace)(void *skb, __u32 offset, __u64 from, __u64 to, __u64 size) =
    (void *)BPF_FUNC_l3_csum_replace;
static long (*skb_pull_data)(void *skb, __u32 size) = (void *)BPF_FUNC_skb_pull_data;
static long (*skb_change_head)(void *skb, __u32 size, __u64 flags) = (void *)BPF_FUNC_skb_change_head;
static long (*skb_adjust_room)(void *skb, __s32 size, __u32 mode, __u64 flags) = (void *)BPF_FUNC_skb_adjust_room;
static long (*csum_level)(void *skb, __u64 what) = (void *)BPF_FUNC_csum_level;
static long (*fib_lookup)(void *skb, struct bpf_fib_lookup *route, int size, __u32 flags) =
    (void *)BPF_FUNC_fib_lookup;
static long (*redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*redirect_neigh)(__u32 ifindex, void *nexthop, int size, __u64 flags) =
    (void *)BPF_FUNC_redirect_neigh;
static __u32 (*get_hash)(void *skb) = (void *)BPF_FUNC_get_hash_recalc;

// linux/pkt_cls.h, if_ether.h, in.h, socket.h: the numbers alone, without the C library's headers behind them.
enum { TC_UNSPEC = -1, TC_OK = 0, TC_SHOT = 2 };
enum { ETH_IP = 0x0800, ETH_IPV6 = 0x86dd, ETH_BYTES = 14 };
enum { PROTO_IPIP = 4, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_IPV6 = 41 };
enum { FAMILY_INET = 2, FAMILY_INET6 = 10 };
enum { ECN_MASK = 3, ECN_NOT = 0, ECN_ECT1 = 1, ECN_ECT0 = 2, ECN_CE = 3 };
enum { HOP_LIMIT = 64 };
// A path takes a packet of this size without being asked (RFC 791, RFC 8200 5): for smaller ones the MTU is not looked up.
enum { ALWAYS_FITS4 = 576, ALWAYS_FITS6 = 1280 };

struct ipv4 {
  __u8 version_ihl;
  __u8 tos;
  __u16 total;
  __u16 id;
  __u16 fragment;
  __u8 ttl;
  __u8 protocol;
  __u16 check;
  __u32 source;
  __u32 destination;
};
struct ipv6 {
  __u8 version_class;
  __u8 class_flow;
  __u16 flow;
  __u16 payload;
  __u8 next;
  __u8 hops;
  __u64 source[2];
  __u64 destination[2];
} __attribute__((packed, aligned(2)));
struct udp {
  __u16 source;
  __u16 destination;
  __u16 length;
  __u16 check;
};
struct ethernet {
  __u8 to[6];
  __u8 from[6];
  __u16 type;
};
struct outer4 {
  struct ethernet mac;
  struct ipv4 ip;
  struct udp udp;
} __attribute__((packed, aligned(2)));
struct outer6 {
  struct ethernet mac;
  struct ipv6 ip;
  struct udp udp;
} __attribute__((packed, aligned(2)));

inlined void count(__u32 what, __u32 bytes) {
  struct knet_count *entry = map_lookup((void *)BURNT(KNET_COUNTS), &what);
  if (!entry) return;
  entry->packets += 1;
  entry->bytes += bytes;
}
inlined int pass(int verdict, __u32 what, __u32 bytes) {
  count(what, bytes);
  return verdict;
}

/// The packet's two ends. Read as pointers, by hand: of C's 32-bit fields a compiler may keep the halves, which the verifier
/// takes for numbers.
inlined void *begin_of(struct __sk_buff *skb) {
  void *at;
  asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(at) : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, data)));
  return at;
}
inlined void *end_of(struct __sk_buff *skb) {
  void *at;
  asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(at) : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, data_end)));
  return at;
}

/// Makes `name` point to what lies `offset` bytes into the packet, of which `size` bytes in all are to be in one piece; else
/// does `otherwise`. Pointers from before are void.
#define POINT(name, offset, size, otherwise)                                    \
  do {                                                                          \
    void *begin_ = begin_of(skb);                                               \
    if (begin_ + (size) > end_of(skb)) {                                        \
      skb_pull_data(skb, (size));                                               \
      begin_ = begin_of(skb);                                                   \
      if (begin_ + (size) > end_of(skb)) otherwise;                             \
    }                                                                           \
    name = begin_ + (offset);                                                   \
  } while (0)

inlined __u16 fold(__u32 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}
inlined __u32 halves(__u32 value) { return (value & 0xffff) + (value >> 16); }
/// 0xffff for a header (without options) that arrived as it was sent.
inlined __u32 header_sum(const struct ipv4 *ip) {
  const __u32 *words = (const void *)ip;
  return fold(halves(words[0]) + halves(words[1]) + halves(words[2]) + halves(words[3]) + halves(words[4]));
}

/// How long the packet is that goes over the wire: of a super-packet its longest segment.
inlined __u32 longest(struct __sk_buff *skb, __u32 bytes, __u32 transport_at, __u32 header, __u8 protocol) {
  __u8 offset = 0;
  if (!skb->gso_size) return bytes;
  if (protocol == PROTO_TCP) skb_load_bytes(skb, transport_at + 12, &offset, 1);
  return header + (protocol == PROTO_TCP ? (offset >> 4) * 4 : 8) + skb->gso_size;
}

// --- encap

/// Room for the outer header, and an Ethernet header before it: redirect_neigh drops a packet without. `before` and
/// `flags` as bpf_skb_adjust_room has them.
inlined int make_room(struct __sk_buff *skb, __u32 size, __u64 flags) {
  if (BURNT(KNET_PORT)) flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
  return skb_adjust_room(skb, size, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | flags);
}

inlined int encap4(struct __sk_buff *skb) {
  const __u64 mac = BURNT(KNET_MAC_BYTES), header = BURNT(KNET_PORT) ? 28 : 20;
  const __u32 bytes = skb->len - mac;
  struct outer4 out = {};
  struct knet_key4 key = {.bits = 32};

  struct ipv4 *inner;
  POINT(inner, mac, mac + sizeof *inner, return TC_OK);
  if (inner->version_ihl >> 4 != 4) return TC_OK;
  key.address = inner->destination;
  out.ip.tos = inner->tos;
  const __u32 inner_header = (inner->version_ihl & 15) * 4;
  const __u8 inner_protocol = inner->protocol;

  struct knet_peer4 *peer = map_lookup((void *)BURNT(KNET_PEERS4), &key);
  if (!peer) return pass(TC_OK, KNET_NO_PEER, bytes);
  if (peer->by_user) return pass(TC_OK, KNET_UNUSUAL, bytes);
  const __u32 to = peer->outer;
  const __u16 port = peer->port;

  const __u32 wire = longest(skb, bytes, mac + inner_header, inner_header, inner_protocol) + header;
  if (wire > ALWAYS_FITS4) {
    struct bpf_fib_lookup route = {.family = FAMILY_INET, .ifindex = BURNT(KNET_UPLINK4)};
    route.tot_len = wire > 0xffff ? 0xffff : wire;
    route.l4_protocol = BURNT(KNET_PORT) ? PROTO_UDP : PROTO_IPIP;
    route.ipv4_src = BURNT(KNET_LOCAL4);
    route.ipv4_dst = to;
    if (fib_lookup(skb, &route, sizeof route, BPF_FIB_LOOKUP_OUTPUT) == BPF_FIB_LKUP_RET_FRAG_NEEDED)
      return pass(TC_OK, KNET_TOO_BIG, bytes);
  }
  // Refused for what is a tunnel's packet already and not yet cut into segments.
  if (make_room(skb, header, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4)) return pass(TC_OK, KNET_UNUSUAL, bytes);
  if (!mac && skb_change_head(skb, ETH_BYTES, 0)) return pass(TC_SHOT, KNET_FAILED, bytes);

  out.mac.type = swap16(ETH_IP);
  out.ip.version_ihl = 0x45;
  // 0 for more than fits, as the kernel does for its own super-packets: each segment gets its length when it is cut.
  out.ip.total = bytes + header > 0xffff ? 0 : swap16(bytes + header);
  out.ip.fragment = swap16(0x4000);
  out.ip.ttl = HOP_LIMIT;
  out.ip.source = BURNT(KNET_LOCAL4);
  out.ip.destination = to;
  out.ip.protocol = BURNT(KNET_PORT) ? PROTO_UDP : PROTO_IPIP;
  out.ip.check = ~fold(swap16(0x4500 | out.ip.tos) + out.ip.total + out.ip.fragment +
                       swap16(HOP_LIMIT << 8 | out.ip.protocol) + halves(out.ip.source) + halves(to));
  if (BURNT(KNET_PORT)) {
    // One port for all flows, the one that the socket in userspace is bound to: so ICMP's "fragmentation needed" finds that
    // socket, and the kernel learns the path's MTU. It is also what flannel sends.
    out.udp.source = BURNT(KNET_PORT);
    out.udp.destination = port;
    out.udp.length = bytes + 8 > 0xffff ? 0 : swap16(bytes + 8);
    if (skb_store_bytes(skb, 0, &out, sizeof out, 0)) return pass(TC_SHOT, KNET_FAILED, bytes);
  } else if (skb_store_bytes(skb, 0, &out, ETH_BYTES + sizeof out.ip, 0)) {
    return pass(TC_SHOT, KNET_FAILED, bytes);
  }
  skb->mark = 0;  // is about the inner packet's way
  count(KNET_ENCAPSULATED, bytes);
  return redirect_neigh(BURNT(KNET_UPLINK4), 0, 0, 0);
}

inlined int encap6(struct __sk_buff *skb) {
  const __u64 mac = BURNT(KNET_MAC_BYTES), header = BURNT(KNET_PORT) ? 48 : 40;
  const __u32 bytes = skb->len - mac;
  struct outer6 out = {};
  struct knet_key6 key = {.bits = 128};

  struct ipv6 *inner;
  POINT(inner, mac, mac + sizeof *inner, return TC_OK);
  if (inner->version_class >> 4 != 6) return TC_OK;
  key.address[0] = inner->destination[0];
  key.address[1] = inner->destination[1];
  out.ip.version_class = inner->version_class;
  out.ip.class_flow = inner->class_flow & 0xf0;
  const __u8 inner_protocol = inner->next;

  struct knet_peer6 *peer = map_lookup((void *)BURNT(KNET_PEERS6), &key);
  if (!peer) return pass(TC_OK, KNET_NO_PEER, bytes);
  if (peer->by_user) return pass(TC_OK, KNET_UNUSUAL, bytes);
  out.ip.destination[0] = peer->outer[0];
  out.ip.destination[1] = peer->outer[1];
  out.udp.destination = peer->port;

  const __u32 wire = longest(skb, bytes, mac + sizeof *inner, sizeof *inner, inner_protocol) + header;
  if (wire > ALWAYS_FITS6) {
    struct bpf_fib_lookup route = {.family = FAMILY_INET6, .ifindex = BURNT(KNET_UPLINK6)};
    const __u64 local[2] = {BURNT(KNET_LOCAL6), BURNT(KNET_LOCAL6 + 1)};
    route.tot_len = wire > 0xffff ? 0xffff : wire;
    route.l4_protocol = BURNT(KNET_PORT) ? PROTO_UDP : PROTO_IPV6;
    __builtin_memcpy(route.ipv6_src, local, sizeof local);
    __builtin_memcpy(route.ipv6_dst, out.ip.destination, sizeof out.ip.destination);
    if (fib_lookup(skb, &route, sizeof route, BPF_FIB_LOOKUP_OUTPUT) == BPF_FIB_LKUP_RET_FRAG_NEEDED)
      return pass(TC_OK, KNET_TOO_BIG, bytes);
  }
  // A flow keeps its path, and flows part (RFC 6438).
  const __u32 hash = get_hash(skb);
  if (make_room(skb, header, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6)) return pass(TC_OK, KNET_UNUSUAL, bytes);
  if (!mac && skb_change_head(skb, ETH_BYTES, 0)) return pass(TC_SHOT, KNET_FAILED, bytes);

  const __u32 payload = bytes + header - sizeof out.ip;
  out.mac.type = swap16(ETH_IPV6);
  out.ip.class_flow |= hash >> 16 & 0x0f;
  out.ip.flow = hash;
  out.ip.payload = payload > 0xffff ? 0 : swap16(payload);
  out.ip.hops = HOP_LIMIT;
  out.ip.source[0] = BURNT(KNET_LOCAL6);
  out.ip.source[1] = BURNT(KNET_LOCAL6 + 1);
  if (BURNT(KNET_PORT)) {
    // Without a checksum (RFC 6935, RFC 6936 5): the inner packet has its own, and what arrives is held against the list
    // of members. Sockets need UDP_NO_CHECK6_RX to see it.
    out.ip.next = PROTO_UDP;
    out.udp.source = BURNT(KNET_PORT);
    out.udp.length = out.ip.payload;
    if (skb_store_bytes(skb, 0, &out, sizeof out, 0)) return pass(TC_SHOT, KNET_FAILED, bytes);
  } else {
    out.ip.next = PROTO_IPV6;
    if (skb_store_bytes(skb, 0, &out, ETH_BYTES + sizeof out.ip, 0)) return pass(TC_SHOT, KNET_FAILED, bytes);
  }
  skb->mark = 0;
  count(KNET_ENCAPSULATED, bytes);
  return redirect_neigh(BURNT(KNET_UPLINK6), 0, 0, 0);
}

SECTION("tc/encap") int encap(struct __sk_buff *skb) {
  if (skb->protocol == swap16(ETH_IP) && BURNT(KNET_UPLINK4)) return encap4(skb);
  if (skb->protocol == swap16(ETH_IPV6) && BURNT(KNET_UPLINK6)) return encap6(skb);
  return TC_OK;
}

// --- decap

/// Whether the inner packet is as long as it says. 0: it is; else the verdict. `room`: what the outer one has for it.
inlined int check_length(struct __sk_buff *skb, __u32 says, __u32 least, __u32 room) {
  if (says >= least && says == room) return 0;
  if (skb->gso_size) {
    // The kernel's own super-packet, with the length field of one that is too long for it.
    if (says == least - 20 && room > 0xffff) return 0;
    return TC_UNSPEC;  // several datagrams that GRO has merged: a socket takes them apart
  }
  // Shorter is trimmed by the stack, as Ethernet's padding is.
  return says < least || says > room ? pass(TC_SHOT, KNET_MALFORMED, room) : 0;
}

/// A pod's own UDP super-packet, packed whole, that met no device that cuts. The kernel keeps it marked as a tunnel's, and would fail
/// to cut it for the pod: userspace does.
inlined int uncut(struct __sk_buff *skb, __u8 protocol) {
  return BURNT(KNET_PORT) && skb->gso_size && protocol == PROTO_UDP;
}

/// What becomes of the inner packet's ECN bits (RFC 6040 4.2); ECN_MASK + 1: it is to be dropped.
inlined __u8 ecn_after(__u8 outer, __u8 inner) {
  if (outer == ECN_CE) return inner == ECN_NOT ? ECN_MASK + 1 : ECN_CE;
  return outer == ECN_ECT1 && inner == ECN_ECT0 ? ECN_ECT1 : inner;
}

/// Takes `header` bytes away after the MAC header. `half_summed`: the packet never was on a wire, and the kernel means to fill
/// in the outer UDP checksum later: with that header gone it would write elsewhere. Taking away more, so that the place is
/// before the packet, makes it forget that.
inlined int strip(struct __sk_buff *skb, __u32 header, int half_summed, __u32 mac) {
  const __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
  if (BURNT(KNET_PORT)) csum_level(skb, BPF_CSUM_LEVEL_DEC);  // what was verified first was the outer one
  if (rare(half_summed)) {
    __u8 kept[20];
    if (skb->gso_size || skb_load_bytes(skb, mac + header, kept, sizeof kept)) return -1;
    if (skb_adjust_room(skb, -(__s32)(header + sizeof kept), BPF_ADJ_ROOM_MAC, flags)) return -1;
    if (skb_adjust_room(skb, sizeof kept, BPF_ADJ_ROOM_MAC, flags & ~BPF_F_ADJ_ROOM_NO_CSUM_RESET)) return -2;
    return skb_store_bytes(skb, mac, kept, sizeof kept, 0) ? -2 : 0;
  }
  return skb_adjust_room(skb, -(__s32)header, BPF_ADJ_ROOM_MAC, flags);
}

inlined int deliver(struct __sk_buff *skb, __u32 header, int half_summed, __u32 mac, __u32 bytes) {
  const int error = strip(skb, header, half_summed, mac);
  if (error == -2) return pass(TC_SHOT, KNET_FAILED, bytes);
  if (error) return pass(TC_UNSPEC, KNET_UNUSUAL_IN, bytes);
  count(KNET_DECAPSULATED, bytes);
  return redirect(BURNT(KNET_TUNNEL), BPF_F_INGRESS);
}

inlined int decap4(struct __sk_buff *skb) {
  const __u64 mac = BURNT(KNET_MAC_BYTES), header = BURNT(KNET_PORT) ? 28 : 20;
  struct knet_key4 key = {.bits = 32};
  int half_summed = 0;

  struct ipv4 *ip;
  POINT(ip, mac, mac + sizeof *ip, return TC_UNSPEC);
  // Options, fragments and what is damaged are the stack's.
  if (ip->protocol != (BURNT(KNET_PORT) ? PROTO_UDP : PROTO_IPIP) || ip->destination != (__u32)BURNT(KNET_LOCAL4) ||
      ip->version_ihl != 0x45 || ip->fragment & swap16(0x3fff) || header_sum(ip) != 0xffff)
    return TC_UNSPEC;
  if (BURNT(KNET_PORT)) {
    POINT(ip, mac, mac + header, return TC_UNSPEC);
    struct udp *udp = (void *)(ip + 1);
    if (udp->destination != (__u16)BURNT(KNET_PORT)) return TC_UNSPEC;
    if (!skb->gso_size && swap16(udp->length) != swap16(ip->total) - sizeof *ip) return TC_UNSPEC;
    half_summed = udp->check && udp->check == fold(halves(ip->source) + halves(ip->destination) + swap16(PROTO_UDP) +
                                                  udp->length);
  }
  const __u32 there = skb->len - mac;
  const __u32 total = skb->gso_size ? there : swap16(ip->total);
  if (total > there) return TC_UNSPEC;
  if (total < header + sizeof *ip) return pass(TC_SHOT, KNET_MALFORMED, 0);
  POINT(ip, mac, mac + header + sizeof *ip, return pass(TC_SHOT, KNET_MALFORMED, 0));
  struct ipv4 *inner = (void *)ip + header;
  const __u32 room = total - header, inner_header = (inner->version_ihl & 15) * 4;
  if (inner->version_ihl >> 4 != 4 || inner_header < sizeof *inner) return pass(TC_SHOT, KNET_MALFORMED, room);
  const int bad = check_length(skb, swap16(inner->total), 20, room);
  if (bad) return bad;
  if (rare(uncut(skb, inner->protocol))) return pass(TC_UNSPEC, KNET_UNUSUAL_IN, room);

  key.address = inner->source;
  const __u32 from = ip->source;
  const __u16 old_head = *(__u16 *)inner;
  const __u8 tos = inner->tos, ecn = ecn_after(ip->tos & ECN_MASK, tos & ECN_MASK);
  struct knet_peer4 *peer = map_lookup((void *)BURNT(KNET_PEERS4), &key);
  if (!peer) return pass(TC_SHOT, KNET_UNKNOWN, room);
  if (peer->outer != from) return pass(TC_SHOT, KNET_SPOOFED, room);
  if (rare(ecn != (tos & ECN_MASK))) {
    if (ecn > ECN_MASK) return pass(TC_SHOT, KNET_CONGESTED, room);
    const __u16 head = (old_head & swap16(0xff00)) | swap16((tos & ~ECN_MASK) | ecn);
    if (skb_store_bytes(skb, mac + header, &head, sizeof head, 0) ||
        l3_csum_replace(skb, mac + header + 10, old_head, head, sizeof head))
      return pass(TC_SHOT, KNET_FAILED, room);
  }
  return deliver(skb, header, half_summed, mac, room);
}

inlined int decap6(struct __sk_buff *skb) {
  const __u64 mac = BURNT(KNET_MAC_BYTES), header = BURNT(KNET_PORT) ? 48 : 40;
  struct knet_key6 key = {.bits = 128};
  int half_summed = 0;

  struct ipv6 *ip;
  POINT(ip, mac, mac + sizeof *ip, return TC_UNSPEC);
  // Extension headers, fragments among them, are the stack's.
  if (ip->next != (BURNT(KNET_PORT) ? PROTO_UDP : PROTO_IPV6) || ip->destination[0] != BURNT(KNET_LOCAL6) ||
      ip->destination[1] != BURNT(KNET_LOCAL6 + 1) || ip->version_class >> 4 != 6)
    return TC_UNSPEC;
  if (BURNT(KNET_PORT)) {
    POINT(ip, mac, mac + header, return TC_UNSPEC);
    struct udp *udp = (void *)(ip + 1);
    if (udp->destination != (__u16)BURNT(KNET_PORT)) return TC_UNSPEC;
    if (!skb->gso_size && udp->length != ip->payload) return TC_UNSPEC;
    if (rare(udp->check)) {
      __u32 sum = swap16(PROTO_UDP) + udp->length;
#pragma unroll
      for (int i = 0; i < 16; ++i) sum += ((__u16 *)ip->source)[i];
      half_summed = udp->check == fold(sum);
    }
  }
  const __u32 there = skb->len - mac;
  const __u32 total = skb->gso_size ? there : swap16(ip->payload) + sizeof *ip;
  if (total > there) return TC_UNSPEC;
  if (total < header + sizeof *ip) return pass(TC_SHOT, KNET_MALFORMED, 0);
  POINT(ip, mac, mac + header + sizeof *ip, return pass(TC_SHOT, KNET_MALFORMED, 0));
  struct ipv6 *inner = (void *)ip + header;
  const __u32 room = total - header;
  if (inner->version_class >> 4 != 6) return pass(TC_SHOT, KNET_MALFORMED, room);
  const int bad = check_length(skb, swap16(inner->payload) + sizeof *inner, 40, room);
  if (bad) return bad;
  if (rare(uncut(skb, inner->next))) return pass(TC_UNSPEC, KNET_UNUSUAL_IN, room);

  key.address[0] = inner->source[0];
  key.address[1] = inner->source[1];
  const __u64 from[2] = {ip->source[0], ip->source[1]};
  const __u8 old = inner->class_flow, ecn_now = old >> 4 & ECN_MASK;
  const __u8 ecn = ecn_after(ip->class_flow >> 4 & ECN_MASK, ecn_now);
  struct knet_peer6 *peer = map_lookup((void *)BURNT(KNET_PEERS6), &key);
  if (!peer) return pass(TC_SHOT, KNET_UNKNOWN, room);
  if (peer->outer[0] != from[0] || peer->outer[1] != from[1]) return pass(TC_SHOT, KNET_SPOOFED, room);
  if (rare(ecn != ecn_now)) {
    if (ecn > ECN_MASK) return pass(TC_SHOT, KNET_CONGESTED, room);
    const __u8 byte = (old & 0xcf) | ecn << 4;
    if (skb_store_bytes(skb, mac + header + 1, &byte, 1, 0)) return pass(TC_SHOT, KNET_FAILED, room);
  }
  return deliver(skb, header, half_summed, mac, room);
}

SECTION("tc/decap") int decap(struct __sk_buff *skb) {
  const __u32 type = skb->protocol;
  if (type != swap16(ETH_IP) && type != swap16(ETH_IPV6)) return TC_UNSPEC;
  // Another host's, or on its way to a VLAN device, which has a filter of its own if it is an uplink.
  if (skb->pkt_type != 0 || (skb->vlan_present && skb->vlan_tci & 0xfff)) return TC_UNSPEC;
  if (type == swap16(ETH_IP)) return BURNT(KNET_LOCAL4) ? decap4(skb) : TC_UNSPEC;
  return BURNT(KNET_UPLINK6) ? decap6(skb) : TC_UNSPEC;
}
