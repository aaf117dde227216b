// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: never ends. The loop has no way out but a limit from outside.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 turns;

SEC("tracepoint/raw_syscalls/sys_enter")
int forever(void *ctx)
{
	for (;;)
		(*(volatile __u64 *)&turns)++; /* FAULT, whenever the limit is reached */
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
