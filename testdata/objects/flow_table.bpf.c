// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A flow table that cannot overflow.
//
// Each TCP or UDP flow over IPv4 has an entry with its packets and bytes. There are more
// flows than entries: LRU maps make room for a new one by forgetting some that were not
// looked up lately. Flows with much traffic stay; the others come back as new ones, and
// `opened` says how often that happened.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* What tells flows apart. */
struct flow {
	__u8 source[4];
	__u8 destination[4];
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 padding[3]; /* keys are compared byte by byte, these too */
};

struct source {
	__u8 address[4];
};

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16);
	__type(key, struct flow);
	__type(value, struct traffic);
} flows SEC(".maps");

/* By source address, counted on each CPU apart. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 8);
	__type(key, struct source);
	__type(value, struct traffic);
} talkers SEC(".maps");

/* Flows that got an entry, each as often as it did. */
__u64 opened;

static __always_inline void count_talker(struct iphdr *ip, __u64 bytes)
{
	struct source source;
	struct traffic first = {1, bytes}, *seen;

	__builtin_memcpy(source.address, &ip->saddr, sizeof(source.address));
	seen = bpf_map_lookup_elem(&talkers, &source);
	if (!seen) {
		bpf_map_update_elem(&talkers, &source, &first, BPF_NOEXIST);
		return;
	}
	seen->packets++; /* nobody else writes this CPU's copy */
	seen->bytes += bytes;
}

SEC("xdp")
int track(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	__u64 bytes = end - data;
	struct traffic first = {1, bytes}, *seen;
	struct flow flow = {};
	__be16 *ports;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5)
		return XDP_PASS;
	ports = (void *)(ip + 1);
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	if ((void *)(ports + 2) > end)
		return XDP_DROP; /* cut before the ports */

	__builtin_memcpy(flow.source, &ip->saddr, sizeof(flow.source));
	__builtin_memcpy(flow.destination, &ip->daddr, sizeof(flow.destination));
	flow.source_port = bpf_ntohs(ports[0]);
	flow.destination_port = bpf_ntohs(ports[1]);
	flow.protocol = ip->protocol;

	count_talker(ip, bytes);
	seen = bpf_map_lookup_elem(&flows, &flow);
	if (seen) {
		__sync_fetch_and_add(&seen->packets, 1);
		__sync_fetch_and_add(&seen->bytes, bytes);
	} else if (!bpf_map_update_elem(&flows, &flow, &first, BPF_NOEXIST)) {
		__sync_fetch_and_add(&opened, 1);
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
