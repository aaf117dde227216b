// SPDX-License-Identifier: MIT OR Apache-2.0
// flags: -mcpu=v4
//
// Division by a register that holds zero: defined, and no fault.
//
// A quotient by zero is 0, a remainder by zero the dividend. The divisor is a
// variable, so that the compiler cannot know that it is zero.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u64 zero64;
volatile __u32 zero32;
volatile __u64 dividend64 = 0x8000000000000007ULL;
volatile __u32 dividend32 = 0x80000007U;

__u64 div64 = 1, mod64 = 1, sdiv64 = 1, smod64 = 1;
__u32 div32 = 1, mod32 = 1, sdiv32 = 1, smod32 = 1;

SEC("raw_tp/sys_enter")
int divide(void *ctx)
{
	div64 = dividend64 / zero64;
	mod64 = dividend64 % zero64;
	sdiv64 = (__s64)dividend64 / (__s64)zero64;
	smod64 = (__s64)dividend64 % (__s64)zero64;
	div32 = dividend32 / zero32;
	mod32 = dividend32 % zero32;
	sdiv32 = (__s32)dividend32 / (__s32)zero32;
	smod32 = (__s32)dividend32 % (__s32)zero32;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
