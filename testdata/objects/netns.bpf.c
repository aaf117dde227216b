// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Statistics per network namespace through maps in maps.
//
// The outer maps hold maps, not values: a lookup yields an inner map, which the
// program passes to a second lookup. Here the loader fills both outer maps from
// their initialisers (in a hash, the position in the initialiser is the key); a
// namespace that is not listed has no statistics.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* The type of the inner maps of `by_netns`: counts by interface index. */
struct by_interface {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} netns_1 SEC(".maps"), netns_2 SEC(".maps");

/* Keyed by the id of the namespace. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 8);
	__type(key, __u32);
	__array(values, struct by_interface);
} by_netns SEC(".maps") = {
	.values = {[1] = &netns_1, [2] = &netns_2},
};

/* The type of the inner maps of `by_class`: one total. */
struct total {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} small SEC(".maps"), large SEC(".maps");

/* Indexed by the class of the packet: 0 small, 2 large; 1 is left empty. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 3);
	__type(key, __u32);
	__array(values, struct total);
} by_class SEC(".maps") = {
	.values = {[0] = &small, [2] = &large},
};

static __always_inline __u32 class_of(__u32 len)
{
	return len < 128 ? 0 : len < 1024 ? 1 : 2;
}

/* What the program returns: which of the two lookups found a map. */
#define IN_NETNS 1
#define IN_CLASS 2

SEC("xdp")
int count(struct xdp_md *ctx)
{
	/* The first four bytes of the packet stand for the id of the namespace. */
	__u32 *id = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 interface = ctx->ingress_ifindex, zero = 0, netns, class;
	__u64 one = 1, *count;
	int found = 0;
	void *inner;

	if ((void *)(id + 1) > end)
		return 0;
	netns = *id;
	class = class_of(end - (void *)id);

	inner = bpf_map_lookup_elem(&by_netns, &netns);
	if (inner) {
		found |= IN_NETNS;
		count = bpf_map_lookup_elem(inner, &interface);
		if (count)
			__sync_fetch_and_add(count, 1);
		else
			bpf_map_update_elem(inner, &interface, &one, BPF_NOEXIST);
	}

	inner = bpf_map_lookup_elem(&by_class, &class);
	if (inner) {
		found |= IN_CLASS;
		count = bpf_map_lookup_elem(inner, &zero);
		if (count)
			__sync_fetch_and_add(count, 1);
	}
	return found;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
