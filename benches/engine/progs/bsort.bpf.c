// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Bubble sort of 64 numbers on the stack, read from the packet anew in each run: loads
// and stores through a pointer to the caller's frame, and branches that depend on data.
#include "bench.h"

struct numbers {
	u32 a[64];
};

global_fn int pass(struct numbers *p)
{
	u32 swapped = 0;

	if (!p)
		return 0;
	for (u32 j = 0; j < 63; j++) {
		u32 x = p->a[j], y = p->a[j + 1];

		if (x > y) {
			p->a[j] = y;
			p->a[j + 1] = x;
			swapped++;
		}
	}
	return swapped;
}

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	PACKET(512);
	struct numbers t;
	u32 sum = 0;

	for (u32 i = 0; i < 64; i++)
		t.a[i] = *(u32 *)(data + 64 + i * 4);
	for (u32 i = 0; i < 63; i++)
		pass(&t);
	for (u32 i = 0; i < 64; i++)
		sum = sum * 31 + t.a[i];
	return sum & 0x7fffffff;
}
