// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Byte totals per CPU, over all packets and by protocol.
//
// Each CPU has its own copy of a per-CPU value, so adding to it needs no atomic
// instruction; whoever reads the map adds the copies up.
#include <linux/bpf.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>

struct totals {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct totals);
} all SEC(".maps");

/* By the protocol number of the IPv4 header. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 256);
	__type(key, __u8);
	__type(value, struct totals);
} by_protocol SEC(".maps");

/* A cgroup program sees the packet from its IP header on. */
SEC("cgroup_skb/ingress")
int count_bytes(struct __sk_buff *skb)
{
	struct totals fresh = {1, skb->len}, *totals;
	__u32 zero = 0;
	__u8 protocol;

	totals = bpf_map_lookup_elem(&all, &zero);
	if (totals) {
		totals->packets++;
		totals->bytes += skb->len;
	}

	if (bpf_skb_load_bytes(skb, offsetof(struct iphdr, protocol), &protocol,
			       sizeof(protocol)))
		return 1; /* too short for an IPv4 header */
	totals = bpf_map_lookup_elem(&by_protocol, &protocol);
	if (totals) {
		totals->packets++;
		totals->bytes += skb->len;
	} else {
		bpf_map_update_elem(&by_protocol, &protocol, &fresh, BPF_NOEXIST);
	}
	return 1; /* let the packet through */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
