/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What knet's BPF programs and their loader agree on, whichever program it is. Plain C, for both. */
#pragma once

#include <linux/types.h>

/* A 64-bit load of this number plus a slot is replaced by the slot's value ("knet"). */
#define KNET_BURNT_MARK 0x6b6e657400000000ull
/* A call of this number plus n becomes one of the n-th kernel function (kfunc) that the loader is given. */
#define KNET_CALL_MARK 0x6b6e0000

/* An entry of a per-CPU array of counters. */
struct knet_count {
  __u64 packets;
  __u64 bytes;
};
