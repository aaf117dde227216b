// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: writes to a field of the context that is read-only.
//
// `good` reads what exists. `bad` writes the interface number, `past_end` reads
// past the last field.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int good(struct xdp_md *ctx)
{
	return ctx->ingress_ifindex + ctx->rx_queue_index;
}

SEC("xdp")
int bad(struct xdp_md *ctx)
{
	*(volatile __u32 *)&ctx->ingress_ifindex = 1; /* FAULT */
	return XDP_PASS;
}

SEC("xdp")
int past_end(struct xdp_md *ctx)
{
	return *(volatile __u32 *)(ctx + 1); /* FAULT */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
