// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A packet rewritten as by a router (addresses swapped, TTL and checksum adjusted), and
// 640 bytes of it moved: loads and stores of packet memory.
#include "bench.h"

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	PACKET(1500);
	u32 source, destination, sum;
	u16 *checksum = (u16 *)(data + 24);
	u64 *from = (u64 *)(data + 56), *to = (u64 *)(data + 800);

	for (u32 i = 0; i < 6; i++) {
		u8 t = data[i];

		data[i] = data[6 + i];
		data[6 + i] = t;
	}
	source = *(u32 *)(data + 26);
	destination = *(u32 *)(data + 30);
	*(u32 *)(data + 26) = destination;
	*(u32 *)(data + 30) = source;

	sum = *checksum;
	sum += 1;
	sum = (sum & 0xffff) + (sum >> 16);
	*checksum = (u16)sum;
	data[22]--;

	for (u32 i = 0; i < 80; i++)
		to[i] = from[i];
	return XDP_TX;
}
