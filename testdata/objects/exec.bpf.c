// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Reports each execve as an event in a ring buffer.
//
// The record is reserved first, filled in place and then submitted: nothing is
// copied. A record that turns out not to be wanted (here: root's) is discarded;
// the reader skips it.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* The context of the tracepoint, as in its `format` file under tracefs. */
struct sys_enter_execve {
	__u16 common_type;
	__u8 common_flags;
	__u8 common_preempt_count;
	__s32 common_pid;
	__s32 syscall_nr;
	__u32 pad;
	__u64 filename;
	__u64 argv;
	__u64 envp;
};

struct event {
	__u32 pid;
	__u32 uid;
	char comm[16];
	__u32 syscall;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

/* Whether the executions of uid 0 are reported too. */
const volatile _Bool report_root = 0;

/* Nobody sets this. It puts `struct event` into the object's type information. */
const struct event *unused_event __attribute__((unused));

SEC("tracepoint/syscalls/sys_enter_execve")
int on_exec(struct sys_enter_execve *ctx)
{
	struct event *event;

	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 1; /* the ring is full */

	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->uid = (__u32)bpf_get_current_uid_gid();
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	event->syscall = ctx->syscall_nr;

	if (event->uid == 0 && !report_root) {
		bpf_ringbuf_discard(event, 0);
		return 0;
	}
	bpf_ringbuf_submit(event, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
