// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: writes to a constant.
//
// The section .rodata becomes a map that is frozen after it has been filled and
// read-only to programs.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 limit = 3;

SEC("tracepoint/raw_syscalls/sys_enter")
int overwrite(void *ctx)
{
	*(volatile __u32 *)&limit = 4; /* FAULT */
	return limit;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
