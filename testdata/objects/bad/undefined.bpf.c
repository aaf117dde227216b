// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Calls functions that nobody has written; a function that does not is none the worse.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern __u32 elsewhere(__u32 x) __ksym;
extern __u32 nowhere(__u32 x) __ksym;
extern __u32 perhaps(__u32 x) __ksym __weak;

static __noinline __u32 both(__u32 x)
{
	return elsewhere(x) +
	       nowhere(x);
}

SEC("tracepoint")
int lost(void *ctx)
{
	return both(3) + 1;
}

SEC("tracepoint")
int hopeful(void *ctx)
{
	return ctx ? 1 :
	       perhaps(2);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
