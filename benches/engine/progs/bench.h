/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the programs share. The same source is compiled twice:
 *
 *   BPF     -O2 -g -target bpf -mcpu=v3, maps by BTF
 *   native  -O2 -Dprog=prog_NAME, maps and helpers of ../native/maps.c
 *
 * Every program is `SEC("xdp") int prog(struct xdp_md *ctx)`. Those on maps keep
 * their state in the packet, which starts with `struct hdr`: with mode 1 a run
 * fills the map with entry idx++, with mode 0 it does the work that is measured.
 */
#pragma once
#include <linux/bpf.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

struct hdr {
	u64 rng;
	u32 mode;
	u32 idx;
};

#define inline_fn static inline __attribute__((always_inline))
#define noinline_fn static __attribute__((noinline))

#ifdef __bpf__

#include <bpf/bpf_helpers.h>

/* A function that the kernel verifies once, apart from its callers. */
#define global_fn __attribute__((noinline))

#define MAP_FLAGS(NAME, TYPE, K, V, N, FLAGS)                                  \
	struct {                                                               \
		__uint(type, TYPE);                                            \
		__type(key, K);                                                \
		__type(value, V);                                              \
		__uint(max_entries, N);                                        \
		__uint(map_flags, FLAGS);                                      \
	} NAME SEC(".maps")

#define RINGBUF(NAME, BYTES)                                                   \
	struct {                                                               \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                            \
		__uint(max_entries, BYTES);                                    \
	} NAME SEC(".maps")

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#else

#include "../native/maps.h"

#define SEC(NAME)
#define global_fn noinline_fn

#define MAP_FLAGS(NAME, TYPE, K, V, N, FLAGS)                                  \
	static struct native_map NAME __attribute__((section("native_maps"))) = \
		{ TYPE, sizeof(K), sizeof(V), N, 0 }
#define RINGBUF(NAME, BYTES)                                                   \
	static struct native_map NAME __attribute__((section("native_maps"))) = \
		{ BPF_MAP_TYPE_RINGBUF, 0, 0, BYTES, 0 }

#endif

#define MAP(NAME, TYPE, K, V, N) MAP_FLAGS(NAME, TYPE, K, V, N, 0)

/* Declares `data`, of which the first `LEN` bytes are there. */
#define PACKET(LEN)                                                            \
	u8 *data = (u8 *)(long)ctx->data;                                      \
	u8 *data_end = (u8 *)(long)ctx->data_end;                              \
	if (data + (LEN) > data_end)                                           \
		return XDP_ABORTED

/* Declares `h`, the state of a program on maps. */
#define STATE                                                                  \
	PACKET(sizeof(struct hdr));                                            \
	struct hdr *h = (struct hdr *)data

inline_fn u64 next_random(struct hdr *h)
{
	u64 x = h->rng;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	h->rng = x;
	return x;
}

/* A key of 16 bytes. */
struct flow {
	u32 saddr, daddr;
	u16 sport, dport;
	u32 proto;
};

inline_fn void make_flow(struct flow *f, u32 i)
{
	f->saddr = i * 2654435761u;
	f->daddr = 0x0a000001;
	f->sport = i >> 3;
	f->dport = 443;
	f->proto = 6;
}
