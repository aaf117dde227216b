// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Accounts for flows in values that have a bit of everything that C has: nested and
// anonymous structs, a union, arrays, text, an enumeration, bitfields, signed numbers, a
// pointer-sized gap, and a lock.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>

enum state {
	FLOW_NEW,
	FLOW_OPEN,
	FLOW_CLOSED = 7,
};

struct flow_key {
	__u8 source[4];
	__u8 dest[4];
	__u8 protocol;
};

struct flow {
	struct bpf_spin_lock lock;
	enum state state;
	struct {
		__u64 packets;
		__u64 bytes;
	} rx, tx;
	struct {
		__u16 port;
		_Bool marked;
	};
	union {
		__u32 v4;
		__u8 v6[16];
	} next_hop;
	__s32 balance;
	__u32 urgent : 1;
	__u32 priority : 3;
	__s32 shift : 4;
	char name[8];
	__u16 sizes[3];
};

struct slot {
	__u32 hits;
	__u16 last;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, struct flow_key);
} fresh SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct slot);
} by_port SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} stages SEC(".maps");

SEC("xdp")
int account(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct flow_key key = {};
	struct flow new = {}, *flow;
	struct slot slot = {}, *hit;
	__u32 port = 53;

	if ((void *)(ip + 1) > end)
		return XDP_DROP;
	__builtin_memcpy(key.source, &ip->saddr, sizeof(key.source));
	__builtin_memcpy(key.dest, &ip->daddr, sizeof(key.dest));
	key.protocol = ip->protocol;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow) {
		bpf_map_update_elem(&flows, &key, &new, BPF_NOEXIST);
		bpf_map_push_elem(&fresh, &key, BPF_EXIST);
		flow = bpf_map_lookup_elem(&flows, &key);
		if (!flow)
			return XDP_ABORTED;
	}
	bpf_spin_lock(&flow->lock);
	flow->state = FLOW_OPEN;
	flow->rx.packets++;
	flow->rx.bytes += end - data;
	flow->priority = 5;
	flow->shift = -3;
	flow->balance--;
	bpf_spin_unlock(&flow->lock);
	bpf_map_update_elem(&by_port, &port, &slot, BPF_NOEXIST);
	hit = bpf_map_lookup_elem(&by_port, &port);
	if (hit)
		hit->hits++;
	bpf_tail_call(ctx, &stages, 0);
	return XDP_PASS;
}

/* A program of another type, which the array of stages does not take. */
SEC("tc")
int other(struct __sk_buff *skb)
{
	return bpf_map_lookup_elem(&slots, &skb->mark) || bpf_map_lookup_elem(&tables, &skb->mark);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
