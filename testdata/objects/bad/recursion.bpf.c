// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Faulty: a sub-program calls itself, in effect without end.
//
// Frames may nest eight deep. With `deepest` at 8 all of them are in use; the
// next call, on the line marked FAULT, finds none.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u32 deepest;

static __noinline int deeper(__u32 depth)
{
	volatile __u32 mine = depth; /* keeps a frame in use across the call */

	if (!depth)
		return 0;
	deepest = depth;
	return deeper(mine + 1) + mine; /* FAULT */
}

SEC("tracepoint/raw_syscalls/sys_enter")
int recurse(void *ctx)
{
	return deeper(2); /* this function's frame is the first */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
