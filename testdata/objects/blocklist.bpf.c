// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A long block-list that costs little: a bloom filter in front of a hash.
//
// Most packets come from nobody on the list. The filter is small and says "no" for
// certain; only when it says "maybe" does the program search the hash, and now and then
// in vain. `trap` puts sources into both, as the filter has to know all that the hash does.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* For 4 entries and one hash function: so small that it errs in a demonstration. */
struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(map_flags, BPF_F_ZERO_SEED);
	__uint(map_extra, 1);
	__uint(max_entries, 4);
	__type(value, __be32);
} filter SEC(".maps");

/* Blocked sources, and the packets dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, __u64);
} blocked SEC(".maps");

/* Packets that the filter let through, that were on the list, that were not after all. */
__u64 certain, right, wrong;

static __always_inline int source_of(struct xdp_md *ctx, __be32 *source)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return -1;
	*source = ip->saddr;
	return 0;
}

/* On an interface that nobody has reason to send to: who does is blocked. */
SEC("xdp")
int trap(struct xdp_md *ctx)
{
	__be32 source;
	__u64 none = 0;

	if (source_of(ctx, &source))
		return XDP_DROP;
	if (!bpf_map_update_elem(&blocked, &source, &none, BPF_NOEXIST))
		bpf_map_push_elem(&filter, &source, BPF_ANY);
	return XDP_DROP;
}

SEC("xdp")
int check(struct xdp_md *ctx)
{
	__u64 *dropped;
	__be32 source;

	if (source_of(ctx, &source))
		return XDP_PASS;
	if (bpf_map_peek_elem(&filter, &source)) {
		__sync_fetch_and_add(&certain, 1);
		return XDP_PASS;
	}
	dropped = bpf_map_lookup_elem(&blocked, &source);
	if (!dropped) {
		__sync_fetch_and_add(&wrong, 1);
		return XDP_PASS;
	}
	__sync_fetch_and_add(&right, 1);
	__sync_fetch_and_add(dropped, 1);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
