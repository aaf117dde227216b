// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: uses a packet pointer from before the packet was cut.
//
// The length is compared with the old end. After 20 bytes have been cut off the
// tail of a packet of, say, 60 bytes, byte 59 no longer exists.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int stale(struct xdp_md *ctx)
{
	volatile __u8 *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	if ((void *)(data + 60) > end || bpf_xdp_adjust_tail(ctx, -20))
		return XDP_ABORTED;
	return data[59] ? XDP_DROP : XDP_PASS; /* FAULT */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
