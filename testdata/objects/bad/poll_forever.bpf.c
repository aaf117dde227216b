// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: waits for a variable to change that nobody changes.
//
// Unlike `loop_forever` this loop only reads. It does end when somebody sets
// `go` from outside.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u32 go;

SEC("tracepoint/raw_syscalls/sys_enter")
int wait(void *ctx)
{
	while (!go) /* FAULT, whenever the limit is reached */
		;
	return go;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
