// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Every atomic instruction, in 32 and in 64 bits, on variables in memory.
//
// Each word starts from the same value. Where the old value is not used the
// compiler emits the plain form (`lock *(u64 *)(r1 + 0) += r2`), otherwise the
// fetching one. An exchange and a compare-and-exchange always fetch.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define START64 0xff00ff00f0f0f0f0ULL
#define START32 0xf0f0f0f0U

struct words64 {
	__u64 add, and, or, xor;                         /* plain */
	__u64 fetch_add, fetch_and, fetch_or, fetch_xor; /* fetching */
	__u64 xchg, cmpxchg_hit, cmpxchg_miss;
};

struct words32 {
	__u32 add, and, or, xor;
	__u32 fetch_add, fetch_and, fetch_or, fetch_xor;
	__u32 xchg, cmpxchg_hit, cmpxchg_miss;
};

/* What the instructions left in memory. */
struct words64 words64 = {
	START64, START64, START64, START64, START64, START64,
	START64, START64, START64, START64, START64,
};
struct words32 words32 = {
	START32, START32, START32, START32, START32, START32,
	START32, START32, START32, START32, START32,
};

/* What they returned: the old values. The plain forms return none. */
struct words64 old64;
struct words32 old32;

/* Not constants, so that the compiler does not compute anything itself. */
volatile __u64 operand64 = 0x0ff000000000ff10ULL;
volatile __u32 operand32 = 0x0000ff10U;

SEC("raw_tp/sys_enter")
int atomics64(void *ctx)
{
	__u64 operand = operand64;

	__sync_fetch_and_add(&words64.add, operand);
	__sync_fetch_and_and(&words64.and, operand);
	__sync_fetch_and_or(&words64.or, operand);
	__sync_fetch_and_xor(&words64.xor, operand);
	old64.fetch_add = __sync_fetch_and_add(&words64.fetch_add, operand);
	old64.fetch_and = __sync_fetch_and_and(&words64.fetch_and, operand);
	old64.fetch_or = __sync_fetch_and_or(&words64.fetch_or, operand);
	old64.fetch_xor = __sync_fetch_and_xor(&words64.fetch_xor, operand);
	old64.xchg = __sync_lock_test_and_set(&words64.xchg, operand);
	old64.cmpxchg_hit = __sync_val_compare_and_swap(&words64.cmpxchg_hit, START64, operand);
	old64.cmpxchg_miss = __sync_val_compare_and_swap(&words64.cmpxchg_miss, operand, 1);
	return 0;
}

SEC("raw_tp/sys_enter")
int atomics32(void *ctx)
{
	__u32 operand = operand32;

	__sync_fetch_and_add(&words32.add, operand);
	__sync_fetch_and_and(&words32.and, operand);
	__sync_fetch_and_or(&words32.or, operand);
	__sync_fetch_and_xor(&words32.xor, operand);
	old32.fetch_add = __sync_fetch_and_add(&words32.fetch_add, operand);
	old32.fetch_and = __sync_fetch_and_and(&words32.fetch_and, operand);
	old32.fetch_or = __sync_fetch_and_or(&words32.fetch_or, operand);
	old32.fetch_xor = __sync_fetch_and_xor(&words32.fetch_xor, operand);
	old32.xchg = __sync_lock_test_and_set(&words32.xchg, operand);
	old32.cmpxchg_hit = __sync_val_compare_and_swap(&words32.cmpxchg_hit, START32, operand);
	old32.cmpxchg_miss = __sync_val_compare_and_swap(&words32.cmpxchg_miss, operand, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
