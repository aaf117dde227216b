// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Fills a ring buffer faster than anyone can read it, and counts the losses.
//
// Each run reports eight events. A record takes its 1,024 bytes and a header of
// eight; a ring of 4,096 bytes is never filled to the last byte, so three
// records fit (3,096 bytes) and five are lost.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define BURST 8

struct event {
	__u32 pid;
	__u32 number; /* of the event within the run, from 0 */
	__u64 padding[127];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

__u64 sent;
__u64 dropped;

SEC("tracepoint/syscalls/sys_enter_execve")
int on_exec(void *ctx)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < BURST; i++) {
		struct event *event;

		event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
		if (!event) {
			__sync_fetch_and_add(&dropped, 1);
			continue;
		}
		event->pid = bpf_get_current_pid_tgid() >> 32;
		event->number = i;
		/* A fresh record holds whatever the ring held before. */
#pragma clang loop unroll(disable)
		for (__u32 j = 0; j < 127; j++)
			event->padding[j] = 0;
		bpf_ringbuf_submit(event, 0);
		__sync_fetch_and_add(&sent, 1);
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
