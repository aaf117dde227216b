// SPDX-License-Identifier: MIT OR Apache-2.0
//
// As m_tail, by an index that only the packet tells.
#include "bench.h"

#ifdef __bpf__

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 4);
} programs SEC(".maps");

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	STATE;

	bpf_tail_call(ctx, &programs, h->mode & 3);
	return XDP_PASS;
}

#else

typedef int (*body)(struct xdp_md *, u32);

static int step(struct xdp_md *ctx, u32 n);
static const volatile body programs[4] = { step, step, step, step };

static int step(struct xdp_md *ctx, u32 n)
{
	STATE;

	if (n >= 33)
		return XDP_PASS;
	body next = programs[h->mode & 3];
	__attribute__((musttail)) return next(ctx, n + 1);
}

int prog(struct xdp_md *ctx)
{
	return step(ctx, 0);
}

#endif
