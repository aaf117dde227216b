// SPDX-License-Identifier: MIT OR Apache-2.0
//
// SipHash-2-4 over 1504 bytes: 64-bit arithmetic and rotations on four registers.
#include "bench.h"

#define rol(x, k) (((x) << (k)) | ((x) >> (64 - (k))))
#define ROUND                                                                  \
	do {                                                                   \
		v0 += v1; v1 = rol(v1, 13); v1 ^= v0; v0 = rol(v0, 32);        \
		v2 += v3; v3 = rol(v3, 16); v3 ^= v2;                          \
		v0 += v3; v3 = rol(v3, 21); v3 ^= v0;                          \
		v2 += v1; v1 = rol(v1, 17); v1 ^= v2; v2 = rol(v2, 32);        \
	} while (0)

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	PACKET(1504);
	u64 k0 = 0x0706050403020100ULL, k1 = 0x0f0e0d0c0b0a0908ULL;
	u64 v0 = 0x736f6d6570736575ULL ^ k0, v1 = 0x646f72616e646f6dULL ^ k1;
	u64 v2 = 0x6c7967656e657261ULL ^ k0, v3 = 0x7465646279746573ULL ^ k1;
	u64 h;

	for (u32 i = 0; i < 188; i++) {
		u64 m = *(u64 *)(data + i * 8);

		v3 ^= m;
		ROUND;
		ROUND;
		v0 ^= m;
	}
	v2 ^= 0xff;
	ROUND;
	ROUND;
	ROUND;
	ROUND;
	h = v0 ^ v1 ^ v2 ^ v3;
	return (u32)(h ^ (h >> 32)) & 0x7fffffff;
}
