// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Moving the bounds of a packet: its head, its tail and the metadata before it.
//
// Every move makes the pointers to the packet stale; they are read again from
// the context. There is room before the packet (256 bytes), which head and
// metadata share, and some behind it.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

/* What the moves that must fail returned. */
__s32 head_too_far, tail_too_short, meta_unaligned, meta_too_long;

/* Puts a four-byte tag before the packet. */
SEC("xdp")
int push(struct xdp_md *ctx)
{
	__u8 *data;

	head_too_far = bpf_xdp_adjust_head(ctx, -4096);
	if (bpf_xdp_adjust_head(ctx, -4))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	if ((void *)(data + 4) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	data[0] = 't';
	data[1] = 'a';
	data[2] = 'g';
	data[3] = '!';
	return XDP_PASS;
}

/* Removes the Ethernet header. */
SEC("xdp")
int pop(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_head(ctx, ETH_HLEN))
		return XDP_ABORTED;
	return XDP_PASS;
}

/* Cuts off the last four bytes, then appends two, which are zero. */
SEC("xdp")
int trim(struct xdp_md *ctx)
{
	tail_too_short = bpf_xdp_adjust_tail(ctx, -4096);
	if (bpf_xdp_adjust_tail(ctx, -4) || bpf_xdp_adjust_tail(ctx, 2))
		return XDP_ABORTED;
	return XDP_PASS;
}

/* Leaves a note for whoever handles the packet next. */
SEC("xdp")
int annotate(struct xdp_md *ctx)
{
	__u32 *meta;

	meta_unaligned = bpf_xdp_adjust_meta(ctx, -3);
	meta_too_long = bpf_xdp_adjust_meta(ctx, -300);
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta)))
		return XDP_ABORTED;
	meta = (void *)(long)ctx->data_meta;
	if ((void *)(meta + 1) > (void *)(long)ctx->data)
		return XDP_ABORTED;
	*meta = 0x11223344;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
