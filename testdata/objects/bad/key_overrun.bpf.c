// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: gives a helper a key that does not lie wholly within the stack.
//
// The map's keys have 16 bytes, the variable has 4 and lies at the very top of
// the frame: the helper called on the line marked FAULT would read past it.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__uint(key_size, 16);
	__uint(value_size, 8);
} wide SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int short_key(void *ctx)
{
	__u32 key = 1;

	return bpf_map_lookup_elem(&wide, &key) != 0; /* FAULT */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
