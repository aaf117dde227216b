// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Jenkins' hash over 1500 bytes: 32-bit arithmetic and rotations.
#include "bench.h"

#define rol32(x, k) (((x) << (k)) | ((x) >> (32 - (k))))
#define MIX(a, b, c)                                                           \
	do {                                                                   \
		a -= c; a ^= rol32(c, 4);  c += b;                             \
		b -= a; b ^= rol32(a, 6);  a += c;                             \
		c -= b; c ^= rol32(b, 8);  b += a;                             \
		a -= c; a ^= rol32(c, 16); c += b;                             \
		b -= a; b ^= rol32(a, 19); a += c;                             \
		c -= b; c ^= rol32(b, 4);  b += a;                             \
	} while (0)

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	PACKET(1500);
	u32 a, b, c;

	a = b = c = 0xdeadbeef + 1500;
	for (u32 i = 0; i < 125; i++) {
		u32 *p = (u32 *)(data + i * 12);

		a += p[0];
		b += p[1];
		c += p[2];
		MIX(a, b, c);
	}
	return c & 0x7fffffff;
}
