// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: reads one byte past the end of a map value.
//
// The value has eight bytes, numbered 0 to 7; the line marked FAULT reads
// number 8.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int overrun(void *ctx)
{
	__u32 key = 1;
	__u64 zero = 0;
	volatile __u8 *bytes;

	bpf_map_update_elem(&counts, &key, &zero, BPF_ANY);
	bytes = bpf_map_lookup_elem(&counts, &key);
	if (!bytes)
		return 0;
	return bytes[7] +
	       bytes[8]; /* FAULT */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
