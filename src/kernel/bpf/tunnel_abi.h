/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the tunnel's programs and their loader agree on: the constants that are burnt in, the maps' entries, the counters.
   Plain C, for both. Addresses and ports are in network order. */
#pragma once

#include "abi.h"

enum knet_slot {
  KNET_PEERS4,     /* map */
  KNET_PEERS6,     /* map */
  KNET_COUNTS,     /* map */
  KNET_TUNNEL,     /* the TUN device's index */
  KNET_UPLINK4,    /* index of the device that sends; 0: no such family */
  KNET_UPLINK6,
  KNET_LOCAL4,     /* outer source and, coming, destination */
  KNET_LOCAL6,     /* its two halves, as they lie in memory */
  KNET_LOCAL6_END,
  KNET_PORT,       /* UDP; 0: no UDP, IP in IP */
  KNET_ASK_ROUTE,  /* 1: the uplink is whichever the route says, the one above only where that does not tell */
  KNET_MAC_BYTES,  /* before the IP header on the device that the program stands on: 14 or 0 */
  KNET_SLOTS
};

/* Longest-prefix tries: who has an inner address. */
struct knet_key4 {
  __u32 bits;
  __u32 address;
};
struct knet_peer4 {
  __u32 outer;
  __u16 port;
  __u16 by_user; /* 1: packets to it are userspace's to pack */
};
struct knet_key6 {
  __u32 bits;
  __u64 address[2];
} __attribute__((packed, aligned(4)));
struct knet_peer6 {
  __u64 outer[2];
  __u16 port;
  __u16 by_user;
  __u16 zero[2];
};

/* Per-CPU array of struct knet_count. */
enum knet_counted {
  KNET_ENCAPSULATED,
  KNET_DECAPSULATED,
  /* passed to userspace */
  KNET_NO_PEER,
  KNET_TOO_BIG,
  KNET_UNUSUAL,
  KNET_UNUSUAL_IN,
  /* dropped */
  KNET_UNKNOWN,
  KNET_SPOOFED,
  KNET_MALFORMED,
  KNET_CONGESTED,
  KNET_FAILED,
  KNET_COUNTED
};
