// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A raw tracepoint: the context is the array of the tracepoint's arguments.
//
// sys_enter has two: the saved registers of the task, and the number of the
// system call.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SYSCALLS 512

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SYSCALLS);
	__type(key, __u32);
	__type(value, __u64);
} by_syscall SEC(".maps");

SEC("raw_tp/sys_enter")
int on_syscall(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 syscall = ctx->args[1];
	__u64 *count;

	count = bpf_map_lookup_elem(&by_syscall, &syscall);
	if (!count)
		return -1; /* no such number */
	__sync_fetch_and_add(count, 1);
	return syscall;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
