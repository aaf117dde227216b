// SPDX-License-Identifier: MIT OR Apache-2.0
// debug: none
//
// An object without any type information: code, a licence and nothing else.
//
// Drops packets whose bytes have an odd sum. The sub-program lies in .text and
// is reached by a relocation against that section.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static __noinline __u32 sum(struct xdp_md *ctx, __u32 limit)
{
	__u8 *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 total = 0;

	for (__u32 i = 0; i < limit && (void *)(data + i + 1) <= end; i++)
		total += data[i];
	return total;
}

SEC("xdp")
int parity(struct xdp_md *ctx)
{
	return sum(ctx, 64) & 1 ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
