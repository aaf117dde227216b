// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: defines a map larger than any memory.
//
// 2^29 elements of 2^20 bytes make 512 TiB: creating the map fails with ENOMEM,
// before any program runs.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 0x20000000); /* FAULT */
	__uint(key_size, 4);
	__uint(value_size, 0x100000);
} big SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int use(void *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&big, &key) != 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
