// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Sub-programs: where functions lie and how they are called.
//
// Functions without a section name lie in .text and are copied behind each
// program that calls them. Calls from a program to .text carry a relocation,
// against the section for static functions and against the symbol for global
// ones; calls to a static function within .text carry none.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Static, in .text: called from a program and from other functions. */
static __noinline __u32 square(__u32 x)
{
	return x * x;
}

/* Static, and not the first in .text: the call has an addend. */
static __noinline __u32 sum_of_squares(__u32 from, __u32 to)
{
	__u32 sum = 0;

	for (__u32 i = 0; i < 8; i++)
		if (from + i < to)
			sum += square(from + i);
	return sum;
}

/* Global: has a symbol that other objects could link to. */
__noinline __u32 five(__u32 a, __u32 b, __u32 c, __u32 d, __u32 e)
{
	return a + 10 * b + 100 * c + 1000 * d + 10000 * e;
}

/* Weak: the definition of another object would win. */
__weak __noinline __u32 weak(__u32 x)
{
	return five(square(x), 1, 2, 3, 4);
}

SEC("xdp")
int calls(struct xdp_md *ctx)
{
	__u32 length = (__u32)(ctx->data_end - ctx->data);

	/* 0 + 1 + 4, 54321, and 43210 + the square of the length. */
	return sum_of_squares(0, 3) + five(1, 2, 3, 4, 5) + weak(length);
}

/* A second program, in the same section, that shares a function. */
SEC("xdp")
int also_calls(struct xdp_md *ctx)
{
	return square(ctx->ingress_ifindex) + 1;
}

/* Each frame has a stack of its own: eight deep is as far as calls may go. */
static __noinline __u32 depth8(__u32 x) { volatile __u32 y = x; return y + 1; }
static __noinline __u32 depth7(__u32 x) { volatile __u32 y = x; return depth8(x * 2) + y; }
static __noinline __u32 depth6(__u32 x) { volatile __u32 y = x; return depth7(x * 2) + y; }
static __noinline __u32 depth5(__u32 x) { volatile __u32 y = x; return depth6(x * 2) + y; }
static __noinline __u32 depth4(__u32 x) { volatile __u32 y = x; return depth5(x * 2) + y; }
static __noinline __u32 depth3(__u32 x) { volatile __u32 y = x; return depth4(x * 2) + y; }
static __noinline __u32 depth2(__u32 x) { volatile __u32 y = x; return depth3(x * 2) + y; }

/* 1 + 2 + 4 + ... + 64, and 1 from the last: 128. */
SEC("xdp")
int deep(struct xdp_md *ctx)
{
	return depth2(1);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
