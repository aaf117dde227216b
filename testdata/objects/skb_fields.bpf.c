// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The context of a packet in the network stack, `struct __sk_buff`.
//
// A field is read and written as if it were memory; the kernel rewrites each
// access. `data` and `data_end` bound the bytes that can be read directly;
// bpf_skb_load_bytes copies any others.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* What the program saw. */
struct fields {
	__u32 len, protocol, mark, priority, ingress_ifindex, ifindex, queue_mapping;
	__u32 cb[5];
	__u32 linear; /* bytes between data and data_end */
	__u32 first_word;
	__u8 tail[4]; /* the last four bytes */
	__s32 past_end; /* what reading past the end returned */
} seen;

SEC("tc")
int fields(struct __sk_buff *skb)
{
	__u8 *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u8 unused[8];
	__u32 len = skb->len;

	seen.len = len;
	seen.protocol = bpf_ntohs(skb->protocol);
	seen.mark = skb->mark;
	seen.priority = skb->priority;
	seen.ingress_ifindex = skb->ingress_ifindex;
	seen.ifindex = skb->ifindex;
	seen.queue_mapping = skb->queue_mapping;
	for (int i = 0; i < 5; i++)
		seen.cb[i] = skb->cb[i];
	seen.linear = end - (void *)data;

	if ((void *)(data + 4) <= end) {
		seen.first_word = *(__u32 *)data;
		data[0] = 0xfe; /* the packet can be written as well */
		data[1] ^= 0xff;
	}

	bpf_skb_load_bytes(skb, len - 4, seen.tail, sizeof(seen.tail));
	seen.past_end = bpf_skb_load_bytes(skb, len - 4, unused, sizeof(unused));

	skb->mark = seen.mark + 1;
	skb->priority = 0x10002;
	skb->tc_classid = 0x30004;
	skb->tstamp = 5;
	for (int i = 0; i < 5; i++)
		skb->cb[i] = i + 10;
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
