// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Counts system calls per process in a hash map.
//
// Two CPUs may meet a new process at the same moment. Both find no entry, both
// try to insert a zero; BPF_NOEXIST lets exactly one of them succeed, and both
// then add to the same counter. A plain update could wipe out the other's count.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int count(void *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 zero = 0, *seen;

	seen = bpf_map_lookup_elem(&counts, &pid);
	if (!seen) {
		bpf_map_update_elem(&counts, &pid, &zero, BPF_NOEXIST);
		seen = bpf_map_lookup_elem(&counts, &pid);
		if (!seen)
			return 1; /* the map is full */
	}
	__sync_fetch_and_add(seen, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
