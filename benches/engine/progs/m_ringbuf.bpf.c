// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A record of 64 bytes reserved in a ring buffer, written and submitted.
#include "bench.h"

RINGBUF(ring, 1 << 26);

SEC("xdp")
int prog(struct xdp_md *ctx)
{
	STATE;
	u64 *record = bpf_ringbuf_reserve(&ring, 64, 0);
	u64 x;

	if (!record)
		return XDP_ABORTED;
	x = h->rng++;
	for (int i = 0; i < 8; i++)
		record[i] = x + i;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return XDP_PASS;
}
