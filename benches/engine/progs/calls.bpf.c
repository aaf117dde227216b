// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A tree of BPF-to-BPF calls: 8 * (1 + 4 * (1 + 2)) = 104 of them.
#include "bench.h"

/* What is measured is the calls: nothing may be folded into them. */
#define opaque(x) asm volatile("" : "+r"(x))

noinline_fn u64 leaf(u64 a, u64 b)
{
	opaque(a);
	return (a ^ (b << 3)) + 0x9e37;
}

noinline_fn u64 middle(u64 a, u64 b, u64 c)
{
	u64 r;

	opaque(a);
	r = leaf(a, b) + c;
	return r ^ leaf(r, c);
}

noinline_fn u64 top(u64 a)
{
	u64 r;

	opaque(a);
	r = a;
	r += middle(r, a, 1);
	r ^= middle(r, a, 2);
	r += middle(a, r, 3);
	r ^= middle(r, r, 4);
	return r;
}

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	PACKET(64);
	u64 x = data[0];

	for (u32 i = 0; i < 8; i++)
		x = top(x + i);
	return (u32)(x ^ (x >> 32)) & 0x7fffffff;
}
