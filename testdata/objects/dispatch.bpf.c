// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Dispatches packets by their first byte through a table of programs.
//
// The table is filled in by the loader, from the initialiser below. A tail call
// does not return; where the slot is empty or the index is past the end, the
// call falls through and the next statement runs.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int on_one(struct xdp_md *ctx);
int on_two(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct xdp_md *));
} handlers SEC(".maps") = {
	.values = {
		[1] = (void *)&on_one,
		[2] = (void *)&on_two,
	},
};

/* How often each program ran; `missed` counts the calls that fell through. */
__u32 dispatched;
__u32 ones;
__u32 twos;
__u32 missed;

SEC("xdp")
int on_one(struct xdp_md *ctx)
{
	ones++;
	return XDP_DROP;
}

SEC("xdp")
int on_two(struct xdp_md *ctx)
{
	twos++;
	return XDP_TX;
}

SEC("xdp")
int dispatch(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	if ((void *)(data + 1) > end)
		return XDP_ABORTED;
	dispatched++;
	bpf_tail_call(ctx, &handlers, data[0]);
	missed++;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
