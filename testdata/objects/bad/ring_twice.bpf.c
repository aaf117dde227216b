// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: submits a ring-buffer record a second time.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int twice(void *ctx)
{
	__u64 *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record)
		return 0;
	*record = 1;
	bpf_ringbuf_submit(record, 0);
	bpf_ringbuf_discard(record, 0); /* FAULT */
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
