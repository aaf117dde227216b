// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Routes packets by the longest prefix of their destination, and keeps account without
// keys: a bloom filter of the sources seen, a queue of first sightings for user space to
// collect, and a stack of the last few next hops.
//
// The filter may take a new source for one it has seen, never the other way round; so the
// queue may miss a source, and holds none twice. It is full when nobody collects: then the
// oldest sighting goes (BPF_EXIST). The stack keeps what it has and refuses more.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct prefix {
	__u32 len;
	__u8 addr[4];
};

struct hop {
	__u32 port;
	__u32 packets;
};

struct sighting {
	__u32 source;
	__u16 len;
	__u8 protocol;
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, struct prefix);
	__type(value, struct hop);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(map_flags, BPF_F_ZERO_SEED);
	__uint(map_extra, 3);
	__uint(max_entries, 1000);
	__type(value, __u32);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 3);
	__type(value, struct sighting);
} sightings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 2);
	__uint(value_size, 4);
} hops SEC(".maps");

SEC("xdp")
int route(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct sighting sighting = {};
	struct prefix key = { .len = 32 };
	struct hop *hop;
	__u32 source;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	source = ip->saddr;
	if (bpf_map_peek_elem(&seen, &source)) {
		bpf_map_push_elem(&seen, &source, BPF_ANY);
		sighting.source = source;
		sighting.len = bpf_ntohs(ip->tot_len);
		sighting.protocol = ip->protocol;
		bpf_map_push_elem(&sightings, &sighting, BPF_EXIST);
	}
	__builtin_memcpy(key.addr, &ip->daddr, sizeof(key.addr));
	hop = bpf_map_lookup_elem(&routes, &key);
	if (!hop)
		return XDP_DROP;
	__sync_fetch_and_add(&hop->packets, 1);
	if (bpf_map_push_elem(&hops, &hop->port, BPF_ANY))
		return XDP_ABORTED; /* nobody takes them away */
	return XDP_TX;
}

/* Takes a sighting and a hop out; returns how many there were. */
SEC("raw_tp/sys_enter")
int collect(void *ctx)
{
	struct sighting sighting;
	__u32 port, taken = 0;

	if (!bpf_map_pop_elem(&sightings, &sighting))
		taken++;
	if (!bpf_map_pop_elem(&hops, &port))
		taken++;
	return taken;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
