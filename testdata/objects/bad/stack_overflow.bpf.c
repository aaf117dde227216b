// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: runs off its stack through a computed index.
//
// A frame has 512 bytes. The buffer takes 64 of them; the index depends on the
// packet's length, and the line marked FAULT writes 8 bytes at buffer + 8 *
// length, which for a packet of eight bytes or more lies above the frame.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int overflow(struct xdp_md *ctx)
{
	volatile __u64 buffer[8] = {};
	__u32 length = ctx->data_end - ctx->data;

	buffer[length] = 1; /* FAULT */
	return buffer[0];
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
