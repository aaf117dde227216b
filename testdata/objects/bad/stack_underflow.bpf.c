// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: runs off the lower end of its stack, in a sub-program.
//
// The loop walks down from a local buffer, eight bytes at a time. It leaves the
// frame of the sub-program after 64 steps; the line marked FAULT must
// not reach the frame of anyone else.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static __noinline int walk(__u32 steps)
{
	volatile __u64 buffer[2];

#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < steps; i++)
		*(&buffer[1] - i) = i; /* FAULT */
	return buffer[0];
}

SEC("xdp")
int underflow(struct xdp_md *ctx)
{
	return walk(ctx->data_end - ctx->data + 128);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
