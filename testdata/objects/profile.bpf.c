// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A sampling profiler: which call stacks are running, and how often.
//
// A perf event runs the program many times a second. Equal stacks have one id; the stacks
// themselves stay in the map until user space reads them. A stack whose place is taken by
// another is counted as lost, rather than put in the other's place.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define DEPTH 32

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1024);
	__uint(key_size, 4);
	__uint(value_size, DEPTH * 8);
} stacks SEC(".maps");

struct sample {
	__u32 process;
	__s32 kernel_stack;
	__s32 user_stack;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct sample);
	__type(value, __u64);
} samples SEC(".maps");

__u64 lost;

SEC("perf_event")
int on_tick(void *ctx)
{
	struct sample sample = {};
	__u64 one = 1, *count;

	sample.process = bpf_get_current_pid_tgid() >> 32;
	sample.kernel_stack = bpf_get_stackid(ctx, &stacks, 0);
	sample.user_stack = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	/* EFAULT (there is no such stack) is counted like a stack. */
	if (sample.kernel_stack == -17 || sample.user_stack == -17) {
		__sync_fetch_and_add(&lost, 1); /* EEXIST: another stack is there */
		return 0;
	}
	count = bpf_map_lookup_elem(&samples, &sample);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&samples, &sample, &one, BPF_NOEXIST);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
