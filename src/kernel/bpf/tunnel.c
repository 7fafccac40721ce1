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
#include "common.h"
#include "tunnel_abi.h"

enum { ECN_MASK = 3, ECN_NOT = 0, ECN_ECT1 = 1, ECN_ECT0 = 2, ECN_CE = 3 };
enum { HOP_LIMIT = 64 };

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

// --- encap

/// Room for the outer header, and an Ethernet header before it: redirect_neigh drops a packet without. `before` and
/// `flags` as bpf_skb_adjust_room has them.
inlined int make_room(struct __sk_buff *skb, __u32 size, __u64 flags) {
  if (BURNT(KNET_PORT)) flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
  return skb_adjust_room(skb, size, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | flags);
}

/// Where the outer packet goes.
struct way {
  __u32 uplink;
  struct bpf_redir_neigh hop;  // family 0: as the kernel finds it
};

/// As if the outer packet had come in on the tunnel's device: by the route to the peer, over whichever uplink. 0, or why
/// userspace gets it, which answers if there is no way at all.
inlined int find_way(struct __sk_buff *skb, struct bpf_fib_lookup *route, struct way *way) {
  const long result = fib_lookup(skb, route, sizeof *route, 0);
  if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED) return KNET_TOO_BIG;
  if (result && result != BPF_FIB_LKUP_RET_NO_NEIGH) return KNET_UNUSUAL;
  // Kernels before 5.12 do not tell the device of a neighbour that is yet to be found.
  if (route->ifindex == BURNT(KNET_TUNNEL)) return 0;
  way->uplink = route->ifindex;
  // Until the neighbour is found the packet waits for it, and goes on by its own route then: redirect_neigh gives it that of
  // the outer packet only where it looks for the next hop itself.
  if (result) return 0;
  way->hop.nh_family = route->family;
  __builtin_memcpy(way->hop.ipv6_nh, route->ipv6_dst, sizeof way->hop.ipv6_nh);  // IPv4's lies in the same place
  return 0;
}

inlined int leave_by(struct way *way) {
  return way->hop.nh_family ? redirect_neigh(way->uplink, &way->hop, sizeof way->hop, 0) : redirect_neigh(way->uplink, 0, 0, 0);
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
  struct way way = {.uplink = BURNT(KNET_UPLINK4)};
  if (BURNT(KNET_ASK_ROUTE)) {
    struct bpf_fib_lookup route = {.family = FAMILY_INET, .ifindex = BURNT(KNET_TUNNEL)};
    route.tot_len = wire > 0xffff ? 0xffff : wire;
    route.l4_protocol = BURNT(KNET_PORT) ? PROTO_UDP : PROTO_IPIP;
    route.ipv4_src = BURNT(KNET_LOCAL4);
    route.ipv4_dst = to;
    const int left = find_way(skb, &route, &way);
    if (left) return pass(TC_OK, left, bytes);
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
  return leave_by(&way);
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
  struct way way = {.uplink = BURNT(KNET_UPLINK6)};
  if (BURNT(KNET_ASK_ROUTE)) {
    struct bpf_fib_lookup route = {.family = FAMILY_INET6, .ifindex = BURNT(KNET_TUNNEL)};
    const __u64 local[2] = {BURNT(KNET_LOCAL6), BURNT(KNET_LOCAL6 + 1)};
    route.tot_len = wire > 0xffff ? 0xffff : wire;
    route.l4_protocol = BURNT(KNET_PORT) ? PROTO_UDP : PROTO_IPV6;
    __builtin_memcpy(route.ipv6_src, local, sizeof local);
    __builtin_memcpy(route.ipv6_dst, out.ip.destination, sizeof out.ip.destination);
    const int left = find_way(skb, &route, &way);
    if (left) return pass(TC_OK, left, bytes);
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
  return leave_by(&way);
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
