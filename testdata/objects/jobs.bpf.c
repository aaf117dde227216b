// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Work that one program hands to another.
//
// `submit` sees packets and may not take long. What deserves a longer look it writes into
// a slot, and the slot's number goes into a queue; `work` takes numbers out of the queue,
// first come, first served, one whenever a CPU turns to another task. Spare slots lie on a
// stack, where user space puts them at first: the one used last is used next, while its
// memory is still in a cache.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define SLOTS 4

struct job {
	__be32 source;
	__u16 length;
	__u8 protocol;
	__u8 uses; /* how often the slot was used */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct job);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, SLOTS);
	__type(value, __u32);
} waiting SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, SLOTS);
	__type(value, __u32);
} spare SEC(".maps");

/* Bytes of all packets that `work` has seen to, and packets that found no spare slot. */
__u64 worked;
__u64 lost;

SEC("xdp")
int submit(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct job *job;
	__u32 slot;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (bpf_map_pop_elem(&spare, &slot)) {
		__sync_fetch_and_add(&lost, 1);
		return XDP_PASS; /* ENOENT: all slots are waiting */
	}
	job = bpf_map_lookup_elem(&slots, &slot);
	if (!job)
		return XDP_ABORTED; /* there is no slot of that number */
	job->source = ip->saddr;
	job->length = bpf_ntohs(ip->tot_len);
	job->protocol = ip->protocol;
	bpf_map_push_elem(&waiting, &slot, BPF_ANY);
	return XDP_PASS;
}

/* Sees to one job; returns whether there was one. */
SEC("raw_tp/sched_switch")
int work(void *ctx)
{
	struct job *job;
	__u32 slot;

	if (bpf_map_pop_elem(&waiting, &slot))
		return 0;
	job = bpf_map_lookup_elem(&slots, &slot);
	if (!job)
		return 0;
	bpf_printk("slot %u: %u bytes, protocol %u", slot, job->length, job->protocol);
	__sync_fetch_and_add(&worked, job->length);
	job->uses++;
	bpf_map_push_elem(&spare, &slot, BPF_ANY);
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
