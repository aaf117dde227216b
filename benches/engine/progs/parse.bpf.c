// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Ethernet, VLAN, IPv4 and TCP headers, each bounds-checked; returns the destination
// port. What most packet programs start with.
#include "bench.h"
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>

#define swap16(x) __builtin_bswap16(x)

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(long)ctx->data, *end = (u8 *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)data;
	struct iphdr *ip;
	struct tcphdr *tcp;
	u16 proto;
	u8 *p;
	u32 ihl;

	if ((u8 *)(eth + 1) > end)
		return XDP_DROP;
	proto = eth->h_proto;
	p = (u8 *)(eth + 1);
	if (proto == swap16(0x8100)) {
		if (p + 4 > end)
			return XDP_DROP;
		proto = *(u16 *)(p + 2);
		p += 4;
	}
	if (proto != swap16(0x0800))
		return XDP_PASS;

	ip = (void *)p;
	if ((u8 *)(ip + 1) > end)
		return XDP_DROP;
	ihl = *p & 0xf;
	if (ihl < 5)
		return XDP_DROP;
	if (ip->frag_off & swap16(0x3fff))
		return XDP_PASS;
	if (ip->protocol != 6)
		return XDP_PASS;

	tcp = (void *)(p + ihl * 4);
	if ((u8 *)(tcp + 1) > end)
		return XDP_DROP;
	return swap16(tcp->dest);
}
