// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Notes where a value lies: an address of a map, which no two machines share.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} places SEC(".maps");

SEC("xdp")
int where(struct xdp_md *ctx)
{
	__u32 key = 1;
	__u64 *place = bpf_map_lookup_elem(&places, &key);

	if (!place)
		return XDP_ABORTED;
	*place = (__u64)place;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
