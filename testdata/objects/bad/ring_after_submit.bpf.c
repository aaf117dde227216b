// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: writes to a ring-buffer record after submitting it.
//
// From the submission on, the record belongs to the reader, and its bytes may
// already hold another record. The first write below is fine, the one marked
// FAULT is not.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int keep(void *ctx)
{
	volatile __u64 *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record)
		return 0;
	*record = 1;
	bpf_ringbuf_submit((void *)record, 0);
	*record = 2; /* FAULT */
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
