// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: calls a helper that does not exist.
//
// Helpers are called by number. The object loads; inspecting it lists the
// number; only reaching the call is a fault. `harmless` never reaches it.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static long (*const no_such_helper)(__u64 argument) = (void *)9999;

volatile __u32 zero;

SEC("tracepoint/raw_syscalls/sys_enter")
int unknown(void *ctx)
{
	return no_such_helper(1); /* FAULT */
}

SEC("tracepoint/raw_syscalls/sys_enter")
int harmless(void *ctx)
{
	return zero ? no_such_helper(1) : 7;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
