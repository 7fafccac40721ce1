/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the shortcut's program and its loader agree on. Plain C, for both. */
#pragma once

#include "abi.h"

enum knet_shortcut_slot {
  KNET_FLOWS,     /* map */
  KNET_DIRECT,    /* map: indexes of pods' links on whose egress nothing waits for packets */
  KNET_TAKEN,     /* map: one struct knet_count for each CPU */
  KNET_CT_STATUS, /* where in struct nf_conn its status stands, in bytes */
  KNET_CT_STATE,  /* and its TCP state */
  KNET_CT_MARK,   /* and its mark; 0: it has none */
  KNET_SHORTCUT_SLOTS
};

/* Kernel functions, in the loader's order. */
enum knet_shortcut_call { KNET_CALL_CT_LOOKUP, KNET_CALL_CT_RELEASE, KNET_SHORTCUT_CALLS };

/* LRU hash: which way a connection's packets went a moment ago, one direction of it, as they come in. */
struct knet_flow {
  __u32 ifindex;
  __u32 ports;     /* as they lie in the TCP header */
  __u32 source[4]; /* IPv4: the first */
  __u32 destination[4];
};
struct knet_way {
  __u64 until;   /* CLOCK_MONOTONIC, coarse, ns */
  __u32 ifindex;
  __u16 wire;    /* packets of so many bytes fit */
  __u8 direct;   /* right into the pod */
  __u8 macs[12]; /* to, from */
  __u8 zero[5];
};
