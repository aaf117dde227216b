// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A million iterations of integer arithmetic with a branch that depends on data.
#include "bench.h"

global_fn u64 inner(u64 a, u64 b)
{
	for (u32 i = 0; i < 1000; i++) {
		u64 t = a + b;

		a = b;
		b = t;
		if (b & 4)
			b ^= a >> 3;
		else
			a += i;
		/* Or it would be vectorised, or vanish. */
		asm volatile("" : "+r"(a), "+r"(b));
	}
	return a ^ b;
}

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	PACKET(64);
	u64 x = data[0];

	for (u32 i = 0; i < 1000; i++)
		x = inner(x, i);
	return (u32)x & 0x7fffffff;
}
