// Global variables in every kind of section.
#include "common.h"

struct pair {
	__u32 a;
	__u64 b;
};

const volatile __u32 limit = 10;
static const volatile char tag[8] = "skep";
volatile struct pair pair = { 1, 2 };
__u64 hits;
static volatile __u32 quiet;
__u32 tuned SEC(".data.tuned") = 5;
const volatile __u32 fixed SEC(".rodata.fixed") = 6;
__u64 wide[4] SEC(".bss.wide");

SEC("tracepoint/syscalls/sys_enter_openat") int count(void *ctx)
{
	static volatile __u32 calls = 3;
	// Constants of one size are merged into .rodata.cst.
	__u64 table[4] = { 11, 22, 33, 44 };
	__u32 at = bpf_get_prandom_u32() & 3;

	calls++;
	quiet++;
	hits += limit + table[at] + fixed;
	wide[at] = pair.b + tuned + tag[at];
	bpf_printk("%s", "text");
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_openat") int finish(void *ctx)
{
	static volatile __u32 calls = 4;

	return calls++;
}

SEC("license") char LICENSE[] = "GPL";
