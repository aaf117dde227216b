// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: returns without having submitted or discarded its record.
//
// Nobody can read past an unfinished record: left as it is, it would block the
// ring for ever. The fault is at the return.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int leak(void *ctx)
{
	volatile __u64 *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record)
		return 1;
	*record = 1;
	return 0;
} /* FAULT */

char LICENSE[] SEC("license") = "Dual MIT/GPL";
