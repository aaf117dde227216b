// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A thousand rounds of 64-bit and 32-bit multiplication, division and remainder.
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	PACKET(64);
	u64 x = *(u64 *)data | 1, acc = 0;
	u32 y = (u32)x | 3;

	for (u32 i = 1; i <= 1000; i++) {
		u64 d;

		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		d = (x >> 40) | 1;
		acc += (x ^ acc) / d;
		acc ^= (x + i) % (d + 2);
		y = y * 1664525u + 1013904223u;
		acc += (y / ((y >> 20) | 1)) ^ (y % 1021u);
	}
	return (u32)(acc ^ (acc >> 32)) & 0x7fffffff;
}
