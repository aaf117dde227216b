// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: defines an array whose keys have eight bytes.
//
// An array is indexed by four bytes; creating the map fails with EINVAL, before
// any program runs.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u64); /* FAULT */
	__type(value, __u64);
} wide SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int use(void *ctx)
{
	__u64 key = 0;

	return bpf_map_lookup_elem(&wide, &key) != 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
