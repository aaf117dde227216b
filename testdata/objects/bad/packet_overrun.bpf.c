// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: reads the packet without comparing with its end.
//
// The line marked FAULT reads four bytes at offset 30; a packet of fewer than
// 34 bytes does not have them. A longer one does: then nothing happens, though
// the kernel's verifier refuses the program in any case.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int overrun(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;

	return *(volatile __u32 *)(data + 30) == 0 ? /* FAULT */
		XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
