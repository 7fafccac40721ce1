/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What knet's BPF programs share: constants that are burnt in when a program is loaded (each BURNT(n) is a 64-bit load with
   a number that the loader replaces; a branch that such a constant decides is no part of the program that runs), the
   kernel's helpers, the headers of packets, and how a packet is read. */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#include "abi.h"

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
