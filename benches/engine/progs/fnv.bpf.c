// SPDX-License-Identifier: MIT OR Apache-2.0
//
// FNV-1a over 1500 bytes: byte loads and a chain of multiplications.
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	PACKET(1500);
	u64 h = 0xcbf29ce484222325ULL;

	for (u32 i = 0; i < 1500; i++) {
		h ^= data[i];
		h *= 0x100000001b3ULL;
	}
	return (u32)(h ^ (h >> 32)) & 0x7fffffff;
}
