// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Counts wake-ups per thread, the thread taken from the tracepoint's context.
//
// `counts` asks a helper who is running; here the context names the subject, so
// that different contexts make different entries.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* The context of the tracepoint, as in its `format` file under tracefs. */
struct sched_wakeup {
	__u16 common_type;
	__u8 common_flags;
	__u8 common_preempt_count;
	__s32 common_pid;
	char comm[16];
	__s32 pid;
	__s32 prio;
	__s32 target_cpu;
};

struct thread {
	__u64 wakeups;
	__s32 lowest_prio;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4); /* few, so that a test can fill it */
	__type(key, __s32);
	__type(value, struct thread);
} threads SEC(".maps");

SEC("tracepoint/sched/sched_wakeup")
int on_wakeup(struct sched_wakeup *ctx)
{
	struct thread fresh = {.lowest_prio = ctx->prio}, *thread;
	__s32 pid = ctx->pid;

	thread = bpf_map_lookup_elem(&threads, &pid);
	if (!thread) {
		__builtin_memcpy(fresh.comm, ctx->comm, sizeof(fresh.comm));
		if (bpf_map_update_elem(&threads, &pid, &fresh, BPF_NOEXIST))
			return 1; /* the map is full */
		thread = bpf_map_lookup_elem(&threads, &pid);
		if (!thread)
			return 1;
	}
	__sync_fetch_and_add(&thread->wakeups, 1);
	if (ctx->prio < thread->lowest_prio)
		thread->lowest_prio = ctx->prio;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
