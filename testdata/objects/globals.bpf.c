// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Global variables of every kind.
//
// The loader makes one array map of one element for each data section: .rodata
// (read-only to programs), .data (initialised), .bss (zero), and one for each
// section of a custom name. All of them can be set from outside before loading;
// those that are not constant also hold the results afterwards.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct config {
	__u32 enabled;
	__s16 bias;
	__u8 kind;
	char name[9];
};

/* .rodata: `volatile` keeps the compiler from using the value given here. */
const volatile __u32 scale = 3;
const volatile _Bool clamp = 1;

/* .data */
__u64 base = 100;
struct config config = {.enabled = 1, .bias = -5, .kind = 7, .name = "default"};

/* .bss */
__u64 result;
__s32 table[4];
static volatile __u32 runs; /* static variables have names as well */

/* Sections of our own. */
__u32 step SEC(".data.tuning") = 4;
const volatile __u64 ceiling SEC(".rodata.limits") = 120;

SEC("raw_tp/sys_enter")
int compute(void *ctx)
{
	__u64 sum;

	runs++;
	if (!config.enabled)
		return 0;
	sum = base + (__u64)runs * step * scale + config.bias;
	if (clamp && sum > ceiling)
		sum = ceiling;
	table[runs & 3] = -(__s32)sum;
	result = sum;
	return sum;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
