// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The Internet checksum of 1500 bytes, by halfwords: a loop of a load and two additions.
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	PACKET(1500);
	u32 sum = 0;

	for (u32 i = 0; i < 750; i++)
		sum += *(u16 *)(data + i * 2);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16)~sum;
}
