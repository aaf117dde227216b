// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: uses the result of a lookup without comparing it with NULL.
//
// The map is empty, so the lookup finds nothing and the line marked FAULT reads
// eight bytes at offset 8 of NULL.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct pair {
	__u64 first;
	__u64 second;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct pair);
} pairs SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int unchecked(void *ctx)
{
	__u32 key = 1;
	struct pair *pair = bpf_map_lookup_elem(&pairs, &key);

	return pair->second; /* FAULT */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
